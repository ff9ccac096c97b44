"""Small score files of every kind that musegen reads, built in code: what a fuzz run mutates without a corpus."""

import io
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MIDI_SUFFIXES = (".mid", ".midi")
NOTATION_SUFFIXES = (".musicxml", ".xml", ".mxl", ".abc", ".krn")

_END = b"\x00\xff\x2f\x00"
_XML_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">
<score-partwise version="4.0">
  <work><work-title>Seed</work-title></work>
  <part-list>
    <score-part id="P1"><part-name>Oboe</part-name><midi-instrument id="P1-I1"><midi-program>69</midi-program>
    </midi-instrument></score-part>
    <score-part id="P2"><part-name>Piano</part-name></score-part>
  </part-list>
"""
_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>
"""
_ABC = """X:1
T:Seed
C:Trad.
M:3/4
L:1/8
Q:1/4=96
K:G
|: G2 | "G"B2 A>G (3ABc | [1 d4 :|2 d2-d2 z2 |] {c}[GBd]4 ^F,2 |
w: one two three
"""
_KERN = """**kern\t**kern
*clefF4\t*clefG2
*k[f#]\t*k[f#]
*M4/4\t*M4/4
=1\t=1
4G\t4g 4b
8A\t4.dd
8B\t.
.\t8ee
2r\t2dd_
=2\t=2
*^\t*
2G\t4BB\t1dd]
2D\t2.r\t.
*v\t*v\t*
==\t==
*-\t*-
"""


class Seed(NamedTuple):
    """A good file to mutate."""

    suffix: str
    data: bytes

    @property
    def is_midi(self) -> bool:
        """Whether it is MIDI, which is read some hundred times faster than notation."""
        return self.suffix in MIDI_SUFFIXES


def built_in() -> list[Seed]:
    """Returns seeds of MIDI types 0, 1 and 2, in SMPTE time, in RIFF, of MusicXML, .mxl, ABC and Humdrum."""
    xml = musicxml().encode()
    return [
        *(Seed(".mid", data) for data in midi_files()),
        Seed(".musicxml", xml),
        Seed(".mxl", mxl(xml)),
        Seed(".abc", _ABC.encode()),
        Seed(".krn", _KERN.encode()),
    ]


def of_folder(folder: Path) -> list[Path]:
    """Returns the score files of a folder and of those in it, in order of their names."""
    suffixes = MIDI_SUFFIXES + NOTATION_SUFFIXES
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


# MIDI -----------------------------------------------------------------------------------------------------------------


def midi_files() -> Iterator[bytes]:
    """Yields MIDI files with every kind of event between them."""
    rng = random.Random(0)
    song, parts = _song_track(), [_part(rng, channel) for channel in (0, 3, 9)]
    yield midi_file(0, 480, [song[:-4] + parts[0]])
    whole = midi_file(1, 96, [song, *parts])
    yield whole
    yield midi_file(2, 24, parts)
    yield midi_file(1, 0xE728, [song, *parts])  # 25 frames a second of 40 ticks
    yield b"RIFF" + struct.pack("<I", len(whole) + 12) + b"RMIDdata" + struct.pack("<I", len(whole)) + whole
    yield midi_file(1, 480, [song, *(_part(rng, channel, 400) for channel in range(8))])


def midi_file(kind: int, division: int, tracks: list[bytes]) -> bytes:
    """Returns the bytes of a MIDI file.

    Args:
        kind: its type, 0, 1 or 2.
        division: ticks a quarter, or SMPTE frames.
        tracks: the events of each track, end of track included.
    """
    header = chunk(b"MThd", struct.pack(">HHH", kind, len(tracks), division))
    return header + b"".join(chunk(b"MTrk", track) for track in tracks)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Returns a chunk of a MIDI file."""
    return kind + struct.pack(">I", len(body)) + body


def variable_length(value: int) -> bytes:
    """Returns a number, 0 or more, as a MIDI file writes delta times and lengths."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _meta(kind: int, data: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + variable_length(len(data)) + data


def _song_track() -> bytes:
    events = [
        (0, _meta(0x03, b"Seed")),
        (0, _meta(0x02, "© nobody".encode())),
        (0, _meta(0x51, b"\x07\xa1\x20")),
        (0, _meta(0x58, b"\x06\x03\x18\x08")),
        (0, _meta(0x59, b"\xfd\x00")),
        (0, _meta(0x54, b"\x41\x00\x00\x00\x00")),
        (0, b"\xf0\x05\x7e\x7f\x09\x01\xf7"),
        (480, _meta(0x06, b"verse")),
        (0, _meta(0x51, b"\x05\x16\x15")),
        (960, _meta(0x58, b"\x04\x02\x18\x08")),
        (0, _meta(0x7F, b"\x00\x00\x41")),
    ]
    return b"".join(variable_length(delta) + event for delta, event in events) + _END


def _part(rng: random.Random, channel: int, n_notes: int = 24) -> bytes:
    """Returns a track with notes, running status, controllers, bends, aftertouch, programs and lyrics."""
    body = [b"\x00" + _meta(0x03, b"Part %d" % channel), b"\x00" + _meta(0x21, b"\x00")]
    body += [b"\x00" + bytes([0xC0 | channel, rng.randrange(128)]), b"\x00" + bytes([0xB0 | channel, 7, 100])]
    for index in range(n_notes):
        pitch, velocity = rng.randrange(36, 96), rng.randrange(1, 128)
        body.append(b"\x00" + bytes([0x90 | channel, pitch, velocity]))
        if index % 5 == 0:
            body.append(b"\x00" + _meta(0x05, b"la"))
        if index % 7 == 0:
            body.append(b"\x00" + bytes([0xE0 | channel, rng.randrange(128), rng.randrange(128)]))
            body.append(b"\x05" + bytes([0xD0 | channel, rng.randrange(128)]))
            body.append(b"\x05" + bytes([0xA0 | channel, pitch, rng.randrange(128)]))
        off = bytes([0x80 | channel, pitch, 64]) if index % 2 else bytes([0x90 | channel, pitch, 0])
        body.append(variable_length(rng.choice((24, 48, 120, 240))) + off)
        if not index % 2:
            body.append(b"\x10" + bytes([pitch + 3, velocity]))  # running status
            body.append(b"\x10" + bytes([pitch + 3, 0]))
    return b"".join(body) + _END


# Notation -------------------------------------------------------------------------------------------------------------


def musicxml() -> str:
    """Returns two parts with voices, a chord, a tuplet, ties, a grace note, a repeat and a change of meter."""
    first = _measures("<transpose><chromatic>0</chromatic></transpose>")
    return f'{_XML_HEAD}  <part id="P1">{first}</part>\n  <part id="P2">{_measures("")}</part>\n</score-partwise>\n'


def mxl(xml: bytes) -> bytes:
    """Returns compressed MusicXML."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("META-INF/container.xml", _CONTAINER.encode()), ("score.xml", xml)):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # no time of day: always the same
    return packed.getvalue()


def _measures(transpose: str) -> str:
    attributes = (
        "<attributes><divisions>6</divisions><key><fifths>-2</fifths></key><time><beats>3</beats>"
        f"<beat-type>4</beat-type></time><clef><sign>G</sign><line>2</line></clef>{transpose}</attributes>"
    )
    tuplet = "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes></time-modification>"
    notes = [
        _note("G", 4, 6, more='<tie type="start"/>'),
        _note("G", 4, 6, more='<tie type="stop"/>'),
        _note("B", 4, 6, before="<chord/>"),
        *(_note(step, 5, 2, after=tuplet) for step in "CDE"),
    ]
    voices = f"<backup><duration>18</duration></backup>{_note('E', 3, 18, more='<voice>2</voice>')}"
    repeat = '<barline location="right"><repeat direction="backward"/></barline>'
    grace = _note("F", 4, None, before="<grace/>")
    rest = "<note><rest/><duration>6</duration></note>"
    return (
        f'<measure number="1">{attributes}<direction><sound tempo="96"/></direction>{"".join(notes)}{voices}{repeat}'
        f'</measure><measure number="2">{grace}{_note("A", 4, 12)}{rest}</measure>'
    )


def _note(step: str, octave: int, duration: int | None, *, before: str = "", more: str = "", after: str = "") -> str:
    lasting = "" if duration is None else f"<duration>{duration}</duration>"
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{before}{pitch}{lasting}{more}{after}</note>"
