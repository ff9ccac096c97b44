import base64
import http.client
import importlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from musegen.errors import CheckpointError, InputError
from musegen.live.http import MAX_BODY_BYTES, HttpServer, application

JSON = {"content-type": "application/json"}
MIDI = {"content-type": "audio/midi"}


class Recorder:
    """A player that remembers what it was asked for."""

    def __init__(self):
        self.done: list[object] = []

    def start(self) -> None:
        self.done.append("start")

    def stop(self) -> None:
        self.done.append("stop")

    def change(self, **wishes: object) -> None:
        if wishes.get("composer") not in (None, "bach"):
            raise InputError("composer is nobody")
        self.done.append(wishes)

    def status(self) -> dict[str, object]:
        return {"transport": "rolling", "n": len(self.done)}


class Bridge:
    """Answers a fragment with the same one, twice."""

    def __init__(self):
        self.asked: list[tuple[bytes, Mapping[str, object]]] = []

    def __call__(self, fragment: bytes, wishes: Mapping[str, object]) -> bytes:
        self.asked.append((fragment, wishes))
        match wishes.get("mode"):
            case "wrong":
                raise InputError("mode is 'wrong'")
            case "damaged":
                raise CheckpointError("the model is damaged")
            case "bug":
                raise ZeroDivisionError("a secret")
        return fragment * 2


@pytest.fixture
def player() -> Recorder:
    return Recorder()


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
def client(player, bridge) -> TestClient:
    return client_of(application(player, bridge=bridge))


def client_of(app: Starlette) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)


def test_the_player_does_what_is_asked_and_its_status_comes_back(client, player):
    assert client.get("/status").json() == {"transport": "rolling", "n": 0}
    assert client.post("/start").json() == {"transport": "rolling", "n": 1}
    assert client.post("/wishes", json={"composer": "bach", "bars": None}).json()["n"] == 2
    assert client.patch("/wishes", json={"seed": 3.0, "instruments": "piano, drums"}).json()["n"] == 3
    assert client.post("/stop").json()["n"] == 4
    assert player.done == [
        "start",
        {"composer": "bach", "bars": None},
        {"seed": 3, "instruments": ["piano", "drums"]},
        "stop",
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"seed": 1, "composer": "nobody"}', 422, "composer is nobody"),
        (b'{"seed": 1, "temperature": "hot"}', 422, "temperature is 'hot'"),
        (b'{"seed": 1, "speed": 2}', 422, "unknown wish 'speed'"),
        (b'{"start": null}', 422, "unknown wish 'start'"),
        (b'{"composer": "\\ud800"}', 422, "composer is"),
        (b'{"seed": 1', 400, "no JSON"),
        (b'{"temperature": NaN}', 400, "no JSON"),
        (b'{"tempo": 1e999}', 422, "tempo is inf"),
        (b'{"seed": ' + b"9" * 5000 + b"}", 400, "no JSON"),
        (b"[" * 200_000, 400, "no JSON"),
        (b"\xff\xfe\xfd", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b'["composer"]', 400, "no JSON object"),
    ],
)
def test_wishes_that_are_not_usable_change_nothing(client, player, body, status, words):
    answer = client.post("/wishes", content=body, headers=JSON)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert player.done == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.sampled_from(["composer", "instruments", "seed", "bars", "tempo", "start"]) | st.text()
bodies = st.binary() | (json_values | st.dictionaries(names, json_values)).map(lambda value: json.dumps(value).encode())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_whatever_body_comes_is_done_or_refused(client, player, body):
    n_done = len(player.done)
    answer = client.post("/wishes", content=body, headers=JSON)
    assert answer.status_code in (200, 400, 422)
    assert len(player.done) == n_done + (answer.status_code == 200)
    assert answer.status_code == 200 or list(answer.json()) == ["error"]


def test_without_a_player_only_the_bridge_answers(bridge):
    client = client_of(application(bridge=bridge))
    assert client.get("/status").json() == {"transport": "none"}
    for path in ("/start", "/stop", "/wishes"):
        answer = client.post(path, json={})
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert client.post("/bridge", content=b"MThd", headers=MIDI).status_code == 200


@pytest.mark.parametrize(
    ("score", "sent", "answered"),
    [
        (b"MThd...", "audio/midi", "audio/midi"),
        (b"MThd...", "Audio/X-MIDI; charset=binary", "audio/midi"),
        (b"\xef\xbb\xbf<?xml", "application/xml", "application/vnd.recordare.musicxml+xml"),
        (b"PK\x03\x04", "application/vnd.recordare.musicxml", "application/vnd.recordare.musicxml"),
        (b"X:1", "application/octet-stream", "application/octet-stream"),
    ],
)
def test_the_bridge_answers_a_file_with_a_file(client, bridge, score, sent, answered):
    answer = client.post("/bridge?mode=infill&bars=9-24", content=score, headers={"content-type": sent})
    assert (answer.status_code, answer.content) == (200, score * 2)
    assert answer.headers["content-type"] == answered
    assert bridge.asked == [(score, {"mode": "infill", "bars": "9-24"})]


def test_the_bridge_answers_json_with_json(client, bridge):
    body = {"score": base64.b64encode(b"MThd").decode(), "mode": "continue", "bars": 4}
    answer = client.post("/bridge", json=body)
    assert base64.b64decode(answer.json()["score"]) == b"MThdMThd"
    assert bridge.asked == [(b"MThd", {"mode": "continue", "bars": 4})]


@pytest.mark.parametrize(
    ("query", "content", "headers", "status", "words"),
    [
        ("?mode=wrong", b"MThd", MIDI, 422, "mode is 'wrong'"),
        ("?mode=damaged", b"MThd", MIDI, 500, "the model is damaged"),
        ("?mode=bug", b"MThd", MIDI, 500, "internal error"),
        ("?bars=1&bars=2", b"MThd", MIDI, 422, "twice"),
        ("", b"", MIDI, 422, "score is empty"),
        ("", b"MThd", {}, 415, "content type is ''"),
        ("", b"MThd", {"content-type": "image/png"}, 415, "content type is 'image/png'"),
        ("", b'{"score": ""}', JSON, 422, "score is empty"),
        ("", b'{"score": 1}', JSON, 422, "base64"),
        ("", b'{"score": "TVRoZA"}', JSON, 422, "base64"),
        ("", b'{"score": "TVRo_ZA=="}', JSON, 422, "base64"),
        ("", '{"score": "é"}'.encode(), JSON, 422, "base64"),
        ("", b"{}", JSON, 422, "base64"),
        ("", b"[]", JSON, 400, "no JSON object"),
    ],
)
def test_the_bridge_says_why_it_does_not_answer(client, query, content, headers, status, words):
    answer = client.post(f"/bridge{query}", content=content, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/start", 405), ("DELETE", "/status", 405)]
)
def test_an_unknown_path_or_method_is_told_in_json(client, player, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert player.done == []


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:80", "[::1]:8765", "localhost:"])
def test_its_own_hosts_are_answered(client, host):
    assert client.get("/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:8765", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.", 421),
        ("[::2]", 421),
        ("localhost:8765@evil.example", 400),
        ("", 400),
        ("::1", 400),
    ],
)
def test_a_foreign_host_is_refused(client, player, host, status):
    for ask in (client.get("/status", headers={"host": host}), client.post("/start", headers={"host": host})):
        assert (ask.status_code, list(ask.json())) == (status, ["error"])
    assert player.done == []


def test_other_hosts_may_be_allowed(player):
    client = client_of(application(player, hosts=("Studio.local",)))
    assert client.get("/status", headers={"host": "studio.local:1"}).status_code == 200
    assert client.get("/status").status_code == 421


FOREIGN = ["null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:8765", "http://localhost:8765", ""]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin_is_refused(client, player, origin):
    for path in ("/start", "/wishes", "/bridge"):
        answer = client.post(path, json={}, headers={"origin": origin})
        assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert client.get("/status", headers={"origin": origin}).status_code == 403
    assert player.done == []


def test_its_own_origin_is_answered(client, player):
    assert client.post("/start", headers={"origin": "http://127.0.0.1:8765"}).status_code == 200
    assert player.done == ["start"]


def test_an_allowed_origin_may_ask_from_a_browser(player):
    client = client_of(application(player, origins=("http://localhost:3000",)))
    origin = {"origin": "http://localhost:3000"}
    asks = {"access-control-request-method": "PATCH", "access-control-request-headers": "content-type"}
    before = client.options("/wishes", headers=origin | asks)
    assert before.status_code == 200
    assert "PATCH" in before.headers["access-control-allow-methods"]
    answer = client.patch("/wishes", json={"composer": "bach"}, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert client.options("/wishes", headers=asks | {"origin": "http://evil.example"}).status_code == 403
    assert player.done == [{"composer": "bach"}]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "Text/Plain; charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_what_a_form_sends_is_refused(client, player, bridge, content_type):
    for path in ("/start", "/stop", "/wishes", "/bridge"):
        answer = client.post(path, content=b"{}", headers={"content-type": content_type})
        assert (answer.status_code, list(answer.json())) == (415, ["error"])
    assert (player.done, bridge.asked) == ([], [])


def test_wishes_of_no_type_are_refused(client, player):
    assert client.post("/wishes", content=b'{"seed": 1}').status_code == 415
    assert player.done == []


def test_a_body_up_to_the_limit_is_taken(client):
    assert len(client.post("/bridge", content=b"\0" * MAX_BODY_BYTES, headers=MIDI).content) == 2 * MAX_BODY_BYTES


def test_a_body_that_is_too_long_is_refused(client, bridge):
    for path, headers in (("/bridge", MIDI), ("/wishes", JSON)):
        declared = client.post(path, content=b"", headers=headers | {"content-length": str(MAX_BODY_BYTES + 1)})
        endless = client.post(path, content=b"", headers=headers | {"content-length": "9" * 5000})
        streamed = client.post(path, content=iter([b"\0" * MAX_BODY_BYTES, b"\0"]), headers=headers)
        for answer in (declared, endless, streamed):
            assert (answer.status_code, list(answer.json())) == (413, ["error"])
    assert client.post("/bridge", content=b"", headers=MIDI | {"content-length": "-1"}).status_code == 400
    assert bridge.asked == []


def test_it_can_be_mounted_in_another_application(player):
    client = client_of(Starlette(routes=[Mount("/remote", application(player))]))
    assert client.post("/remote/start").json()["n"] == 1
    assert client.post("/remote/start", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/start").status_code == 404


# Served over real sockets ---------------------------------------------------------------------------------------------

Serve = Callable[[Starlette], HttpServer]
Connected = Callable[[int], http.client.HTTPConnection]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[HttpServer] = []

    def start(app: Starlette) -> HttpServer:
        servers.append(HttpServer(app, port=0))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connected() -> Iterator[Connected]:
    connections: list[http.client.HTTPConnection] = []

    def connect(port: int) -> http.client.HTTPConnection:
        connections.append(http.client.HTTPConnection("127.0.0.1", port, timeout=30))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def test_it_is_served_from_a_thread_until_it_is_closed(player, serve, connected):
    server = serve(application(player))
    assert server.address == f"http://127.0.0.1:{server.port}"
    with pytest.raises(InputError, match=f"cannot listen at host '127.0.0.1', port {server.port}: "):
        HttpServer(application(player), port=server.port)
    connection = connected(server.port)
    for n in (1, 2):
        connection.request("POST", "/start")
        assert json.load(connection.getresponse()) == {"transport": "rolling", "n": n}
    assert server.wait(0)
    server.close()
    assert not server.wait(0)
    assert "musegen http" not in {thread.name for thread in threading.enumerate()}
    HttpServer(application(player), port=server.port).close()


@pytest.mark.parametrize("header", [("content-length", str(1 << 40)), ("transfer-encoding", "chunked")])
def test_a_body_that_is_too_long_is_refused_before_all_of_it_is_sent(serve, connected, header):
    connection = connected(serve(application()).port)
    connection.putrequest("POST", "/bridge")
    connection.putheader("content-type", "audio/midi")
    connection.putheader(*header)
    connection.endheaders()
    if header[1] == "chunked":
        connection.send(b"%x\r\n" % (MAX_BODY_BYTES + 1) + b"\0" * (MAX_BODY_BYTES + 1))  # and more may follow
    with connection.getresponse() as answer:
        assert answer.status == 413


def test_a_server_knows_a_wrong_address():
    with pytest.raises(InputError, match="port is -1; allowed are 0 to 65535"):
        HttpServer(application(), port=-1)
    for host in ("no such host", "x" * 100 + ".example"):
        with pytest.raises(InputError, match=f"cannot listen at host '{host}'"):
            HttpServer(application(), host=host, port=0)


def test_the_bridge_answers_one_after_the_other_and_none_who_has_gone(serve, connected):
    begun, go_on = threading.Event(), threading.Event()
    at_work: list[bytes] = []
    most_at_work = 0
    asked: list[bytes] = []

    def slow(fragment: bytes, wishes: Mapping[str, object]) -> bytes:
        nonlocal most_at_work
        asked.append(fragment)
        at_work.append(fragment)
        most_at_work = max(most_at_work, len(at_work))
        begun.set()
        assert go_on.wait(30)
        at_work.remove(fragment)
        return fragment

    server = serve(application(bridge=slow))
    first, gone, third = (connected(server.port) for _ in range(3))
    first.request("POST", "/bridge", b"1", MIDI)
    assert begun.wait(30)
    gone.request("POST", "/bridge", b"2", MIDI)
    gone.close()
    third.request("POST", "/bridge", b"3", MIDI)
    status = connected(server.port)
    status.request("GET", "/status")  # the loop is free while the bridge is at work
    assert json.load(status.getresponse()) == {"transport": "none"}
    go_on.set()
    assert [connection.getresponse().read() for connection in (first, third)] == [b"1", b"3"]
    assert asked == [b"1", b"3"]
    assert most_at_work == 1


def test_closing_does_not_wait_for_the_bridge_and_ends_its_thread(serve, connected, caplog):
    begun, never = threading.Event(), threading.Event()

    def endless(fragment: bytes, wishes: Mapping[str, object]) -> bytes:
        begun.set()
        while not never.wait(0.01):
            pass
        return fragment

    server = serve(application(bridge=endless))
    asking, waiting = connected(server.port), connected(server.port)
    asking.request("POST", "/bridge", b"MThd", MIDI)
    assert begun.wait(30)
    waiting.request("POST", "/bridge", b"MThd", MIDI)
    later = connected(server.port)
    later.request("GET", "/status")
    assert later.getresponse().read()  # so the one that waits has been heard before
    [at_work] = [thread for thread in threading.enumerate() if thread.name == "musegen bridge"]
    server.close()
    for connection in (asking, waiting):
        with connection.getresponse() as answer:
            assert (answer.status, json.load(answer)) == (503, {"error": "the server ends"})
    at_work.join(30)
    assert not at_work.is_alive()
    assert not any(record.exc_info for record in caplog.records)


def test_where_a_library_is_missing_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError, match=r"needs uvicorn: pip install 'musegen\[live\]'"):
        HttpServer(application(), port=0)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    monkeypatch.delitem(sys.modules, "musegen.live.http")
    with pytest.raises(InputError, match=r"needs Starlette: pip install 'musegen\[live\]'"):
        importlib.import_module("musegen.live.http")


def serving(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "musegen", "serve", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize(("ending", "exit_code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_command_serves_until_it_is_ended(ending, exit_code, connected):
    with serving("--port", "0", "--allow-origin", "http://localhost:3000") as process:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert address
        connection = connected(int(address[1]))
        connection.request("GET", "/status", headers={"origin": "http://localhost:3000"})
        assert json.load(connection.getresponse()) == {"transport": "none"}
        process.send_signal(ending)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == exit_code


def test_the_command_says_in_one_line_that_a_port_is_taken(serve):
    server = serve(application())
    with serving("--port", str(server.port)) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith(f"musegen: cannot listen at host '127.0.0.1', port {server.port}")


def test_what_can_be_asked_is_told(client):
    found = client.get("/").json()
    assert {"GET /status", "POST /wishes", "POST /bridge"} <= found.keys() and "composer" in found["POST /wishes"]


@pytest.mark.parametrize(
    "options", [{"hosts": ["studio:80"]}, {"hosts": ["*"]}, {"origins": ["*"]}, {"origins": ["a"]}]
)
def test_hosts_and_origins_that_are_none_are_refused(options):
    with pytest.raises(InputError, match=r"^(host|origin) is "):
        application(**options)


def test_an_origin_is_meant_whatever_its_case_and_end():
    client = TestClient(application(origins=["HTTP://Studio.local:3000/"]), base_url="http://127.0.0.1")
    found = client.get("/status", headers={"origin": "http://studio.local:3000"})
    assert found.status_code == 200 and found.headers["access-control-allow-origin"] == "http://studio.local:3000"
