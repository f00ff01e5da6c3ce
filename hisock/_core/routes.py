"""Handlers that are registered before there is a server or client: routers and classes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from hisock._core.middleware import Context, Layer, error_layer, layer_of
from hisock.framing import check_command

F = TypeVar("F", bound=Callable[..., Any])
#: Where a marked method keeps its routes.
_MARK = "__hisock_routes__"


class Route(NamedTuple):
    """One handler, or one tick, of a router.

    :ivar name: the command or event; ``None`` for a tick.
    :ivar func: the handler.
    :ivar options: as given to ``on``; for a tick its ``interval``.
    :ivar namespace: local names that its annotations may use.
    :ivar prefix: put before the command; reserved events have none.
    :ivar layers: the middleware around it, outermost first.
    :ivar origin: the same for each inclusion of one handler of one router or object.
    """

    name: str | None
    func: Callable[..., Any]
    options: dict[str, Any]
    namespace: Mapping[str, Any]
    prefix: str = ""
    layers: tuple[Layer, ...] = ()
    origin: Hashable = None

    def under(self, prefix: str) -> Route:
        """The same with one more prefix in front."""
        return self._replace(prefix=prefix + self.prefix)


@runtime_checkable
class Part(Protocol):
    """Anything that can be included: a router, or an instance of a :class:`Handlers` class."""

    def __routes__(self) -> Iterator[Route]:
        """Its handlers and ticks."""


def require_part(part: object) -> None:
    """Refuse what cannot be included.

    :raises TypeError: it is neither a router nor an instance of a :class:`Handlers` class.
    """
    if isinstance(part, type) and issubclass(part, Handlers):
        raise TypeError(
            f"include() takes an object of {part.__name__}, not the class itself; "
            f"write include({part.__name__}(...))"
        )
    if not isinstance(part, Part):
        raise TypeError(f"include() takes a Router or an object of Handlers, not {part!r}")


def on(
    command: str,
    threaded: bool = False,
    override: bool = False,
    concurrent: bool = False,
    replace: bool = False,
) -> Callable[[F], F]:
    """Mark a method of a :class:`Handlers` class as a handler.

    Parameters as for :meth:`hisock.HiSockServer.on`.

    :raises ValueError: the command is empty or holds a ``$...$`` pair.
    """
    check_command(command)
    namespace = sys._getframe(1).f_locals

    def mark(func: F) -> F:
        options = _options(threaded, override, concurrent, replace)
        _mark(func, Route(command, func, options, namespace, origin=object()))
        return func

    return mark


def every(interval: float) -> Callable[[F], F]:
    """Mark a method of a :class:`Handlers` class as a tick; see :meth:`hisock.HiSockServer.every`.

    :param interval: seconds between two ticks.
    """

    def mark(func: F) -> F:
        _mark(func, Route(None, func, {"interval": interval}, {}, origin=object()))
        return func

    return mark


def _options(threaded: bool, override: bool, concurrent: bool, replace: bool) -> dict[str, Any]:
    return {
        "threaded": threaded,
        "override": override,
        "concurrent": concurrent,
        "replace": replace,
    }


def _mark(func: Callable[..., Any], route: Route) -> None:
    marked: Any = func
    marked.__dict__.setdefault(_MARK, []).append(route)


class Handlers:
    """Base of classes whose methods are handlers: ``class Arena(Handlers)``, with ``@on``.

    An instance is given to ``server.include()``; its methods share the state in ``self``.

    :cvar prefix: put before the commands of its handlers. Default ``""``.
    """

    prefix: str = ""

    def __routes__(self) -> Iterator[Route]:
        """The marked methods, bound. One that overrides a marked one is called in its place."""
        for name in dir(type(self)):
            for route in _marks(type(self), name):
                origin = id(self), route.origin
                yield route._replace(func=getattr(self, name), prefix=self.prefix, origin=origin)


def _marks(cls: type, name: str) -> list[Route]:
    for base in cls.__mro__:
        marks: list[Route] = getattr(base.__dict__.get(name), _MARK, [])
        if marks:
            return marks
    return []


class Router:
    """Handlers of one part of a program: ``@router.on("say")``, then ``server.include(router)``.

    The names of reserved events are not prefixed. Several routers may handle one event; their
    handlers are called in the order in which they were included.

    :param prefix: put before the commands of its handlers, for example ``"chat."``. Default ``""``.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._routes: list[Route] = []
        self._parts: list[tuple[Part, str]] = []
        self._errors: list[Layer] = []
        self._layers: list[Layer] = []
        self._included = False

    def on(
        self,
        command: str,
        threaded: bool = False,
        override: bool = False,
        concurrent: bool = False,
        replace: bool = False,
    ) -> Callable[[F], F]:
        """Register a handler; parameters as for :meth:`hisock.HiSockServer.on`.

        :raises ValueError: the command is empty or holds a ``$...$`` pair.
        :raises RuntimeError: the router is part of a server or client already.
        """
        check_command(command)
        namespace = sys._getframe(1).f_locals

        def register(func: F) -> F:
            options = _options(threaded, override, concurrent, replace)
            self._add(Route(command, func, options, namespace, origin=object()))
            return func

        return register

    def every(self, interval: float) -> Callable[[F], F]:
        """Register a tick; see :meth:`hisock.HiSockServer.every`. Only servers have ticks.

        :param interval: seconds between two ticks.
        :raises RuntimeError: the router is part of a server already.
        """

        def register(func: F) -> F:
            self._add(Route(None, func, {"interval": interval}, {}, origin=object()))
            return func

        return register

    def middleware(self, func: F) -> F:
        """Run a function around each handler of this router; see :meth:`HiSockServer.middleware`.

        :raises TypeError: it is neither async nor a generator function.
        :raises RuntimeError: the router is part of a server or client already.
        """
        self._require_open()
        self._layers.append(layer_of(func))
        return func

    def error_handler(self, func: Callable[[Exception, Context], Any]) -> Any:
        """Register a function ``(exc, context)`` for the errors of this router's handlers.

        Its return value is the reply, if the command came as a call. An exception that it raises
        is reported as an error of the handler.

        :raises RuntimeError: the router is part of a server or client already.
        """
        self._require_open()
        self._errors.append(error_layer(func))
        return func

    def include(self, part: Part, prefix: str = "") -> None:
        """Include another router, or an instance of a :class:`Handlers` class, in this one.

        :param prefix: put before its commands, and before its own prefix. Default ``""``.
        :raises TypeError: it is neither.
        :raises ValueError: it is this router, or has it as a part.
        :raises RuntimeError: this router is part of a server or client already.
        """
        self._require_open()
        require_part(part)
        if isinstance(part, Router) and part._has(self):
            raise ValueError(
                f"a router cannot be a part of itself: that with the prefix {part.prefix!r} would "
                f"be included in the one with {self.prefix!r}, which it is or has as a part"
            )
        self._parts.append((part, prefix))

    def _has(self, router: Router) -> bool:
        """Whether a router is this one, or a part of it."""
        return router is self or any(
            part._has(router) for part, _ in self._parts if isinstance(part, Router)
        )

    def _add(self, route: Route) -> None:
        self._require_open()
        self._routes.append(route)

    def _require_open(self) -> None:
        if self._included:
            raise RuntimeError(
                "the router has been included; what is registered now would be missing there"
            )

    def __routes__(self) -> Iterator[Route]:
        """Everything registered here and in its parts, with prefixes and layers."""
        self._included = True
        routes = list(self._routes)
        for part, prefix in self._parts:
            routes.extend(route.under(prefix) for route in part.__routes__())
        for route in routes:
            layers = (*self._errors, *self._layers, *route.layers)
            yield route.under(self.prefix)._replace(layers=layers)
