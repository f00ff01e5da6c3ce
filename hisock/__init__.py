"""Commands with messages over TCP: a server, clients, and functions that handle what they send."""

from __future__ import annotations

from hisock import (
    async_client,
    client,
    cluster,
    codec,
    constants,
    exceptions,
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
from hisock._core.public import publish
from hisock._server.authentication import Accept, ChangeRequest, JoinRequest
from hisock._server.stats import ClusterStats, ServerStats, TickStats
from hisock.async_client import AsyncHiSockClient, async_connect
from hisock.client import HiSockClient, ThreadedHiSockClient, connect, threaded_connect
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
from hisock.server import HiSockServer, ThreadedHiSockServer, start_server, start_threaded_server
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

publish(__name__, globals(), __all__)


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__"])
