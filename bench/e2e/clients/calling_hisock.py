# mypy: disable-error-code="import-not-found"
"""Calls of hisock's asyncio client, on uvloop. Usage: calling_hisock.py PORT SECONDS"""

import sys

import uvloop
from calling import MESSAGE, measured

import hisock


async def main() -> None:
    async with await hisock.async_connect(("127.0.0.1", int(sys.argv[1]))) as client:
        await measured(lambda: client.call("echo", MESSAGE, bytes))


uvloop.run(main())
