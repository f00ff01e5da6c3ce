"""The programs of the intermediate tutorial, over real sockets, on ours and on 2.0.2.

What the tutorial leaves out (``...``) is filled in; the files are run as they are. The tutorial
uses two names that 2.0.2 documents and does not have; see :mod:`support.old`.
"""

from __future__ import annotations

import re

from .running import Stage, each_alone, every_pair, finished, quiet


@every_pair
def test_an_overridden_leave_is_a_command_that_clients_send(
    stage: Stage, pair: tuple[str, str]
) -> None:
    server = stage.serve(pair, "override_server.py")
    for name, reason in (("ann", "the game is over"), ("bob", "of the weather")):
        client = stage.start(pair[1], "override_client.py", name, reason)
        assert client.finish() == ["said why", "over"]
        server.wait_line(f"{name} left because {reason}")
        quiet(client)
    # The event itself, for a client that goes, fired for neither.
    assert server.lines == [
        "ready",
        "ann joined",
        "ann left because the game is over",
        "bob joined",
        "bob left because of the weather",
    ]
    quiet(server)


@each_alone
def test_threaded_classes_leave_the_main_thread_free(stage: Stage, version: str) -> None:
    program = stage.start(version, "threading_classes.py")
    assert program.finish() == [
        "server runs",
        f"answers {[2**power for power in range(1, 11)]}",
        "client closed",
        "waited for 42",
        "server closed",
    ]
    if version == "ours":  # 2.0.2's server complains about its own closed socket
        quiet(program)


@every_pair
def test_recv_in_a_threaded_handler_waits_for_the_response(
    stage: Stage, pair: tuple[str, str]
) -> None:
    server = stage.serve(pair, "recv_server.py")
    client = stage.start(pair[1], "recv_client.py")
    client.tell("good morning")
    assert finished(client, pair[1]) == [
        "What would you like to say?Waiting for a response...",
        "The server said: I heard 'good morning' from asker",
        "over",
    ]
    quiet(server)


@every_pair
def test_the_wildcard_gets_what_nobody_handles(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "wildcard_server.py")
    client = stage.start(pair[1], "wildcard_client.py")
    lines = client.finish()
    assert lines[0] == "sus connected"
    assert lines[2:] == ["over"]
    there = server.wait_line("unhandled data from sus")
    sent = re.search(r"command='hello i am an uncaught command', data='(Random d.*)'$", there)
    back = re.search(r"command='i am also an uncaught command', data='(R.*)'$", lines[1])
    assert sent is not None
    assert back is not None
    assert back[1] == sent[1].replace("a", "ඞ")
    assert "ඞ" in back[1]
    server.wait_line("sus left")
    quiet(server, client)


@every_pair
def test_threaded_handlers_hold_up_nobody(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "threaded_handlers_server.py")
    client = stage.start(pair[1], "threaded_handlers_client.py")
    answers = ["pong 1", "pong 2", "pong 3", "finally: how long?", "over"]
    assert finished(client, pair[1]) == answers
    quiet(server)


@every_pair
def test_groups_names_and_client_info(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "groups_server.py")
    client = stage.start(pair[1], "groups_client.py")
    assert client.finish() == [
        "welcome ann red",
        "renamed anna",
        "anna is in blue",
        "anna: hello blue",
        "members ['anna']",
        "members []",
        "over",
    ]
    server.wait_line("^leave anna blue$")
    assert server.lines == [
        "ready",
        "join ann red",
        "name ann -> anna, now anna",
        "group red -> blue, now blue",
        "leave anna blue",
    ]
    quiet(server, client)
