"""What a MusicXML file says of its MIDI instruments, kept where music21 drops it.

music21 knows one instrument of a part, and one program of a kind of instrument: every electric piano is its program 2.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element

from musegen.midi.notation.lines import voices_of


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


def name_players(stream: Any, root: Element) -> None:
    """Tells the notes of a stream which of its part's instruments plays them, where the part has one for each voice.

    So a closed score names its singers: in order of staves and voices, and without a word at the notes, for there
    MuseScore takes a name for a change of instrument.

    Args:
        stream: what music21 made of the score.
        root: the partwise score.
    """
    from music21 import instrument

    declared = {part.get("id", ""): part for part in root.iterfind("part-list/score-part")}
    for element in root.iterfind("part"):
        part_id = element.get("id", "")
        heard = declared[part_id].findall("score-instrument") if part_id in declared else []
        if len(heard) < 2 or element.find("measure/note/instrument") is not None:
            continue
        programs = {
            midi.get("id"): _from_1(midi, "midi-program") for midi in declared[part_id].iterfind("midi-instrument")
        }
        voices = [voice for part in stream.parts if _is_staff_of(part, part_id) for voice in voices_of(part)]
        if len(voices) != len(heard):
            continue
        for each, voice in zip(heard, voices, strict=True):
            player = instrument.Instrument((each.findtext("instrument-name") or "").strip())
            player.midiProgram = programs.get(each.get("id"))
            for _, sound in voice:
                for note in () if sound.isRest else getattr(sound, "notes", (sound,)):
                    note.storedInstrument = player


def _is_staff_of(part: Any, part_id: str) -> bool:
    return re.fullmatch(re.escape(part_id) + r"(-Staff\d+)?", str(part.id)) is not None


def _from_1(midi: Element, tag: str) -> int | None:
    """Returns a number 0..127 that is written as 1..128, or None."""
    text = (midi.findtext(tag) or "").strip()
    return int(text) - 1 if text.isdecimal() and 1 <= int(text[:9]) <= 128 else None
