"""A client in a game loop, without a thread: ``update()`` once a frame.

    python examples/game_loop.py

The loop is what it would be with pygame; only the drawing is a line of text. The server
moves a ball and tells everybody.
"""

import threading
import time

import msgspec

import hisock

FRAMES_PER_SECOND = 60


class Ball(msgspec.Struct):
    x: float
    y: float


server = hisock.ThreadedHiSockServer(("127.0.0.1", 0))
stopped = threading.Event()


def move_the_ball() -> None:
    ball = Ball(0.0, 0.0)
    while not stopped.wait(0.05):
        ball.x = (ball.x + 3) % 80
        ball.y = (ball.y + 2) % 25
        server.send_all_clients("ball", ball)


server.start()
threading.Thread(target=move_the_ball, daemon=True).start()

# The loop
client = hisock.connect(server.addr, name="Ada")
ball = Ball(0.0, 0.0)


@client.on("ball")
def ball_moved(now: Ball) -> None:
    global ball
    ball = now


for frame in range(FRAMES_PER_SECOND):
    client.update()
    print(f"\rframe {frame:3}  ball at {ball.x:4.0f} {ball.y:4.0f}", end="", flush=True)
    time.sleep(1 / FRAMES_PER_SECOND)
# The end

print()
client.close()
stopped.set()
server.close()
