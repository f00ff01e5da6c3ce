"""What :mod:`hisock.testing` is made of."""
