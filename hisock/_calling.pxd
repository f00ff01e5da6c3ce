# cython: language_level=3
"""Calling what Python code has given, with nothing made for the call."""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    PyObject* PyObject_Vectorcall(object func, PyObject** args, size_t count, PyObject* names)

cdef extern from *:
    """
    static int raise_pending(void) { return -1; }
    """
    int raise_pending() except -1  # raises the exception that is set
