"""Everything that programs import from the package, and what of it works without a network."""

import sys

import hisock
import hisock.client
import hisock.constants
import hisock.server
import hisock.utils
from hisock import (
    connect,
    get_local_ip,
    input_client_config,
    input_server_config,
    ipstr_to_tup,
    iptup_to_str,
    start_server,
)
from hisock.client import connect as client_connect
from hisock.server import start_server as server_start
from hisock.utils import (
    ClientDisconnected,
    ClientException,
    ClientInfo,
    ClientNotFound,
    FunctionNotFoundException,
    FunctionNotFoundWarning,
    GroupNotFound,
    InvalidTypeCast,
    MessageCacheMember,
    NoHeaderWarning,
    NoMessageException,
    ServerException,
    ServerNotRunning,
    make_header,
    validate_command_not_reserved,
    validate_ipv4,
)

print("same", client_connect is connect, server_start is start_server)
print(
    "version",
    isinstance(hisock.__version__, str),
    hisock.constants.__version__ == hisock.__version__,
)
print(ipstr_to_tup("127.0.0.1:5000"), iptup_to_str(("127.0.0.1", 5000)))

for wrong in ("127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "1.2.3:80", "a:b:c"):
    try:
        ipstr_to_tup(wrong)
    except ValueError:
        print("not an address", wrong)

print("valid", validate_ipv4("192.168.0.1:80"), validate_ipv4(("10.0.0.1", 80)))
print(
    "port",
    validate_ipv4("8080", require_ip=False),
    "ip",
    validate_ipv4("1.2.3.4", require_port=False),
)
for wrong in ("1.2.3.400:80", ("1.2.3.4", 99999), ""):
    try:
        validate_ipv4(wrong)
    except ValueError:
        print("invalid", wrong)

print(repr(make_header("hello", 16)), repr(make_header(b"x" * 120, 8, encode=False)))
print(
    "all ips",
    get_local_ip(all_ips=True) == [get_local_ip()] or get_local_ip() in get_local_ip(True),
)

try:
    validate_command_not_reserved("$reserved$")
except ValueError:
    print("reserved")

info = ClientInfo(("127.0.0.1", 5000), "ann", "red")
print(
    info.ip_as_str, info.name, info["group"], info == ClientInfo(("127.0.0.1", 5000), "ann", "red")
)

member = MessageCacheMember({"header": b"5", "content": b"hello", "called": True, "command": "c"})
print(member.header, member.content, member.called, member.command)

for error in (
    ClientDisconnected,
    ClientException,
    ClientNotFound,
    FunctionNotFoundException,
    GroupNotFound,
    InvalidTypeCast,
    NoMessageException,
    ServerException,
    ServerNotRunning,
):
    assert issubclass(error, Exception)
assert issubclass(NoHeaderWarning, UserWarning) and issubclass(FunctionNotFoundWarning, UserWarning)

try:
    connect(("127.0.0.1", int(sys.argv[1])))
except ServerNotRunning:
    print("nobody there")

print("server config", input_server_config())
print("client config", input_client_config())
