"""A WebSocket as a pipe for the stream of frames that there is.

Nothing here is imported unless a server is made with ``websocket=``. Of the server it knows what
:class:`hisock._websocket.pipe.Endpoint` says.
"""
