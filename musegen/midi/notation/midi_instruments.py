"""What a MusicXML file says of its MIDI instruments, kept where music21 drops it.

music21 knows one instrument of a part, and one program of a kind of instrument: every electric piano is its program 2.
"""

from typing import Any
from xml.etree.ElementTree import Element


def name_drums(parser: type[Any], root: Element) -> None:
    """Makes a parser of measures tell the unpitched notes of a score which drums they are.

    Args:
        parser: a class of music21's measure parser, which is changed.
        root: the partwise score.
    """
    from music21 import instrument

    drums: dict[str, Any] = {}
    for midi in root.iterfind("part-list/score-part/midi-instrument"):
        if (pitch := _from_1(midi, "midi-unpitched")) is not None:
            drum = drums[midi.get("id", "")] = instrument.UnpitchedPercussion()
            drum.percMapPitch = pitch
    read_note = parser.xmlToSimpleNote

    def read_drum(self: Any, element: Element, *args: Any, **options: Any) -> Any:
        note, owner = read_note(self, element, *args, **options), element.find("instrument")
        if owner is not None and owner.get("id") in drums and element.find("unpitched") is not None:
            note.storedInstrument = drums[owner.get("id", "")]
        return note

    parser.xmlToSimpleNote = read_drum


def name_programs(stream: Any, root: Element) -> None:
    """Gives the instruments of a stream the programs that its MusicXML has for them."""
    programs = {
        part.get("id"): program
        for part in root.iterfind("part-list/score-part")
        if (midi := part.find("midi-instrument")) is not None and (program := _from_1(midi, "midi-program")) is not None
    }
    for instrument in stream.recurse().getElementsByClass("Instrument"):
        if instrument.partId in programs:
            instrument.midiProgram = programs[instrument.partId]


def _from_1(midi: Element, tag: str) -> int | None:
    """Returns a number 0..127 that is written as 1..128, or None."""
    text = (midi.findtext(tag) or "").strip()
    return int(text) - 1 if text.isdecimal() and 1 <= int(text[:9]) <= 128 else None
