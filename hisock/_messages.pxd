# cython: language_level=3
"""What other compiled modules know of the ways between values and the bytes of a message."""


cdef class Encoder:
    cdef object _write
    cdef set _direct
    cdef object _otherwise
    cdef object _settle
    cdef bint _nulls

    cdef object encoded(self, content)
