"""``hisock conformance``: checks a client that somebody wrote in another language.

The kit plays the server. :mod:`.lines` brings the bytes, by TCP or WebSockets; :mod:`.cases` says
what is sent and what has to come back; :mod:`.kit` runs one case a connection.
"""
