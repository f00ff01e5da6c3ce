"""Frames, handlers and names, without I/O and without a clock."""
