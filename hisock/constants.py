"""Facts about the package. The version is written here and nowhere else."""

from __future__ import annotations

__version__ = "3.0.0.dev0"
__license__ = "MIT"
__author__ = "The hisock contributors"
__copyright__ = "The hisock contributors"

__all__ = ["__author__", "__copyright__", "__license__", "__version__"]
