// Calls the fastest rows that were compiled, as the real operators choose them.
extern "C" int kdbench_rows_baseline();
#ifdef KDBENCH_HAS_v3
extern "C" int kdbench_rows_v3();
#endif

extern "C" __attribute__((visibility("default"))) int kdbench_isas() {
  int found = kdbench_rows_baseline();
#ifdef KDBENCH_HAS_v3
  found += kdbench_rows_v3();
#endif
  return found;
}
