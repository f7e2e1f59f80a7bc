// Compiled once for each instruction set.
#define CONCAT2(a, b) a##b
#define CONCAT(a, b) CONCAT2(a, b)
extern "C" __attribute__((visibility("default"))) int CONCAT(kdbench_rows_, KDBENCH_ISA)() { return 1; }
