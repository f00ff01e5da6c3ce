# cython: language_level=3
"""The bytes of a frame, read and written in C; what both extension modules inline.

Nothing here raises, or makes an object but ``new_bytes``: a caller that gets the value for "not
allowed" asks ``_framing_common`` for the error. The wire format is described in :mod:`hisock.framing`.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
)
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    MARK = 5  # len("$CMD$") and len("$MSG$")
    MAX_HEADER = 20  # MAX_HEADER_LEN in _framing_common
    NOT_A_HEADER = -1
    TOO_LONG = -2
    MOST_COPIED = 2048


# -- copying -------------------------------------------------------------------------------------


cdef extern from *:
    """
    #if defined(__GNUC__)
    __attribute__((noinline, unused))
    #elif defined(_MSC_VER)
    __declspec(noinline)
    #endif
    static void hisock_copy_parts(char *to, const char *source, Py_ssize_t size, Py_ssize_t part) {
        /* Compilers that know the size put "rep movsq" in the place of memcpy. */
        volatile Py_ssize_t unknown = part;
        while (size > part) {
            memcpy(to, source, (size_t)unknown);
            to += part;
            source += part;
            size -= part;
        }
        memcpy(to, source, (size_t)size);
    }
    """
    void hisock_copy_parts(
        char* to, const char* source, Py_ssize_t size, Py_ssize_t part
    ) noexcept nogil


cdef inline void copy_bytes(char* to, const char* source, Py_ssize_t size) noexcept nogil:
    """Copy bytes, which do not overlap.

    Many in parts, since glibc copies 4 KiB and more with ``rep movsb``. On processors of AMD that
    takes twenty times as long where the copy begins up to some 30 bytes further in its page than
    the original, which depends on nothing but what was allocated before.
    """
    if size <= MOST_COPIED:
        memcpy(to, source, size)
    else:
        hisock_copy_parts(to, source, size, MOST_COPIED)


cdef inline bytes new_bytes(const char* source, Py_ssize_t size):
    """Return a copy of bytes."""
    cdef bytes copy
    if size <= MOST_COPIED:
        return PyBytes_FromStringAndSize(source, size)
    copy = PyBytes_FromStringAndSize(NULL, size)
    copy_bytes(PyBytes_AS_STRING(copy), source, size)
    return copy


# -- reading -------------------------------------------------------------------------------------


cdef inline bint eight_spaces(const char* p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word == 0x2020202020202020ULL


cdef inline Py_ssize_t read_header(
    const char* p, Py_ssize_t header_len, uint64_t limit
) noexcept nogil:
    """Return the length that a header claims, or NOT_A_HEADER, or TOO_LONG."""
    cdef uint64_t value = 0
    cdef unsigned int digit
    cdef Py_ssize_t i = 0
    cdef bint huge = False
    while i < header_len:
        digit = <unsigned int><unsigned char>p[i] - 48
        if digit > 9:
            break
        if i >= 19 and value > 1844674407370955160ULL:  # ten times it does not fit in 64 bits
            huge = True
        value = value * 10 + digit
        i += 1
    if i == 0:
        return NOT_A_HEADER
    if header_len - i >= 8:
        # At most 19 spaces: from both ends, and the middle.
        if not eight_spaces(p + i) or not eight_spaces(p + header_len - 8):
            return NOT_A_HEADER
        if header_len - i > 16 and not eight_spaces(p + i + 8):
            return NOT_A_HEADER
    else:
        while i < header_len:
            if p[i] != 32:
                return NOT_A_HEADER
            i += 1
    if huge or value > limit:
        return TOO_LONG
    return <Py_ssize_t>value


cdef inline bint is_command(const char* payload, Py_ssize_t n) noexcept nogil:
    return n >= MARK and memcmp(payload, b"$CMD$", MARK) == 0


cdef inline bint is_message(const char* p) noexcept nogil:
    """Whether the five bytes there are $MSG$."""
    return memcmp(p, b"$MSG$", MARK) == 0


cdef inline Py_ssize_t command_length(const char* p, Py_ssize_t n) noexcept nogil:
    """Return how many of the ``n`` bytes after $CMD$ come before the first $MSG$."""
    cdef const char* end = p + n
    cdef const char* at = p
    while end - at >= MARK:
        at = <const char*>memchr(at, 36, end - at)
        if at is NULL or end - at < MARK:
            break
        if is_message(at):
            return at - p
        at += 1
    return n


cdef inline bint has_pair(const char* p, Py_ssize_t n) noexcept nogil:
    """Whether the first and the last ``$`` have something between them."""
    cdef const char* first = <const char*>memchr(p, 36, n)
    if first is NULL:
        return False
    while p[n - 1] != 36:
        n -= 1
    return p + n - 1 - first > 1


cdef inline bint same_bytes(const char* a, const char* b, Py_ssize_t n) noexcept nogil:
    """Whether ``n`` bytes, at least one, are the same: memcmp() for a few, without a call."""
    cdef uint64_t[2] x, y
    if n > 16:
        return memcmp(a, b, n) == 0
    if n >= 8:
        # The first and the last eight, which may overlap.
        memcpy(&x[0], a, 8)
        memcpy(&x[1], a + n - 8, 8)
        memcpy(&y[0], b, 8)
        memcpy(&y[1], b + n - 8, 8)
        return x[0] == y[0] and x[1] == y[1]
    if n >= 4:
        memcpy(&x[0], a, 4)
        memcpy(<char*>&x[0] + 4, a + n - 4, 4)
        memcpy(&y[0], b, 4)
        memcpy(<char*>&y[0] + 4, b + n - 4, 4)
        return x[0] == y[0]
    return a[0] == b[0] and a[n - 1] == b[n - 1] and a[n >> 1] == b[n >> 1]


# -- writing -------------------------------------------------------------------------------------


cdef inline const char* command_utf8(command, Py_ssize_t* length):
    """Return the bytes of a command, which live as long as it does; NULL if it is not allowed."""
    cdef const char* text
    cdef Py_ssize_t n = 0
    length[0] = 0
    if not PyUnicode_Check(command):
        return NULL
    if PyUnicode_IS_COMPACT_ASCII(command):
        text = <const char*>PyUnicode_DATA(command)
        n = PyUnicode_GET_LENGTH(command)
    else:
        try:
            text = PyUnicode_AsUTF8AndSize(command, &n)
        except UnicodeEncodeError:
            return NULL
    length[0] = n
    if n == 0:
        return NULL
    if memchr(text, 36, n) is not NULL:
        if has_pair(text, n) or (n >= 4 and memcmp(text + n - 4, b"$MSG", 4) == 0):
            return NULL
    return text


cdef inline Py_ssize_t payload_length(Py_ssize_t name, message) noexcept:
    """Return the length of the payload of a command; -1 if the message is not bytes or None."""
    if message is None:
        return MARK + name
    if not PyBytes_Check(message):
        return -1
    return MARK + name + MARK + PyBytes_GET_SIZE(message)


cdef inline int digits_of(uint64_t length) noexcept nogil:
    """Return how many digits a length (below 2**63) has."""
    cdef int digits = 1
    cdef uint64_t edge = 10
    while length >= edge:
        edge *= 10
        digits += 1
    return digits


cdef inline char* write_header(
    char* p, uint64_t length, int digits, Py_ssize_t header_len
) noexcept nogil:
    """Write a header; return where the payload goes."""
    if header_len == 16:
        memset(p, 32, 16)  # a constant length, so that the compiler inlines it
    else:
        memset(p, 32, header_len)
    while digits:
        digits -= 1
        p[digits] = <char>(48 + length % 10)
        length //= 10
    return p + header_len


cdef inline void copy_name(char* to, const char* name, Py_ssize_t n) noexcept nogil:
    """Copy ``n`` bytes, at least one: memcpy() for a few, without a call."""
    cdef uint64_t x, y
    cdef uint32_t v, w
    if n > 16:
        memcpy(to, name, n)
    elif n >= 8:
        memcpy(&x, name, 8)
        memcpy(&y, name + n - 8, 8)
        memcpy(to, &x, 8)
        memcpy(to + n - 8, &y, 8)
    elif n >= 4:
        memcpy(&v, name, 4)
        memcpy(&w, name + n - 4, 4)
        memcpy(to, &v, 4)
        memcpy(to + n - 4, &w, 4)
    else:
        to[0] = name[0]
        to[n >> 1] = name[n >> 1]
        to[n - 1] = name[n - 1]


cdef inline char* write_command(char* p, const char* name, Py_ssize_t n, message) noexcept:
    """Write the payload of a command up to where the bytes of its message go."""
    memcpy(p, b"$CMD$", MARK)
    copy_name(p + MARK, name, n)
    p += MARK + n
    if message is None:
        return p
    memcpy(p, b"$MSG$", MARK)
    return p + MARK
