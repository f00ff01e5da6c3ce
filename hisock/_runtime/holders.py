"""Finds the process that listens at a port, on systems with ``/proc``."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


def holder_of(port: int) -> str | None:
    """``"process 123 (python)"`` for the process that listens at a TCP port of this machine.

    ``None`` if the system does not tell, as for processes of other users.
    """
    try:
        inodes = _inodes(port)
        return next((found for inode in inodes if (found := _process_with(inode))), None)
    except OSError:
        return None


def _inodes(port: int) -> list[str]:
    """The sockets that listen at a port."""
    found = []
    for table in ("net/tcp", "net/tcp6"):
        path = _PROC / table
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.append(fields[9])
    return found


def _process_with(inode: str) -> str | None:
    for process in _PROC.glob("[0-9]*"):
        try:
            if any(_leads_to(entry, f"socket:[{inode}]") for entry in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:  # it has ended, or belongs to another user
            continue
    return None


def _leads_to(entry: Path, target: str) -> bool:
    try:
        return str(entry.readlink()) == target
    except OSError:  # closed meanwhile
        return False
