"""Commands with messages over TCP: a server, clients, and functions that handle what they send."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hisock import constants, exceptions
from hisock._core.public import publish
from hisock.constants import __version__
from hisock.exceptions import (
    ClientDisconnected,
    ClientException,
    ClientNotFound,
    ConnectionLost,
    ConnectionRejected,
    FramingError,
    GroupNotFound,
    HiSockError,
    InvalidTypeCast,
    NotLocal,
    NotSupported,
    ProtocolError,
    Reject,
    RemoteError,
    ServerException,
    ServerNotRunning,
)

# A client needs no server, and few programs need a cluster: what follows is imported when it is
# first asked for. Type checkers read the imports; the rest goes by the table below.
if TYPE_CHECKING:
    from hisock import (
        async_client,
        client,
        cluster,
        codec,
        framing,
        routing,
        server,
        utils,
    )
    from hisock._client.reconnect import Reconnect
    from hisock._cluster.blocking_publisher import Publisher
    from hisock._cluster.config import Cluster
    from hisock._cluster.face import LocalServer
    from hisock._cluster.publisher import AsyncPublisher
    from hisock._cluster.view import ClusterView, NodeInfo
    from hisock._core.client_info import ClientInfo
    from hisock._core.error_handlers import ErrorContext
    from hisock._core.http import HttpRequest, WebSocket
    from hisock._server.authentication import Accept, ChangeRequest, JoinRequest
    from hisock._server.stats import ClusterStats, ServerStats, TickStats
    from hisock.async_client import AsyncHiSockClient, async_connect
    from hisock.client import HiSockClient, ThreadedHiSockClient, connect, threaded_connect
    from hisock.server import (
        HiSockServer,
        ThreadedHiSockServer,
        start_server,
        start_threaded_server,
    )
    from hisock.utils import (
        get_local_ip,
        input_client_config,
        input_server_config,
        ipstr_to_tup,
        iptup_to_str,
    )

__all__ = [
    "Accept",
    "AsyncHiSockClient",
    "AsyncPublisher",
    "ChangeRequest",
    "ClientDisconnected",
    "ClientException",
    "ClientInfo",
    "ClientNotFound",
    "Cluster",
    "ClusterStats",
    "ClusterView",
    "ConnectionLost",
    "ConnectionRejected",
    "ErrorContext",
    "FramingError",
    "GroupNotFound",
    "HiSockClient",
    "HiSockError",
    "HiSockServer",
    "HttpRequest",
    "InvalidTypeCast",
    "JoinRequest",
    "LocalServer",
    "NodeInfo",
    "NotLocal",
    "NotSupported",
    "ProtocolError",
    "Publisher",
    "Reconnect",
    "Reject",
    "RemoteError",
    "ServerException",
    "ServerNotRunning",
    "ServerStats",
    "ThreadedHiSockClient",
    "ThreadedHiSockServer",
    "TickStats",
    "WebSocket",
    "__version__",
    "async_client",
    "async_connect",
    "client",
    "cluster",
    "codec",
    "connect",
    "constants",
    "exceptions",
    "framing",
    "get_local_ip",
    "input_client_config",
    "input_server_config",
    "ipstr_to_tup",
    "iptup_to_str",
    "routing",
    "server",
    "start_server",
    "start_threaded_server",
    "threaded_connect",
    "utils",
]

#: Which module each public name comes from, if that is not one imported above.
_HOMES = {
    "hisock._client.reconnect": ("Reconnect",),
    "hisock._cluster.blocking_publisher": ("Publisher",),
    "hisock._cluster.config": ("Cluster",),
    "hisock._cluster.face": ("LocalServer",),
    "hisock._cluster.publisher": ("AsyncPublisher",),
    "hisock._cluster.view": ("ClusterView", "NodeInfo"),
    "hisock._core.client_info": ("ClientInfo",),
    "hisock._core.error_handlers": ("ErrorContext",),
    "hisock._core.http": ("HttpRequest", "WebSocket"),
    "hisock._server.authentication": ("Accept", "ChangeRequest", "JoinRequest"),
    "hisock._server.stats": ("ClusterStats", "ServerStats", "TickStats"),
    "hisock.async_client": ("AsyncHiSockClient", "async_connect"),
    "hisock.client": ("HiSockClient", "ThreadedHiSockClient", "connect", "threaded_connect"),
    "hisock.server": (
        "HiSockServer",
        "ThreadedHiSockServer",
        "start_server",
        "start_threaded_server",
    ),
    "hisock.utils": (
        "get_local_ip",
        "input_client_config",
        "input_server_config",
        "ipstr_to_tup",
        "iptup_to_str",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = frozenset(
    {"asgi", "async_client", "client", "cluster", "codec", "framing", "metrics", "otel"}
    | {"routing", "server", "testing", "utils"}
)

publish(__name__, globals(), [name for name in __all__ if name in globals()])


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time."""
    if name in _MODULES:
        return import_module(f"hisock.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hisock' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__"])
