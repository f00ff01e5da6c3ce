"""The identity of a client, as handlers see it: :class:`ClientInfo`."""

from __future__ import annotations

from typing import Any

from hisock._core.addresses import Addr, format_addr, parse_addr
from hisock._core.public import publish
from hisock._core.reporting import one_line
from hisock.framing import Recipient


class ClientInfo(Recipient):
    """One client as handlers see it: an immutable value.

    A client that changes its name or group gets a new one. Two are equal, and have the same hash,
    if their addresses, names and groups are equal.

    :param ip: the address, as ``"ip:port"`` or as ``(ip, port)``.
    :param name: the client's name, or ``None`` (the default) for none.
    :param group: the client's group, or ``None`` (the default) for none.
    :ivar ip: the address as text, ``"ip:port"``; :attr:`ipstr` and :attr:`ip_as_str` equal it.
    :ivar addr: the address as ``(ip, port)``.
    """

    __slots__ = ("addr", "group", "ip", "name")

    ip: str
    addr: Addr
    name: str | None
    group: str | None

    def __init__(
        self,
        ip: str | tuple[str, int] | list[Any],
        name: str | None = None,
        group: str | None = None,
    ) -> None:
        addr = parse_addr(ip) if isinstance(ip, str) else (ip[0], ip[1])
        fill = object.__setattr__
        fill(self, "addr", addr)
        fill(self, "ip", format_addr(addr))
        fill(self, "name", name)
        fill(self, "group", group)

    def _called(self, name: str | None, group: str | None) -> ClientInfo:
        """The same client with another name and group; its address is not formatted again."""
        if name is None and group is None and self.name is None and self.group is None:
            return self
        info: ClientInfo = ClientInfo.__new__(ClientInfo)
        fill = object.__setattr__
        fill(info, "addr", self.addr)
        fill(info, "ip", self.ip)
        fill(info, "name", name)
        fill(info, "group", group)
        return info

    @property
    def _peer(self) -> Any:
        """The connection behind it, if there is one; not part of the value."""
        outbox = self._outbox
        return None if outbox is None else outbox.owner

    @property
    def node(self) -> str | None:
        """The id of the node of a cluster that it is connected to; ``None`` for this process."""
        return None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"ClientInfo is immutable, {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"ClientInfo is immutable, {name!r} cannot be deleted")

    @property
    def ipstr(self) -> str:
        return self.ip

    @property
    def ip_as_str(self) -> str:
        return self.ip

    @property
    def client_dict(self) -> dict[str, Any]:
        return self.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """``{"ip": "ip:port", "name": ..., "group": ...}``, a new dict."""
        return {"ip": self.ip, "name": self.name, "group": self.group}

    def __getitem__(self, key: str) -> Any:
        if key in ("ip", "name", "group", "addr"):
            return getattr(self, key)
        raise KeyError(key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClientInfo):
            return NotImplemented
        return (self.addr, self.name, self.group) == (other.addr, other.name, other.group)

    def __hash__(self) -> int:
        return hash((self.addr, self.name, self.group))

    def __repr__(self) -> str:
        return f"ClientInfo(ip={self.ip!r}, name={self.name!r}, group={self.group!r})"

    def __str__(self) -> str:
        return f"<ClientInfo: IP: {self.ip}, Name: {self.name}, Group: {self.group}>"

    def shown(self) -> str:
        """The client as it appears in logs: on one line, at most 200 characters long."""
        text = repr(self)
        return text if len(text) <= 200 else f"{text[:200]}..."

    def __reduce__(self) -> tuple[Any, ...]:
        return ClientInfo, (self.addr, self.name, self.group)

    def __json__(self) -> dict[str, Any]:
        # The shape that 2.0.2 peers build their own ClientInfo from.
        return {"ip": self.addr, "name": self.name, "group": self.group}

    @classmethod
    def __from_json__(cls, value: Any) -> ClientInfo:
        if not isinstance(value, dict) or "ip" not in value:
            raise ValueError("expected an object with the keys ip, name and group")
        return cls(value["ip"], value.get("name"), value.get("group"))


#: How a client can be named in a call.
ClientRef = ClientInfo | tuple[str, int] | str


def title_of(client: ClientInfo) -> str:
    """A client in the text of an error, without its address, since other clients may see it."""
    return "a client" if client.name is None else f"the client '{one_line(client.name, 100)}'"


class NoReference(TypeError, ValueError):
    """A value cannot name a client; a ``ValueError`` too, because 2.0.2 documents that."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"{given!r} does not name a client; give a ClientInfo, (ip, port), 'ip:port' or a name"
        )


publish("hisock", globals(), ("ClientInfo",))
