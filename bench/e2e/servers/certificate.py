"""The TLS context of a server that is to speak TLS, by the environment."""

import os
import ssl

PATH = os.environ.get("BENCH_TLS")
#: For hisock, which makes a context of its own.
PAIR = (PATH, PATH) if PATH else None
CONTEXT: ssl.SSLContext | None = None
if PATH:
    CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CONTEXT.load_cert_chain(PATH)
