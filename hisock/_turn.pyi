# The twin in Python has the same surface, with types.
from hisock._turn_py import Flusher as Flusher
from hisock._turn_py import FlushQueue as FlushQueue
from hisock._turn_py import Reader as Reader
