"""Who may come in, and what the server keeps for each villager."""

from __future__ import annotations

from dataclasses import dataclass, field

import hisock
from hisock.routing import Router

PASSWORDS = {"Ada": "engine", "Grace": "compiler", "Edsger": "shortest path"}
WARDENS = {"Grace"}
PLACES = ("square", "market", "arena")


@dataclass
class Villager:
    """The session of a client."""

    warden: bool = False
    gold: int = 10
    goods: dict[str, int] = field(default_factory=dict)


Village = hisock.HiSockServer[Villager]


def authenticate(request: hisock.JoinRequest) -> hisock.Accept:
    """Let a villager in who knows the password, into the square."""
    name = request.name or ""
    if name not in PASSWORDS or PASSWORDS[name] != request.token:
        raise hisock.Reject("the name or the password is wrong")
    return hisock.Accept(name=name, group="square", session=Villager(warden=name in WARDENS))


def authorize_change(change: hisock.ChangeRequest) -> bool:
    """A name stays; anybody may go to a place that exists."""
    return change.name == change.client.name and change.group in PLACES


def accounts(server: Village) -> Router:
    """The commands of an account."""
    router = Router(prefix="account.")
    server.authenticate(authenticate)
    server.authorize_change(authorize_change)

    @router.on("purse")
    def purse(client: hisock.ClientInfo) -> dict[str, object]:
        villager = server.session(client)
        return {"gold": villager.gold, "goods": villager.goods}

    @router.on("give")
    def give(client: hisock.ClientInfo, gift: tuple[str, int]) -> int:
        name, gold = gift
        villager = server.session(client)
        if not 0 < gold <= villager.gold:
            raise hisock.RemoteError(f"you have {villager.gold} gold", code="gold")
        friend = server.get_client(name)
        server.session(friend).gold += gold
        villager.gold -= gold
        server.send_client(friend, "account.given", {"by": client.name, "gold": gold})
        return villager.gold

    return router
