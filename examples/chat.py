"""A chat: everybody hears everybody.

    python examples/chat.py serve
    python examples/chat.py join Ada

A client reads lines from the keyboard; an empty one leaves.
"""

import sys

import hisock

PORT = 5000


def serve(port: int) -> None:
    server = hisock.start_server(("127.0.0.1", port))

    @server.on("join")
    def joined(client: hisock.ClientInfo) -> None:
        server.send_all_clients("notice", f"{client.name} joined, {len(server)} here")

    @server.on("leave")
    def left(client: hisock.ClientInfo) -> None:
        server.send_all_clients("notice", f"{client.name} left")

    @server.on("say")
    def say(client: hisock.ClientInfo, text: str) -> None:
        server.send_all_clients("said", {"by": client.name, "text": text})

    print(f"Listening on port {server.addr[1]}", flush=True)
    server.start()


def join(name: str, port: int) -> None:
    # The keyboard keeps the main thread busy, so the client gets a thread of its own.
    with hisock.threaded_connect(("127.0.0.1", port), name=name) as client:

        @client.on("notice")
        def notice(text: str) -> None:
            print(f"* {text}", flush=True)

        @client.on("said")
        def said(message: dict[str, str]) -> None:
            print(f"{message['by']}: {message['text']}", flush=True)

        client.start()
        for line in sys.stdin:
            if not line.strip():
                break
            client.send("say", line.strip())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *port]:
            serve(int(port[0]) if port else PORT)
        case ["join", name, *port]:
            join(name, int(port[0]) if port else PORT)
        case _:
            sys.exit(__doc__)
