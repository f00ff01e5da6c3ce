"""``hisock top HOST:PORT``: the live figures of a server that was made with ``admin_token``.

- :mod:`.administrator` asks the server;
- :mod:`.figures` makes rates of two answers, and a page of text;
- :mod:`.screen` shows it on a terminal, and takes keys; :mod:`.command` is the command.
"""
