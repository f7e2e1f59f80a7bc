// Calls the rows that were compiled, as the real operators choose among them.
#ifdef KDBENCH_HAS_v4
extern "C" int kdbench_rows_v4();
#endif
#ifdef KDBENCH_HAS_v3
extern "C" int kdbench_rows_v3();
#endif
#ifdef KDBENCH_HAS_baseline
extern "C" int kdbench_rows_baseline();
#endif

extern "C" __attribute__((visibility("default"))) int kdbench_isas() {
  int found = 0;
#ifdef KDBENCH_HAS_v4
  found += kdbench_rows_v4();
#endif
#ifdef KDBENCH_HAS_v3
  found += kdbench_rows_v3();
#endif
#ifdef KDBENCH_HAS_baseline
  found += kdbench_rows_baseline();
#endif
  return found;
}
