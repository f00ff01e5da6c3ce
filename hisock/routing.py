"""Programs of several modules: routers, classes with handlers, and middleware.

.. code-block:: python

    # chat.py
    from hisock.routing import Router

    router = Router(prefix="chat.")

    @router.on("say")
    def say(client, text: str): ...

    # main.py
    server.include(chat.router)
"""

from __future__ import annotations

from hisock._core.middleware import Context, Middleware
from hisock._core.public import publish
from hisock._core.routes import Handlers, Router, every, on

__all__ = ["Context", "Handlers", "Middleware", "Router", "every", "on"]

publish(__name__, globals(), __all__)
