"""Programs as users of 2.0.2 write them: the same files do the same on 2.0.2 and on ours."""

from __future__ import annotations

from support import Program

from .running import Stage, each_alone, every_pair, finished, quiet


@every_pair
def test_a_chat_with_rooms(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "chat_server.py")
    clients: dict[str, Program] = {}
    for name, room in (("ann", "tea"), ("bob", "tea"), ("eve", "rum")):
        clients[name] = stage.start(pair[1], "chat_client.py", name, room)
        server.wait_line(f"{name} enters {room}")
        clients[name].wait_line(f"^. {name} entered$")
    ann, bob, eve = clients.values()
    ann.wait_line("bob entered")
    ann.tell("say hello, tea drinkers")
    for member in (ann, bob):
        member.wait_line("^<ann> hello, tea drinkers$")
    eve.tell("shout anybody?")
    for member in (ann, bob, eve):
        member.wait_line("^<eve> ANYBODY[?]$")
    bob.tell("whisper eve come over")
    eve.wait_line("^<bob> come over$")
    eve.tell("whisper nobody hello?")
    eve.wait_line("there is no nobody")
    eve.tell("go tea")
    for member in (ann, bob, eve):
        member.wait_line("^. eve came from rum$")
    ann.tell("say welcome eve")
    eve.wait_line("^<ann> welcome eve$")
    bob.tell("quit")
    assert finished(bob, pair[1])[-1] == "over"
    eve.wait_line("bob left")
    ann.wait_line("bob left")
    ann.tell("quit")
    eve.wait_line("ann left")
    eve.tell("quit")
    assert finished(ann, pair[1]) == [
        "ready",
        "* ann entered",
        "* bob entered",
        "<ann> hello, tea drinkers",
        "<eve> ANYBODY?",
        "* eve came from rum",
        "<ann> welcome eve",
        "* bob left",
        "over",
    ]
    assert "<ann> hello, tea drinkers" not in finished(eve, pair[1])
    quiet(server)


@every_pair
def test_a_board_game_that_takes_client_info_as_a_dict(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "tictactoe_server.py")
    first = stage.start(pair[1], "tictactoe_client.py", "ann", "036")
    server.wait_line("^ann plays X from 127.0.0.1$")
    second = stage.start(pair[1], "tictactoe_client.py", "bob", "124")
    boards = ["X........", "XO.......", "XO.X.....", "XOOX.....", "XOOX..X.."]
    assert first.finish() == ["joined as X True", *boards, "winner X", "disconnected", "end"]
    assert second.finish() == ["joined as O True", *boards, "winner X", "disconnected", "end"]
    server.wait_line("game over")
    assert server.lines == [
        "ready",
        "ann plays X from 127.0.0.1",
        "bob plays O from 127.0.0.1",
        "game over",
    ]
    quiet(server, first, second)


@every_pair
def test_pings_and_timers_with_recv_in_the_main_thread(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "timer_server.py")
    client = stage.start(pair[1], "timer_client.py")
    nothing = "b''" if pair[1] == "ours" else "None"  # 2.0.2 forgets the type of no message
    lines = finished(client, pair[1])
    assert lines == [
        f"pong {lines[0].removeprefix('pong ')}",
        "ponged before the timer",
        "timer 0.5",
        "asked how old are you?",
        "verdict {'age': 42, 'adult': True}",
        "over",
    ]
    assert lines[0].removeprefix("pong ") in (nothing, "b''")
    assert server.finish() == ["ready", "left timed", "closed"]


@every_pair
def test_callback_and_error_handler_of_start(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "callbacks_server.py")
    client = stage.start(pair[1], "callbacks_client.py")
    assert client.finish() == ["error KeyError('three')", "callback True", "over"]
    server.wait_line("^handled")
    server.wait_line("^callback True$")
    assert "handled [1, 2, 3]" in server.lines


@every_pair
def test_listing_and_kicking_clients(stage: Stage, pair: tuple[str, str]) -> None:
    server = stage.serve(pair, "admin_server.py")
    guests = {}
    for name, group in (("ann", "red"), ("bert", "red"), ("carl", "blue")):
        guests[name] = stage.start(pair[1], "admin_client.py", name, group)
        guests[name].wait_line("ready")
    boss = stage.start(pair[1], "admin_client.py", "boss", "staff")
    assert boss.finish() == [
        "ready",
        "reported ['ann', 'bert', 'boss', 'carl']",
        "gone ann",
        "quiet",
        "forced out",
        "over",
    ]
    assert guests["ann"].finish() == ["ready", "forced out", "over"]
    assert guests["bert"].finish() == ["ready", "gone ann", "forced out", "over"]
    assert guests["carl"].finish() == ["ready", "gone ann", "forced out", "over"]
    assert server.lines[:13] == [
        "ready",
        "count 4 4",
        "names ['ann', 'bert', 'boss', 'carl']",
        "groups ['blue', 'red', 'staff']",
        "red ['ann', 'bert']",
        "everybody ['ann', 'bert', 'boss', 'carl']",
        "ips 4",
        "group ['ann', 'bert']",
        "found ann red ann",
        "no such group",
        "no such client",
        "address True",
        "leave ann",
    ]
    assert "leave bert" not in server.lines


@every_pair
def test_a_game_that_pairs_clients_and_compares_their_info(
    stage: Stage, pair: tuple[str, str]
) -> None:
    server = stage.serve(pair, "fourinarow_server.py")
    first = stage.start(pair[1], "fourinarow_client.py", "ann")
    server.wait_line("players 1 paired False")
    second = stage.start(pair[1], "fourinarow_client.py", "bob")
    server.wait_line("players 2 paired True")
    assert first.finish() == [
        "start first bob",
        "opponent 1",
        "lose",
        "cache [('new_move', True), ('lose', True)]",
        "forced out",
        "end",
    ]
    assert second.finish() == [
        "start last ann",
        "opponent 0",
        "opponent 2",
        "win",
        "cache [('new_move', True), ('win', True)]",
        "forced out",
        "end",
    ]
    server.wait_line("pair ended")
    assert "left ann" not in server.lines
    quiet(server, first, second)


@each_alone
def test_imports_and_helpers(stage: Stage, version: str) -> None:
    program = stage.start(version, "utilities.py")
    for line in ("300.0.0.1", "127.0.0.1", "99999", "5000", "10.0.0.1", "6000", "ann", ""):
        program.tell(line)
    lines = program.finish()
    assert lines[:19] == [
        "same True True",
        "version True True",
        "('127.0.0.1', 5000) 127.0.0.1:5000",
        "not an address 127.0.0.1",
        "not an address 127.0.0.1:0",
        "not an address 127.0.0.1:70000",
        "not an address 1.2.3:80",
        "not an address a:b:c",
        "valid True True",
        "port True ip True",
        "invalid 1.2.3.400:80",
        "invalid ('1.2.3.4', 99999)",
        "invalid ",
        "b'5               ' '120     '",
        "all ips True",
        "reserved",
        "127.0.0.1:5000 ann red True",
        "b'5' b'hello' True c",
        "nobody there",
    ]
    # The prompts print no line feed, so the results follow them.
    assert lines[-2].endswith("server config ('127.0.0.1', 5000)")
    assert lines[-1].endswith("client config (('10.0.0.1', 6000), 'ann')")
    assert "300.0.0.1 is not a valid IPv4 address" in "\n".join(lines)
    assert "99999 is not a valid port" in "\n".join(lines)
