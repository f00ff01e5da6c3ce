import sys

import hisock

client = hisock.connect(("127.0.0.1", int(sys.argv[1])), name="asker")


@client.on("start", threaded=True)
def on_start():
    client.send(input("What would you like to say?"))
    print("Waiting for a response...")
    response = client.recv("response", str)
    print(f"The server said: {response}")
    client.close()


client.start()
print("over")
