"""Readings of many sensors, for Prometheus.

    python examples/telemetry.py serve [PORT] [METRICS PORT]
    python examples/telemetry.py sense NAME [PORT] [READINGS]

It needs ``pip install 'hisock[metrics]'``. A sensor goes on measuring while it has no connection:
readings are kept, sent again until they are confirmed, and counted once.
"""

from __future__ import annotations

import random
import sys
import time

import msgspec
from prometheus_client import Counter, Gauge

import hisock
from hisock.metrics import serve_metrics

PORT = 5000


class Reading(msgspec.Struct):
    celsius: float
    percent: float  # of humidity
    at: float  # seconds since 1970


TEMPERATURE = Gauge("sensor_celsius", "The newest temperature.", ["sensor"])
HUMIDITY = Gauge("sensor_humidity_percent", "The newest humidity.", ["sensor"])
READINGS = Counter("sensor_readings", "Readings that have come.", ["sensor"])
ONLINE = Gauge("sensor_online", "Whether the sensor is connected.", ["sensor"])


def serve(port: int, metrics_port: int) -> None:
    server = hisock.HiSockServer(("127.0.0.1", port), unique_names=True, announce="none")

    @server.authenticate
    def authenticate(name: str | None) -> None:
        if not name:
            raise hisock.Reject("a sensor needs a name")

    @server.on("join")
    def join(client: hisock.ClientInfo) -> None:
        ONLINE.labels(client.name).set(1)

    @server.on("leave")
    def leave(client: hisock.ClientInfo) -> None:
        ONLINE.labels(client.name).set(0)

    @server.on("reading")
    def reading(client: hisock.ClientInfo, reading: Reading) -> None:
        TEMPERATURE.labels(client.name).set(reading.celsius)
        HUMIDITY.labels(client.name).set(reading.percent)
        READINGS.labels(client.name).inc()

    with serve_metrics({"telemetry": server}, metrics_port) as real:
        print(f"Listening on port {server.addr[1]}, metrics on port {real}", flush=True)
        server.start()


def sense(name: str, port: int, count: int) -> None:
    client = hisock.threaded_connect(
        ("127.0.0.1", port), name, reconnect=True, offline_buffer=1024 * 1024
    )
    with client:
        client.start()
        for number in range(count):
            reading = Reading(20 + random.gauss(0, 1), 45 + random.gauss(0, 3), time.time())
            client.send("reading", reading, acknowledged=True)
            if number < count - 1:
                time.sleep(1)
        client.get_client(name)  # what comes before the answer has been handled
    print(f"{name} has sent {count} readings", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *ports]:
            serve(*[*map(int, ports), *[PORT, 9464][len(ports) :]])
        case ["sense", name, *numbers]:
            sense(name, *[*map(int, numbers), *[PORT, 60][len(numbers) :]])
        case _:
            sys.exit(__doc__)
