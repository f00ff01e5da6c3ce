"""Random bytes for what a stranger can reach: see ``python -m fuzz --help`` and ``make fuzz``."""
