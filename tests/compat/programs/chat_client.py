"""Obeys lines on standard input: say/shout/whisper/go/quit."""

import sys
import threading

from hisock import connect

client = connect(("127.0.0.1", int(sys.argv[1])), name=sys.argv[2], group=sys.argv[3])


@client.on("said")
def said(message: dict):
    print(f"<{message['from']}> {message['text']}")


@client.on("notice")
def notice(text: str):
    print("*", text)


def keyboard():
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word in ("say", "shout"):
            client.send(word, rest)
        elif word == "whisper":
            to, _, text = rest.partition(" ")
            client.send("whisper", {"to": to, "text": text})
        elif word == "go":
            client.change_group(rest)
        elif word == "quit":
            client.close()
            return


print("ready")
threading.Thread(target=keyboard, daemon=True).start()
client.start()
print("over")
