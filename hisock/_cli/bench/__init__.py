"""``hisock bench``: load from this machine on a server, and how long it takes to answer.

- :mod:`.kinds` says what is sent, and what counts as the answer;
- :mod:`.load` opens the connections and sends, at a rate or as fast as answers come;
- :mod:`.report` shows it; :mod:`.command` is the command.
"""
