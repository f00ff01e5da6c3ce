"""How many instructions a frame costs, counted by valgrind and held against a committed baseline.

Instruction counts do not depend on how busy the machine is, so a growth is a growth. See
bench/README.md.
"""
