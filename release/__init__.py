"""Builds what is released and uses each part of it: ``python -m release``."""
