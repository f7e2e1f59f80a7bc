// Stands in for the operators: small, so that the build itself can be tested many times.
extern "C" __attribute__((visibility("default"))) int kdbench_answer() { return 42; }
