// The Python module without pybind11, which takes seconds to compile.
#include <Python.h>

extern "C" int kdbench_answer();
extern "C" int kdbench_isas();

static PyObject* build_info(PyObject*, PyObject*) {
  return Py_BuildValue("{s:s,s:i,s:i}", "isa", "baseline", "answer", kdbench_answer(), "isas", kdbench_isas());
}

static PyMethodDef methods[] = {{"build_info", build_info, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", nullptr, -1, methods};

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&definition); }
