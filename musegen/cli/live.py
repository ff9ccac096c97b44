"""`musegen ports`, `play`, `stream` and `record`: music on MIDI ports, in and out."""

import dataclasses
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musegen.cli.arguments import ScoreFile, given, names
from musegen.cli.compose import Composer, Density, Guidance, Instruments, Key, Meter, Model, Seed, Temperature, TopP
from musegen.cli.compose import Tempo as ComposedTempo
from musegen.cli.output import AsJson, print_facts, print_rows
from musegen.cli.progress import LiveLine
from musegen.errors import InputError

if TYPE_CHECKING:
    from musegen.live.opening import Setup
    from musegen.live.stream import Stream

Port = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Port to play on, or a part of its name (`musegen ports`); OUT.mid writes a file.",
        show_default="a new port",
    ),
]
Virtual = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new port.", show_default="musegen")]
In = Annotated[
    str | None,
    typer.Option("--in", metavar="NAME", help="Port to hear, or a part of its name.", show_default="a new port"),
]
Follow = Annotated[
    str | None,
    typer.Option(
        metavar="free|clock|jack|link", help="Whose time: its own, MIDI clock, JACK or Link.", show_default="free"
    ),
]
SendClock = Annotated[bool, typer.Option("--send-clock", help="Send MIDI clock, start and stop as well.")]
Latency = Annotated[float | None, typer.Option("--latency-ms", metavar="MS", help="Send so much earlier, 0 to 1000.")]
Api = Annotated[str | None, typer.Option(metavar="NAME", help="MIDI system, such as alsa, jack, core or winmm.")]
Tempo = Annotated[float | None, typer.Option(metavar="BPM", help="Quarters a minute, from beginning to end.")]


def setup_of(**options: Any) -> "Setup":
    """Returns the studio that options name; those that are None are left to their defaults."""
    from musegen.live.opening import Setup

    if options.get("port") is not None and options.get("virtual") is not None and options.get("input") is not None:
        raise InputError(f"--virtual is {options['virtual']!r}, and --port and --in name ports: none is new")
    return Setup(**given(**options))


def ports(api: Api = None, as_json: AsJson = False) -> None:
    """List the MIDI ports that others have opened.

    Example: musegen ports
    """
    from musegen.live.rtmidi_ports import list_ports

    found = list_ports(api)
    if not found and not as_json:
        typer.echo("no ports: nobody has opened one")
    else:
        print_rows([port._asdict() for port in found], as_json)


def play(
    file: ScoreFile,
    port: Port = None,
    virtual: Virtual = None,
    follow: Follow = None,
    in_: In = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again on the bar line after the last note.")] = False,
    tempo: Tempo = None,
    send_clock: SendClock = False,
    latency_ms: Latency = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Play a score on a MIDI port; Ctrl-C stops.

    Example: musegen play piece.mid --virtual musegen --follow clock
    """
    if in_ is not None and follow != "clock":
        raise InputError(f"--in is {in_!r}, and nothing is heard there but a clock: add --follow clock")
    if port is not None and virtual is not None and follow != "clock":
        raise InputError(f"--virtual is {virtual!r}, and --port names a port: no port is new")
    setup = setup_of(
        port=port, virtual=virtual, follow=follow, input=in_, sends_clock=send_clock, latency_ms=latency_ms, api=api
    )
    from musegen.live.playing import play
    from musegen.live.session import ended_by_sigterm

    with ended_by_sigterm(), LiveLine() as line:
        report = play(file, setup, loop=loop, tempo=tempo, on_look=lambda session: line.status(session.status()))
    print_facts(dataclasses.asdict(report), as_json)


def record(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.mid", help="MIDI file to write.")],
    in_: In = None,
    virtual: Virtual = None,
    tempo: Annotated[
        float | None, typer.Option(metavar="BPM", help="Tempo to which it is played.", show_default="120")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.", show_default="at Ctrl-C")] = None,
    api: Api = None,
) -> None:
    """Record what comes in on a MIDI port; Ctrl-C stops and writes the file.

    Example: musegen record --in keyboard -o take.mid
    """
    setup = setup_of(input=in_, virtual=virtual, api=api)
    from musegen.live.playing import record
    from musegen.live.session import ended_by_sigterm

    with ended_by_sigterm(), LiveLine() as line:
        score = record(out, setup, **given(tempo=tempo), seconds=seconds, on_look=line.messages)
    typer.echo(f"{out}: {score.n_notes} notes")


def stream(
    port: Port = None,
    virtual: Virtual = None,
    follow: Follow = None,
    in_: In = None,
    composer: Composer = None,
    instruments: Instruments = None,
    bars: Annotated[int | None, typer.Option(help="Stop after so many bars.", show_default="endless")] = None,
    endless: Annotated[bool, typer.Option("--endless", help="Go on until Ctrl-C, as it does without --bars.")] = False,
    bars_ahead: Annotated[int | None, typer.Option(help="Write so many bars ahead.", show_default="4")] = None,
    key: Key = None,
    tempo: ComposedTempo = None,
    meter: Meter = None,
    density: Density = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    model: Model = None,
    osc: Annotated[int | None, typer.Option(metavar="PORT", help="Take OSC messages on this UDP port.")] = None,
    http: Annotated[int | None, typer.Option(metavar="PORT", help="Take HTTP requests on this port.")] = None,
    send_clock: SendClock = False,
    latency_ms: Latency = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Write music and play it on a MIDI port, bar by bar; Ctrl-C stops.

    With --in or --follow clock, controllers change it as it goes: 16 the temperature, 17 the density, 18 the composer.
    OSC and HTTP, on this computer alone, change all of it.

    Example: musegen stream --composer bach --instruments piano --virtual musegen --follow clock
    """
    if endless and bars is not None:
        raise InputError(f"bars is {bars}, and --endless was given; allowed is one of them")
    setup = setup_of(
        port=port, virtual=virtual, follow=follow, input=in_, sends_clock=send_clock, latency_ms=latency_ms, api=api
    )
    wishes = given(composer=composer, instruments=names(instruments), key=key, tempo=tempo, meter=meter, seed=seed)
    wishes |= given(density=density, temperature=temperature, top_p=top_p, guidance=guidance)
    wishes |= given(model=model, bars_ahead=bars_ahead)
    from musegen.live.session import ended_by_sigterm
    from musegen.live.streaming import stream

    with ended_by_sigterm(), ExitStack() as remote, LiveLine() as line:

        def open_remote(music: "Stream") -> None:
            if osc is not None:
                from musegen.live.osc import OscServer

                remote.enter_context(closing(OscServer(music, port=osc)))
            if http is not None:
                from musegen.live.http import HttpServer, application

                server = remote.enter_context(closing(HttpServer(application(music), port=http)))
                server.start()

        look = {"on_open": open_remote, "on_look": lambda music: line.status(music.status())}
        report = stream(setup, bars=bars, **look, **wishes)
    print_facts(dataclasses.asdict(report), as_json)


def jam(
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="answer|continue|harmonize",
            help="Take turns, go on where you stop, or set three voices under what you play.",
            show_default="answer",
        ),
    ] = None,
    in_: In = None,
    port: Port = None,
    virtual: Virtual = None,
    follow: Follow = None,
    bars: Annotated[int | None, typer.Option(help="Bars of a phrase and its answer.", show_default="2")] = None,
    meter: Meter = None,
    tempo: Annotated[
        float | None, typer.Option(metavar="BPM", help="Tempo of its own time.", show_default="120")
    ] = None,
    composer: Composer = None,
    instruments: Instruments = None,
    seed: Seed = None,
    temperature: Temperature = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.")] = None,
    send_clock: SendClock = False,
    latency_ms: Latency = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Play together: listen to a MIDI port and answer on the bar line; Ctrl-C stops.

    Example: musegen jam --mode harmonize --in keyboard --virtual musegen
    """
    setup = setup_of(
        port=port, virtual=virtual, follow=follow, input=in_, sends_clock=send_clock, latency_ms=latency_ms, api=api
    )
    options = given(mode=mode, bars=bars, meter=meter, tempo=tempo, composer=composer, instruments=names(instruments))
    options |= given(seed=seed, temperature=temperature, model=model)
    from musegen.live.jamming import jam
    from musegen.live.session import ended_by_sigterm

    with ended_by_sigterm(), LiveLine() as line:
        report = jam(setup, **options, on_look=lambda session: line.status(session.status()))
    print_facts(dataclasses.asdict(report), as_json)
