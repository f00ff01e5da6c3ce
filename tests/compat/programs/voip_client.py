"""Two people; the second calls the first, sends three pictures, and ends the call."""

import sys
import threading
import time

from hisock import HiSockClient

calls = sys.argv[2] == "bob"
client = HiSockClient(("127.0.0.1", int(sys.argv[1])), sys.argv[2])
pictures = []


@client.on("discriminator")
def discriminator(number: int):
    client.username = f"{sys.argv[2]}#{number:04}"
    client.change_name(client.username)


@client.on("online_users")
def online_users(names: list):
    print("online", names)
    if calls:
        client.send("send_everyone_message", "hello")
        client.send("request_call", names[0])


@client.on("client_join")
def client_join(username: str):
    print("joined", username)


@client.on("recv_everyone_message")
def everyone(data: dict):
    if data["username"] != client.username:
        print(data["username"], data["message"], abs(time.time() - data["time_sent"]) < 60)


@client.on("incoming_call")
def incoming(caller: str):
    print("called by", caller)
    client.send("accepted_call", caller)


@client.on("accepted_call")
def accepted(recipient: str):
    print("talks to", recipient)
    for number in range(3):
        client.send("video_data", [recipient, "picture %d" % number])
        time.sleep(0.05)
    client.send("end_call", recipient)
    threading.Timer(0.3, leave).start()


@client.on("video_data")
def video(data: bytes):
    pictures.append(data)


@client.on("end_call")
def end_call():
    print("pictures", pictures)


@client.on("client_leave")
def client_leave(username: str):
    print("left", username)
    threading.Thread(target=leave).start()


def leave():
    print("over")
    client.close()


client.start()
