"""Remote control and the bridge as a small HTTP/JSON application, by Starlette (`pip install 'musegen[live]'`).

    GET  /                  what can be asked
    GET  /status            what plays, and what is wished for
    POST /start, /stop      of the player
    POST or PATCH /wishes   {"composer": "bach", ...}: all of them, or nothing
    POST /bridge            a score file, wishes as query parameters; or JSON {"score": BASE64, ...wishes}

All answer with JSON, a failure with {"error": "..."}; the bridge answers a file with a file. A web page of somebody
else must not reach it through the user's browser: hosts, origins and content types are checked before anything else.
"""

import asyncio
import base64
import binascii
import ctypes
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from musegen.errors import InputError, MusegenError
from musegen.live.remote import MAX_TEXT, VERBS, Player, apply, cannot_listen, change, checked_port

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import Headers
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError:
    raise InputError("HTTP needs Starlette: pip install 'musegen[live]'") from None

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
DEFAULT_PORT = 8765
MAX_BODY_BYTES = 4 << 20

_JSON = "application/json"
_MIDI = "audio/midi"
_XML = "application/vnd.recordare.musicxml+xml"
_MXL = "application/vnd.recordare.musicxml"
_BYTES = "application/octet-stream"
_SCORES = (_MIDI, "audio/x-midi", "audio/mid", _XML, _MXL, "application/xml", "text/xml", _BYTES)
_FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")  # any web page may send these
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]*)?")
_NAME = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+")
_ORIGIN = re.compile(r"(https?://[^/\s*]+)/?")
_CLOSE_SECONDS = 1

Bridge = Callable[[bytes, Mapping[str, object]], bytes]
"""Takes a score file and wishes, and returns a score file."""


def application(
    player: Player | None = None,
    *,
    hosts: Sequence[str] = LOOPBACK,
    origins: Sequence[str] = (),
    bridge: Bridge | None = None,
) -> Starlette:
    """Returns the application, to be served or to be mounted in another.

    Args:
        player: what is controlled; None leaves only the bridge.
        hosts: names, without a port, under which it may be asked.
        origins: of web pages that may ask, such as "http://localhost:3000", beside those of its own address.
        bridge: answers fragments, called by one thread at a time; None takes `live.bridge.answer`.

    Raises:
        InputError: a host or an origin is none.
    """
    hosts, origins = [_checked_host(host) for host in hosts], [_checked_origin(origin) for origin in origins]
    remote = _Remote(player, bridge or _answer)
    routes = [
        Route("/", _overview, methods=["GET"]),
        Route("/status", remote.status, methods=["GET"]),
        Route("/start", remote.start, methods=["POST"]),
        Route("/stop", remote.stop, methods=["POST"]),
        Route("/wishes", remote.wishes, methods=["POST", "PATCH"]),
        Route("/bridge", remote.bridge, methods=["POST"]),
    ]
    middleware = [Middleware(_Guard, hosts=hosts, origins=origins)]
    if origins:
        headers = ["content-type"]
        methods = ["GET", "POST", "PATCH"]
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=methods, allow_headers=headers)
        )
    kinds = (HTTPException, ClientDisconnect, MusegenError, Exception)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=dict.fromkeys(kinds, _failed))


async def _overview(_: Request) -> Response:
    return JSONResponse(
        {
            "GET /status": "what plays, and what is wished for",
            "POST /start": "play, or go on",
            "POST /stop": "be silent until start",
            "POST /wishes": f"JSON with any of {', '.join(name for name, reader in VERBS.items() if reader)}",
            "POST /bridge": "a score file, with verb=continue, infill or harmonize and its wishes in the query",
        }
    )


def _checked_host(host: str) -> str:
    if not _NAME.fullmatch(host.lower()):
        raise InputError(f"host is {host[:MAX_TEXT]!r}; allowed are names and addresses without a port")
    return host.lower()


def _checked_origin(origin: str) -> str:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        raise InputError(f"origin is {origin[:MAX_TEXT]!r}; allowed are such as http://localhost:3000")
    return match[1]


def _answer(fragment: bytes, wishes: Mapping[str, object]) -> bytes:
    from musegen.live.bridge import answer

    return answer(fragment, wishes)


async def _failed(_: Request, error: Exception) -> Response:
    match error:
        case HTTPException():
            return _failure(error.status_code, error.detail, error.headers)
        case ClientDisconnect():  # nobody hears it
            return _failure(400, "the client has gone")
        case InputError():
            return _failure(422, str(error))
        case MusegenError():
            return _failure(500, str(error))
        case _:  # Starlette raises it on, for the log
            return _failure(500, "internal error")


def _failure(status: int, why: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": why}, status, headers)


class _Guard:
    """Refuses what a web page of somebody else can have a browser send: a foreign host, origin or form."""

    def __init__(self, app: "ASGIApp", hosts: Sequence[str], origins: Sequence[str]):
        self._app = app
        self._hosts, self._origins = list(dict.fromkeys(hosts)), origins

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        refusal = self._refusal(scope, Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: "Scope", headers: Headers) -> Response | None:
        named = [host.lower() for host in headers.getlist("host")]
        match = _HOST.fullmatch(named[0]) if len(named) == 1 else None
        if match is None:
            return _failure(400, "the request has no usable Host header")
        if match[1] not in self._hosts:
            return _failure(421, f"host is {match[1][:MAX_TEXT]!r}; allowed are {', '.join(self._hosts)}")
        for origin in headers.getlist("origin"):
            if origin.lower() not in (*self._origins, f"{scope['scheme']}://{named[0]}"):
                return _failure(403, f"origin is {origin[:MAX_TEXT]!r}, which is not allowed here")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            for sent in headers.getlist("content-type"):
                if _plain_type(sent) in _FORMS:
                    return _wrong_type(sent, (_JSON,))
        return None


def _plain_type(content_type: str) -> str:
    """Returns "Application/JSON; charset=utf-8" as "application/json"."""
    return content_type.partition(";")[0].strip().lower()


def _wrong_type(content_type: str, allowed: Sequence[str]) -> JSONResponse:
    return _failure(415, f"content type is {content_type[:MAX_TEXT]!r}; allowed are {', '.join(allowed)}")


class _Remote:
    """What the routes do."""

    def __init__(self, player: Player | None, bridge: Bridge):
        self._player, self._bridge = player, bridge
        self._bridge_lock = asyncio.Lock()

    async def status(self, request: Request) -> Response:
        if self._player is None:
            return JSONResponse({"transport": "none"})
        return await self._asked("status")

    async def start(self, request: Request) -> Response:
        return await self._asked("start")

    async def stop(self, request: Request) -> Response:
        return await self._asked("stop")

    async def wishes(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        if _plain_type(content_type) != _JSON:
            return _wrong_type(content_type, (_JSON,))
        wishes = _json_object(await _body(request))
        return JSONResponse(await run_in_threadpool(change, self._playing(), wishes))

    async def _asked(self, verb: str) -> Response:
        return JSONResponse(await run_in_threadpool(apply, self._playing(), verb))

    def _playing(self) -> Player:
        if self._player is None:
            raise HTTPException(404, "nothing plays here, only the bridge answers; `musegen stream --http` plays")
        return self._player

    async def bridge(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        plain_type = _plain_type(content_type)
        if plain_type not in (_JSON, *_SCORES):
            return _wrong_type(content_type, (_JSON, *_SCORES))
        wishes = _query(request)
        fragment = body = await _body(request)
        if plain_type == _JSON:
            wishes = _json_object(body) | wishes
            fragment = _from_base64(wishes.pop("score", None))
        if not fragment:
            raise InputError("score is empty; allowed is the content of a score file")
        try:
            async with self._bridge_lock:
                if await request.is_disconnected():  # while it waited: nobody would hear the answer
                    raise ClientDisconnect
                answer = await _in_thread(partial(self._bridge, fragment, wishes))
        except asyncio.CancelledError:  # what may take minutes is not waited for
            return _failure(503, "the server ends")
        if plain_type == _JSON:
            return JSONResponse({"score": base64.b64encode(answer).decode()})
        return Response(answer, media_type=_type_of(answer))


class _ServerEnds(BaseException):
    """Raised in the thread of the bridge, and not to be taken for one of its failures."""


async def _in_thread(call: Callable[[], bytes]) -> bytes:
    """Returns what a call returns, from a thread that ends when this is cancelled.

    The thread is no daemon, and no other thread's: Python aborts when it ends while a model still runs.
    """
    future: Future[bytes] = Future()

    def work() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        except _ServerEnds:
            pass  # nobody waits any more

    thread = threading.Thread(target=work, name="musegen bridge", daemon=False)
    thread.start()
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        # Raised where the thread's Python goes on next: a model's step is short.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_ServerEnds))
        raise


def _query(request: Request) -> dict[str, object]:
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise InputError("a query parameter came twice; allowed is each once, lists with commas")
    return dict(pairs)


async def _body(request: Request) -> bytes:
    """Returns the body, of which no more is read than is allowed."""
    too_long = HTTPException(413, f"the body is too long; allowed are {MAX_BODY_BYTES:,} bytes")
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise HTTPException(400, "content-length is no number")
    if len(length) > 12 or int(length) > MAX_BODY_BYTES:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_long
    return bytes(body)


def _json_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is no JSON object")
    return value


def _no_number(name: str) -> None:
    raise ValueError(name)  # Python reads NaN and Infinity, which JSON does not have


def _from_base64(score: object) -> bytes:
    try:
        if isinstance(score, str):
            return base64.b64decode(score, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InputError("score is not usable; allowed is the content of a score file in base64")


def _type_of(score: bytes) -> str:
    if score.startswith(b"MThd"):
        return _MIDI
    if score.startswith(b"PK"):
        return _MXL
    return _XML if score.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") else _BYTES


class HttpServer:
    """Serves an application in a thread of its own, from `start` to `close`, by uvicorn.

    Args:
        application: what to serve.
        host: address to listen at; other computers do not reach "127.0.0.1".
        port: TCP port; 0 takes any that is free.

    Raises:
        InputError: the address cannot be listened at, or uvicorn is not installed.
    """

    def __init__(self, application: "ASGIApp", host: str = LOOPBACK[0], port: int = DEFAULT_PORT):
        try:
            import uvicorn
        except ImportError:
            raise InputError("HTTP needs uvicorn: pip install 'musegen[live]'") from None
        self._socket = _listening(host, checked_port(port))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        config = uvicorn.Config(
            application,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,  # logging is the program's own
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="musegen http", daemon=True)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Begins to answer; requests wait from the constructor on."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Waits at most so many seconds, and returns whether it still serves."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def close(self) -> None:
        """Answers who is being answered, for a second at most, and lets go of the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(host, port, error if isinstance(error, OSError) else OSError(str(error))) from None
    # Connections inherit it: head and body of an answer are two packets, of which the second would wait 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
