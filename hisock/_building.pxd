# cython: language_level=3
"""What other compiled modules build frames with."""

cpdef bytes build_command(command, message=*, header_len=*)
