"""`musegen serve`: answers for programs that run scripts."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="TCP port; 0 takes any that is free.")] = 8765,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Be asked under this name too, such as studio.local; repeatable."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Let web pages from here ask, such as http://localhost:3000; repeatable."),
    ] = None,
) -> None:
    """Answer score fragments of other programs over HTTP on this computer; Ctrl-C ends it.

    Example: musegen serve --port 8765
    """
    from musegen.live.http import LOOPBACK, HttpServer, application
    from musegen.live.session import ended_by_sigterm

    name = f"[{host}]" if ":" in host else host
    hosts = (*LOOPBACK, name, *(allow_host or ()))
    server = HttpServer(application(hosts=hosts, origins=allow_origin or ()), host, port)
    with ended_by_sigterm():
        try:
            server.start()
            if host not in ("127.0.0.1", "localhost", "::1"):
                typer.echo(f"whoever reaches {host} can ask, not this computer alone", err=True)
            typer.echo(f"musegen answers at {server.address}; Ctrl-C ends it")
            while server.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass  # how a server ends
        finally:
            server.close()
