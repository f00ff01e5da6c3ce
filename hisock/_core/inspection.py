"""Look-ups of the handlers and cached frames of a server or client, as in 2.0.2."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hisock._core.cache import MessageCacheMember
from hisock._core.events import EventTable


class Inspection:
    """The read-only part of servers and clients."""

    def _event_table(self) -> EventTable:
        raise NotImplementedError

    @property
    def cache_size(self) -> int:
        """How many frames are kept; below 0 none, 0 all."""
        return self._event_table().cache.size

    @property
    def cache(self) -> list[MessageCacheMember]:
        """The cached frames, oldest first; a new list each time. See :meth:`get_cache`."""
        members: list[MessageCacheMember] = self._event_table().cache.get()
        return members

    def get_cache(self, idx: int | slice | None = None) -> Any:
        """The cached frames, oldest first: all, the one at an index, or a slice.

        Each has ``header``, ``content``, ``called`` and ``command``. See ``cache_size``.
        """
        return self._event_table().cache.get(idx)

    @property
    def funcs(self) -> Mapping[str, Mapping[str, Any]]:
        """The registered handlers by command, read-only: for each ``func``, ``name``,
        ``type_hint``, ``threaded`` and ``override``."""
        return MappingProxyType(self._event_table().described)
