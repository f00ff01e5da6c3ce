# The twin in Python has the same surface, with types.
from hisock._framing_common import build_header as build_header
from hisock._framing_common import check_command as check_command
from hisock._framing_py import Decoder as Decoder
from hisock._framing_py import Scratch as Scratch
from hisock._framing_py import build_command as build_command
from hisock._framing_py import build_raw as build_raw
