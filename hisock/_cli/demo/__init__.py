"""``hisock demo``: a game server with rooms and simulated players, on this machine.

Four kinds of process take part, all on the loopback interface:

- :mod:`.server` relays each move to the room it was made in;
- :mod:`.players`, many to a process, move at a fixed rate and check what they hear: every move of
  every room-mate, once, in order;
- :mod:`.director` starts the others, asks them for their counts and decides at the end whether
  anything was lost;
- :mod:`.screen` is part of the director and shows the counts.

With ``--workers``, :mod:`.workers` runs the server in several processes, :mod:`.nodes` is what the
director sees of them, and :mod:`.kill` kills one in mid-run.

With ``--web``, :mod:`.visitors` lets browsers play along on the server's own port, and
:mod:`.pages` serves them the page in ``site/``.
"""
