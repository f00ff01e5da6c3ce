"""The ``hisock`` command."""
