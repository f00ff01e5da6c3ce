"""A player's window on the arena; the arrow keys steer.

    pip install pygame-ce
    python examples/arena/play.py NAME [--room ROOM] [--port PORT]

``--frames N --screenshot FILE`` ends after N frames and keeps the last: with SDL_VIDEODRIVER=dummy
it needs no screen.
"""

from __future__ import annotations

import argparse
import time

import pygame
from interpolation import Interpolation
from world import SIGHT, SIZE, Steer, View

import hisock

WIDTH, HEIGHT = 640, 480
FRAMES_PER_SECOND = 60
GROUND, LINES = (24, 28, 36), (44, 50, 62)
MINE, THEIRS, TEXT = (255, 196, 61), (86, 180, 233), (222, 226, 230)


class Window:
    def __init__(self, name: str, room: str, port: int) -> None:
        self.name = name
        self.client = hisock.connect(("127.0.0.1", port), name=name)
        self.shown = Interpolation()
        self.wish = Steer(0, 0)
        self.client.on("view")(self.view)
        self.here = self.client.call("enter", room, int)
        pygame.display.init()
        pygame.font.init()
        self.screen = pygame.display.set_mode((WIDTH, HEIGHT))
        pygame.display.set_caption(f"{name} in {room}")
        self.font = pygame.font.Font(None, 22)

    def view(self, view: View) -> None:
        self.shown.take(view, time.monotonic())

    def run(self, frames: int) -> None:
        """Until the window is closed, or for so many frames."""
        clock = pygame.time.Clock()
        while frames and not any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.client.update()
            self.steer()
            self.draw(self.shown.at(time.monotonic()))
            clock.tick(FRAMES_PER_SECOND)
            frames -= 1

    def steer(self) -> None:
        """Say where to go, when that has changed."""
        keys = pygame.key.get_pressed()
        wish = Steer(
            keys[pygame.K_RIGHT] - keys[pygame.K_LEFT], keys[pygame.K_DOWN] - keys[pygame.K_UP]
        )
        if wish != self.wish:
            self.client.send("steer", wish)
            self.wish = wish

    def draw(self, places: dict[str, tuple[float, float]]) -> None:
        self.screen.fill(GROUND)
        x0, y0 = places.get(self.name, (SIZE / 2, SIZE / 2))
        left, top = x0 - WIDTH / 2, y0 - HEIGHT / 2
        for line in range(0, int(SIZE) + 1, 100):
            pygame.draw.line(self.screen, LINES, (line - left, -top), (line - left, SIZE - top))
            pygame.draw.line(self.screen, LINES, (-left, line - top), (SIZE - left, line - top))
        pygame.draw.circle(self.screen, LINES, (WIDTH / 2, HEIGHT / 2), SIGHT, 2)
        for name, (x, y) in places.items():
            at = (x - left, y - top)
            pygame.draw.circle(self.screen, MINE if name == self.name else THEIRS, at, 12)
            label = self.font.render(name, True, TEXT)
            self.screen.blit(label, (at[0] - label.get_width() / 2, at[1] + 15))
        pygame.display.flip()


def main() -> None:
    options = argparse.ArgumentParser(description="A player's window on the arena.")
    options.add_argument("name")
    options.add_argument("--room", default="main")
    options.add_argument("--port", type=int, default=5000)
    options.add_argument("--frames", type=int, default=-1)
    options.add_argument("--screenshot")
    given = options.parse_args()
    window = Window(given.name, given.room, given.port)
    print(f"{window.here} in {given.room}", flush=True)
    with window.client:
        window.run(given.frames)
        if given.screenshot:
            pygame.image.save(window.screen, given.screenshot)
            print(f"sees {len(window.shown.at(time.monotonic())) - 1} others", flush=True)


if __name__ == "__main__":
    main()
