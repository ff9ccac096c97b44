import importlib
import socket
import struct
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder, build_msg

from musegen.errors import InputError, PortError
from musegen.live.osc import OscServer


class Recorder:
    """A player that remembers what it was asked for, and a status with everything that a status may hold."""

    def __init__(self):
        self.done: list[object] = []

    def start(self) -> None:
        self.done.append("start")

    def stop(self) -> None:
        raise PortError("the port has gone")

    def change(self, **wishes: object) -> None:
        if wishes.get("density") == "some":
            raise InputError("density is 'some'; allowed are low, medium, high")
        if wishes.get("density") == "bug":
            raise ZeroDivisionError("a secret")
        self.done.append(wishes)

    def status(self) -> dict[str, object]:
        wishes = {"composer": None, "instruments": ["piano", "violin"], "seed": 2**40}
        odd = {"far": float("inf"), "huge": 1e300, "pairs": [[1, 2]]}
        return {"transport": "rolling", "beat": 1.5, "is_open": True, "n": len(self.done), "wishes": wishes} | odd


class Surface:
    """A control surface: a socket that sends to a server and hears what it answers."""

    def __init__(self, port: int):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))

    def send(self, address: str, *values: object) -> None:
        self.socket.send(build_msg(address, values).dgram)

    def heard(self) -> OscMessage:
        return OscMessage(self.socket.recv(65535))

    def ask(self, address: str, *values: object) -> OscMessage:
        self.send(address, *values)
        return self.heard()


@pytest.fixture
def player() -> Recorder:
    return Recorder()


@pytest.fixture
def server(player) -> Iterator[OscServer]:
    server = OscServer(player, port=0)
    yield server
    server.close()


@pytest.fixture
def surface(server) -> Iterator[Surface]:
    surface = Surface(server.port)
    yield surface
    surface.socket.close()


def test_messages_reach_the_player_and_the_status_comes_back(player, server, surface):
    surface.ask("/musegen/start")
    surface.ask("/musegen/composer", "bach")
    surface.ask("/musegen/instruments", "piano, violin")
    surface.ask("/musegen/instruments", "piano", "drums")
    surface.ask("/musegen/temperature", 0.5)
    surface.ask("/musegen/seed", 7.0)
    surface.ask("/musegen/bars", None)
    answer = surface.ask("/musegen/start", 0.0)
    assert player.done == [
        "start",
        {"composer": "bach"},
        {"instruments": ["piano", "violin"]},
        {"instruments": ["piano", "drums"]},
        {"temperature": 0.5},
        {"seed": 7},
        {"bars": None},
    ]
    assert (server.n_done, server.n_refused) == (8, 0)
    assert answer.address == "/musegen/status"
    names, values = answer.params[::2], answer.params[1::2]
    assert dict(zip(names, values, strict=True)) == {
        "transport": "rolling",
        "beat": 1.5,
        "is_open": True,
        "n": 7,
        "wishes/composer": None,
        "wishes/instruments": "piano, violin",
        "wishes/seed": 2**40,
        "far": None,
        "huge": None,
        "pairs": "[[1, 2]]",
    }


def test_an_address_without_types_is_taken_as_old_senders_send_it(player, surface):
    surface.socket.send(b"/musegen/start\0\0")
    assert surface.heard().address == "/musegen/status"
    assert player.done == ["start"]


@pytest.mark.parametrize(
    ("address", "values", "words"),
    [
        ("/musegen/density", ("some",), "allowed are low, medium, high"),
        ("/musegen/density", (), "density came with 0 values"),
        ("/musegen/density", ("low", "high"), "density came with 2 values"),
        ("/musegen/temperature", ("hot",), "temperature is 'hot'"),
        ("/musegen/temperature", (float("nan"),), "temperature is nan"),
        ("/musegen/start", (1, 2), "start came with 2 values"),
        ("/musegen/status", ("transport", "rolling"), "status came with 2 values"),
        ("/musegen/stop", (), "the port has gone"),
        ("/musegen/*", (), "address is '/musegen/*'"),
        ("/musegen", (), "address is '/musegen'"),
        ("/other/start", (), "address is '/other/start'"),
        ("/start", (), "address is '/start'"),
        ("/" + "x" * 40_000, (), "address is '/xxx"),
    ],
)
def test_a_message_that_is_not_usable_is_answered_with_why(player, server, surface, address, values, words):
    answer = surface.ask(address, *values)
    assert answer.address == "/musegen/error"
    assert words in answer.params[0]
    assert (player.done, server.n_done, server.n_refused) == ([], 0, 1)


def test_a_bug_is_logged_and_not_told(server, surface, caplog):
    answer = surface.ask("/musegen/density", "bug")
    assert answer.params == ["internal error (ZeroDivisionError)"]
    assert "a secret" in caplog.text
    assert surface.ask("/musegen/status").address == "/musegen/status"


def test_an_error_is_not_answered_so_that_two_servers_never_talk_for_ever(server, surface):
    surface.send("/musegen/error", "no")
    assert surface.ask("/musegen/status").address == "/musegen/status"
    assert (server.n_done, server.n_refused) == (1, 1)


def bundle(*elements: bytes, timetag: bytes = b"\0\0\0\0\0\0\0\1") -> bytes:
    return b"#bundle\0" + timetag + b"".join(struct.pack(">i", len(element)) + element for element in elements)


START = build_msg("/musegen/start").dgram
TEMPERATURE = OscMessageBuilder("/musegen/temperature")
TEMPERATURE.add_arg(1.5)


def test_a_bundle_is_done_message_by_message_at_once_whatever_its_time_tag(player, surface):
    builder = OscBundleBuilder(IMMEDIATELY)
    builder.add_content(build_msg("/musegen/start"))
    builder.add_content(build_msg("/musegen/composer", "bach"))
    in_the_far_future = b"\xff" * 8
    surface.socket.send(bundle(bundle(builder.build().dgram), START, timetag=in_the_far_future))
    for _ in range(3):
        assert surface.heard().address == "/musegen/status"
    assert player.done == ["start", {"composer": "bach"}, "start"]


NESTED = START
for _ in range(500):
    NESTED = bundle(NESTED)

MALFORMED = {
    "nothing": b"",
    "no OSC": b"GET / HTTP/1.1\r\n\r\n",
    "an address without end": b"/musegen/start",
    "bytes behind the end": START + b"\0\0\0\0",
    "no comma before the types": b"/musegen/start\0\0f\0\0\0\0\0\0\0",
    "a number that is cut off": TEMPERATURE.build().dgram[:-4],
    "half a number": TEMPERATURE.build().dgram[:-2],
    "a number too many": TEMPERATURE.build().dgram + b"\0\0\0\0",
    "a type that there is not": b"/musegen/start\0\0,c\0\0\0\0\0a",
    "an array that does not end": b"/musegen/start\0\0,[\0\0",
    "a blob of negative size": b"/musegen/start\0\0,b\0\0\xff\xff\xff\xf0",
    "no UTF-8": b"/musegen/composer\0\0\0,s\0\0\xff\xfe\0\0",
    "half a bundle": b"#bundle\0\0\0\0\0",
    "a bundle with half a message": bundle(START, START)[:-4],
    "a bundle with half a size": bundle(START) + b"\0\0",
    "an element of negative size": bundle(START) + struct.pack(">i", -4),
    "an element of size 0": bundle(START, b""),
    "a bundle with an element that is none": bundle(START, b"none"),
    "500 bundles in each other": NESTED,
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_changes_nothing_and_is_answered_with_why(player, server, surface, packet):
    surface.socket.send(packet)
    answer = surface.heard()
    assert answer.address == "/musegen/error"
    assert "malformed" in answer.params[0]
    assert (player.done, server.n_refused) == ([], 1)


seeds = st.sampled_from([START, TEMPERATURE.build().dgram, bundle(START, START), *MALFORMED.values()])
cuts = st.tuples(seeds, st.integers(0, 200), st.integers(0, 20), st.binary(max_size=20)).map(
    lambda parts: parts[0][: parts[1]] + parts[3] + parts[0][parts[1] + parts[2] :]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packet=st.binary(max_size=200) | cuts)
def test_no_packet_ends_the_server(server, surface, caplog, packet):
    surface.socket.send(packet)
    surface.send("/musegen/mark")
    while "/musegen/mark" not in str(surface.heard().params):  # the answers to the packet come before
        pass
    assert not caplog.records


def test_many_messages_at_a_stretch_all_arrive_in_order(player, surface):
    for seed in range(500):
        surface.send("/musegen/seed", seed)
        if seed % 50 == 49:
            for _ in range(50):
                surface.heard()
    assert player.done == [{"seed": seed} for seed in range(500)]


def test_close_ends_the_thread_and_frees_the_port(player):
    server = OscServer(player, port=0)
    port = server.port
    assert "musegen osc" in {thread.name for thread in threading.enumerate()}
    server.close()
    server.close()
    assert "musegen osc" not in {thread.name for thread in threading.enumerate()}
    OscServer(player, port=port).close()


def test_a_port_that_is_taken_or_none_is_refused(player, server):
    with pytest.raises(InputError, match=f"cannot listen at host '127.0.0.1', port {server.port}: "):
        OscServer(player, port=server.port)
    with pytest.raises(InputError, match="port is 70000; allowed are 0 to 65535"):
        OscServer(player, port=70_000)
    with pytest.raises(InputError, match="cannot listen at host 'no such host'"):
        OscServer(player, host="no such host", port=0)


def test_where_python_osc_is_missing_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonosc.dispatcher", None)
    monkeypatch.delitem(sys.modules, "musegen.live.osc")
    with pytest.raises(InputError, match=r"needs python-osc: pip install 'musegen\[live\]'"):
        importlib.import_module("musegen.live.osc")
