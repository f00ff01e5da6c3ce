"""What a client has to do for ``hisock conformance``, here with the client of hisock itself.

hisock conformance 127.0.0.1:5000 &
python examples/conformance/agent.py 127.0.0.1 5000
"""

import sys

import hisock


def play(addr: tuple[str, int]) -> None:
    """One connection, to its end."""
    client = hisock.connect(addr, name="agent")

    @client.on("*")
    def heard(command: str | None, message: bytes) -> None:
        if command is not None:
            client.send("heard", command.encode() + b"\n" + message)

    @client.on("reply")
    def reply(message: bytes) -> bytes:
        return message

    @client.on("fail")
    def fail() -> None:
        raise ValueError("as asked for")

    @client.on("ask", threaded=True)
    def ask(message: bytes) -> None:
        try:
            client.send("answered", client.call("question", message, bytes))
        except hisock.RemoteError as error:
            client.send("failed", str(error))

    @client.on("leave")
    def leave() -> None:
        client.close()

    client.start()


host, port = sys.argv[1:]
while True:
    try:
        play((host, int(port)))
    except (hisock.ConnectionLost, hisock.ConnectionRejected, hisock.FramingError) as error:
        print(error, file=sys.stderr)  # one case; the next connection is another
    except hisock.ServerNotRunning:
        break  # the kit has ended
