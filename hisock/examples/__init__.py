"""Programs to try and to read: ``python -m hisock.examples.tictactoe``."""
