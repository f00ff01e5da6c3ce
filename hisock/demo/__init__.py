"""``hisock demo``: a game server with rooms and simulated players, on this machine.

Four kinds of process take part, all on the loopback interface:

- the *server* (:mod:`hisock.demo.server`) relays each move to the room it was made in;
- *players* (:mod:`hisock.demo.players`), many to a process, move at a fixed rate and check what
  they hear: every move of every room-mate, once, in order;
- the *director* (:mod:`hisock.demo.director`) starts the others, asks them for their counts and
  decides at the end whether anything was lost;
- the *screen* (:mod:`hisock.demo.screen`) is part of the director and shows the counts.
"""
