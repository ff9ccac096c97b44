"""Scores as MusicXML: what MuseScore and its like open, and what is engraved."""

import io
import zipfile
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from musegen.midi.engraving.layout import Clef
from musegen.midi.engraving.note_elements import NoteWriter, add_text, clean
from musegen.midi.engraving.part_list import part_list
from musegen.midi.engraving.parts import Part, Sheet, sheet_of
from musegen.midi.engraving.rhythm import UNITS, Bar
from musegen.midi.engraving.symbols import Symbol, symbols
from musegen.midi.notation.midi_instruments import name_players, name_programs
from musegen.midi.score import Key, Score, TextKind

if TYPE_CHECKING:
    import music21.stream

_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC '
    '"-//Recordare//DTD MusicXML 3.1 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles><rootfile full-path="score.musicxml" '
    'media-type="application/vnd.recordare.musicxml+xml"/></rootfiles></container>\n'
)
_LONGEST_MARKER = 40  # letters: "Coda" belongs on paper, and what a program says about itself does not
_SHOWN_TEMPO_CHANGE, _SHOWN_TEMPO_QUARTERS = 0.12, 4


def to_musicxml(score: Score) -> str:
    """Writes a score as MusicXML 3.1, its notes moved to a grid that can be read.

    Raises:
        InputError: the score has too many bars to be written.
    """
    root = _score_element(score, sheet_of(score))
    ElementTree.indent(root, " ")
    return _DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"


def to_mxl(score: Score) -> bytes:
    """Writes a score as compressed MusicXML. Equal scores give equal bytes.

    Raises:
        InputError: the score has too many bars to be written.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("META-INF/container.xml", _CONTAINER), ("score.musicxml", to_musicxml(score))):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def to_music21(score: Score) -> "music21.stream.Score":
    """Converts a score to music21's, with the bars, voices and names of its MusicXML.

    Raises:
        InputError: the score has too many bars to be written.
    """
    import music21

    root = _score_element(score, sheet_of(score))
    parsed = music21.converter.parseData(ElementTree.tostring(root, encoding="unicode"), format="musicxml")
    stream = cast("music21.stream.Score", parsed)
    for part, element in zip(stream.parts, root.findall("part"), strict=False):
        _name_drums(part, element)
    name_programs(stream, root)
    name_players(stream, root)
    return stream


def _name_drums(part: "music21.stream.Stream", element: Element) -> None:
    """Tells music21's notes which drums they are: it reads only the first instrument of a part."""
    import music21

    drums = [ref.get("id", "") for ref in element.iterfind("measure/note/instrument")]
    places = iter(int(drum.rpartition("-I")[2]) - 1 for drum in drums)
    for measure in part.getElementsByClass("Measure") if drums else ():
        for voice in measure.voices or [measure]:
            for sound in voice.notes:
                for note in getattr(sound, "notes", (sound,)):
                    note.storedInstrument = music21.instrument.UnpitchedPercussion()
                    note.storedInstrument.percMapPitch = next(places)


def _score_element(score: Score, sheet: Sheet) -> Element:
    root = Element("score-partwise", version="3.1")
    if clean(score.name):
        add_text(SubElement(root, "work"), "work-title", score.name)
    encoding = SubElement(SubElement(root, "identification"), "encoding")
    add_text(encoding, "software", "musegen")
    SubElement(encoding, "supports", element="accidental", type="yes")
    SubElement(encoding, "supports", element="beam", type="yes")
    root.append(part_list(sheet.parts))
    for place, part in enumerate(sheet.parts):
        element = SubElement(root, "part", id=f"P{place + 1}")
        _write_part(element, score, sheet, part, place)
    return root


# Bars -----------------------------------------------------------------------------------------------------------------


def _write_part(element: Element, score: Score, sheet: Sheet, part: Part, place: int) -> None:
    start, end = part.start.tolist(), part.end.tolist()
    streams = []
    for staff in range(len(part.clefs)):
        for voice in (0, 1):
            notes = ((part.staff == staff) & (part.voice == voice)).nonzero()[0].tolist()
            streams.append((staff, voice, list(symbols(notes, start, end, sheet.bars, is_drum=part.is_drum))))
    writer = NoteWriter(part, f"P{place + 1}", _lyrics(part), _fermatas(part))
    directions = _directions(score, sheet) if place == 0 else {}
    has_pickup = _has_pickup(sheet.bars)
    key = sheet.keys[0]
    for index, bar in enumerate(sheet.bars):
        number = index if has_pickup else index + 1
        measure = SubElement(element, "measure", number=str(number))
        if (index == 0 and has_pickup) or bar.length < bar.full_length:
            measure.set("implicit", "yes")
        key = sheet.keys.get(index, key)
        _attributes(measure, sheet, part, index)
        measure.extend(directions.get(index, []))
        written = [(staff, voice, bars[index]) for staff, voice, bars in streams]
        _write_bar(measure, bar, written, writer, key, is_closed_score=part.is_closed_score)


def _has_pickup(bars: Sequence[Bar]) -> bool:
    if len(bars) < 2:
        return False
    first, second = bars[:2]
    is_other = (first.numerator, first.denominator) != (second.numerator, second.denominator)
    return (is_other and first.length < second.length) or first.length < first.full_length


def _meter_on_paper(bars: Sequence[Bar], index: int) -> tuple[int, int]:
    """Returns the time signature that a bar stands under: a pick-up is a short bar of the meter that follows."""
    bar = bars[1] if index == 0 and _has_pickup(bars) else bars[index]
    return bar.numerator, bar.denominator


def _attributes(measure: Element, sheet: Sheet, part: Part, index: int) -> None:
    before = sheet.bars[index - 1] if index else None
    attributes = Element("attributes")
    if before is None:
        add_text(attributes, "divisions", UNITS)
    if index in sheet.keys and not part.is_drum:
        key = SubElement(attributes, "key")
        add_text(key, "fifths", sheet.keys[index].sharps)
        add_text(key, "mode", "minor" if sheet.keys[index].is_minor else "major")
    meter = _meter_on_paper(sheet.bars, index)
    if before is None or meter != _meter_on_paper(sheet.bars, index - 1):
        time = SubElement(attributes, "time")
        add_text(time, "beats", meter[0])
        add_text(time, "beat-type", meter[1])
    if before is None:
        if len(part.clefs) > 1:
            add_text(attributes, "staves", len(part.clefs))
        for staff, clef in enumerate(part.clefs):
            _clef(attributes, clef, staff if len(part.clefs) > 1 else None)
    if len(attributes):
        measure.append(attributes)


def _clef(attributes: Element, clef: Clef, staff: int | None) -> None:
    element = SubElement(attributes, "clef")
    if staff is not None:
        element.set("number", str(staff + 1))
    add_text(element, "sign", clef.sign)
    add_text(element, "line", clef.line)
    if clef.octaves:
        add_text(element, "clef-octave-change", clef.octaves)


def _write_bar(
    measure: Element,
    bar: Bar,
    written: list[tuple[int, int, list[Symbol]]],
    writer: "NoteWriter",
    key: Key,
    *,
    is_closed_score: bool,
) -> None:
    at = bar.start
    for staff in sorted({staff for staff, _, _ in written}):
        upper, lower = (line for s, _, line in written if s == staff)
        if is_closed_score:
            lower = lower or [Symbol(bar.start, bar.end)]
        elif lower and not upper:
            upper, lower = lower, []
        upper = upper or [Symbol(bar.start, bar.end)]
        writer.begin(upper, lower, key)
        for voice, line in enumerate((upper, lower)):
            if not line:
                continue
            if at > bar.start:
                add_text(SubElement(measure, "backup"), "duration", at - bar.start)
            for symbol in line:
                measure.extend(writer.elements(symbol, staff, voice, has_other=bool(lower)))
            at = bar.end


# Words ----------------------------------------------------------------------------------------------------------------


def _notes_at(part: Part) -> dict[tuple[int, int], list[int]]:
    """Returns the notes of a part that start at each (place of the track, tick), from the lowest up."""
    found: dict[tuple[int, int], list[int]] = {}
    owner, source, pitch = part.owner.tolist(), part.source.tolist(), part.pitch.tolist()
    ticks = [track.notes.start_ticks for track in part.tracks]
    for note in sorted(range(len(pitch)), key=pitch.__getitem__):
        found.setdefault((owner[note], int(ticks[owner[note]][source[note]])), []).append(note)
    return found


def _lyrics(part: Part) -> dict[int, str]:
    """Returns what is sung on each note of a part."""
    notes = _notes_at(part)
    found: dict[int, list[str]] = {}
    for place, track in enumerate(part.tracks):
        for text in track.texts:
            syllable, sung = clean(text.text), notes.get((place, text.start_ticks))
            if text.kind is TextKind.LYRIC and syllable and sung:
                found.setdefault(sung[-1], []).append(syllable)
    return {note: " ".join(syllables) for note, syllables in found.items()}


def _fermatas(part: Part) -> set[int]:
    """Returns the notes of a part that carry a fermata."""
    notes = _notes_at(part)
    return {
        note
        for place, track in enumerate(part.tracks)
        for text in track.texts
        if text.is_fermata
        for note in notes.get((place, text.start_ticks), ())
    }


def _directions(score: Score, sheet: Sheet) -> dict[int, list[Element]]:
    """Returns the tempos and markers of each bar."""
    found: dict[int, list[Element]] = {}
    starts = [bar.start for bar in sheet.bars]
    shown_bpm = 0.0

    def add(start_ticks: int, element: Element) -> None:
        unit = round(start_ticks * UNITS / score.ticks_per_quarter)
        index = max(bisect_right(starts, unit) - 1, 0)
        offset = min(unit, sheet.bars[index].end) - starts[index]
        if offset:
            mark = Element("offset")
            mark.text = str(offset)
            element.insert(1, mark) if element.tag == "direction" else element.append(mark)
        found.setdefault(index, []).append(element)

    stops = [*score.tempos.start_ticks[1:].tolist(), max(score.end_ticks, 4 * score.ticks_per_quarter)]
    for tempo, bpm, stop in zip(score.tempos, score.tempos.bpm.tolist(), stops, strict=True):
        sound = Element("sound", tempo=f"{bpm:.6g}")
        # What a player did between the beats is heard, and not written.
        is_new = abs(bpm - shown_bpm) > _SHOWN_TEMPO_CHANGE * shown_bpm
        is_brief = stop - tempo.start_ticks < _SHOWN_TEMPO_QUARTERS * score.ticks_per_quarter
        if not is_new or (is_brief and tempo.start_ticks):
            add(tempo.start_ticks, sound)
            continue
        shown_bpm = bpm
        direction = Element("direction", placement="above")
        metronome = SubElement(SubElement(direction, "direction-type"), "metronome", parentheses="no")
        add_text(metronome, "beat-unit", "quarter")
        add_text(metronome, "per-minute", round(bpm))
        direction.append(sound)
        add(tempo.start_ticks, direction)
    for text in score.texts:
        if text.kind is TextKind.MARKER and 0 < len(clean(text.text)) <= _LONGEST_MARKER:
            direction = Element("direction", placement="above")
            add_text(SubElement(direction, "direction-type"), "words", text.text)
            add(text.start_ticks, direction)
    return found
