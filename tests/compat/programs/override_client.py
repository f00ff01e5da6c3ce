import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name=sys.argv[2])


@client.on("say_why")
def on_say_why():
    client.send("leave", sys.argv[3])
    print("said why")
    client.close(emit_leave=False)


client.send("ask")
client.start()
print("over")
