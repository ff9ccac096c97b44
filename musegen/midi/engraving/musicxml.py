"""Scores as MusicXML: what MuseScore and its like open, and what is engraved."""

import io
import zipfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from musegen.midi.engraving.layout import BASS, TREBLE, Clef, is_keyboard
from musegen.midi.engraving.note_elements import NoteWriter, add_text, clean, instrument_id
from musegen.midi.engraving.parts import Part, Sheet, sheet_of
from musegen.midi.engraving.percussion import drum_name
from musegen.midi.engraving.rhythm import UNITS, Bar
from musegen.midi.engraving.symbols import Symbol, symbols
from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.notation.midi_instruments import name_programs
from musegen.midi.score import DRUM_CHANNEL, Key, Score, TextKind

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
_ABBREVIATIONS = {
    "piano": "Pno.", "harpsichord": "Hpsd.", "violin": "Vln.", "viola": "Vla.", "cello": "Vc.", "contrabass": "Cb.",
    "flute": "Fl.", "clarinet": "Cl.", "bassoon": "Bsn.", "horn": "Hn.", "trumpet": "Tpt.", "trombone": "Tbn.",
    "strings": "Str.", "acoustic-guitar": "Gtr.", "electric-guitar": "E. Gtr.", "electric-bass": "E. Bass",
    "saxophone": "Sax.", "timpani": "Timp.", "choir": "Ch.", "drums": "Dr.",
}  # fmt: skip
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
    part_list = SubElement(root, "part-list")
    braces = _braces(sheet.parts)
    channels, names = _channels(sheet.parts), _names(sheet.parts)
    for place, part in enumerate(sheet.parts):
        if place in braces:
            group = SubElement(part_list, "part-group", type="start", number="1")
            add_text(group, "group-symbol", "brace")
            add_text(group, "group-barline", "yes")
        _score_part(part_list, part, place, channels[place], names[place])
        if place - 1 in braces:
            SubElement(part_list, "part-group", type="stop", number="1")
    for place, part in enumerate(sheet.parts):
        element = SubElement(root, "part", id=f"P{place + 1}")
        _write_part(element, score, sheet, part, place)
    return root


def _braces(parts: Sequence[Part]) -> set[int]:
    """Returns the parts that are the right hand of a keyboard player whose left hand is the next part."""
    n_playing = Counter(part.track.program for part in parts if is_keyboard(part.track))
    return {
        place
        for place, (upper, lower) in enumerate(pairwise(parts))
        if (*upper.clefs, *lower.clefs) == (TREBLE, BASS)
        and upper.track.program == lower.track.program
        and n_playing[upper.track.program] == 2
    }


def _channels(parts: Sequence[Part]) -> list[int]:
    """Returns each part's MIDI channel, 0..15."""
    melodic = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    channels, n_melodic = [], 0
    for part in parts:
        own = DRUM_CHANNEL if part.track.is_drum else melodic[n_melodic % len(melodic)]
        n_melodic += not part.track.is_drum
        channels.append(own)
    return channels


def _names(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Returns each part's name and its abbreviation; instruments without a name of their own are numbered."""
    classes = [INSTRUMENTS[class_of(part.track.program, part.track.is_drum)].name for part in parts]
    unnamed = Counter(kind for kind, part in zip(classes, parts, strict=True) if not clean(part.track.name))
    seen: Counter[str] = Counter()
    names = []
    for kind, part in zip(classes, parts, strict=True):
        own, instrument = clean(part.track.name)[:60], kind.replace("-", " ").capitalize()
        if own.lower() == instrument.lower():
            names.append((own, _ABBREVIATIONS.get(kind, own)))
            continue
        if own:
            names.append((own, _short(own)))
            continue
        seen[kind] += 1
        number = f" {seen[kind]}" if unnamed[kind] > 1 else ""
        names.append((instrument + number, _ABBREVIATIONS.get(kind, f"{instrument[:4].rstrip()}.") + number))
    return _told_apart(names)


def _told_apart(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Numbers the abbreviations that several differently named parts would share."""
    shared = Counter(short for _, short in set(names))
    seen: Counter[str] = Counter()
    told = []
    for name, short in names:
        seen[short] += 1
        told.append((name, f"{short} {seen[short]}" if shared[short] > 1 else short))
    return told


def _short(name: str) -> str:
    """Returns an abbreviation of a name that keeps its number: "P. 18" for "Part 18"."""
    *words, last = name.split()
    if not last.isdecimal() or not words:
        words, last = name.split(), ""
    initials = " ".join(f"{word[0]}." for word in words)
    stem = " ".join(words)
    if len(stem) > 6:
        stem = initials if len(words) in (2, 3) and len(initials) <= 6 else f"{stem[:4].rstrip()}."
    return f"{stem} {last}".rstrip()


def _score_part(part_list: Element, part: Part, place: int, channel: int, name: tuple[str, str]) -> None:
    track, part_id = part.track, f"P{place + 1}"
    element = SubElement(part_list, "score-part", id=part_id)
    add_text(element, "part-name", name[0])
    add_text(element, "part-abbreviation", name[1])
    drums: list[int] = sorted(set(part.pitch.tolist())) if track.is_drum else []
    instrument = INSTRUMENTS[class_of(track.program, track.is_drum)].name.replace("-", " ").capitalize()
    for pitch in drums or [None]:
        heard = SubElement(element, "score-instrument", id=instrument_id(part_id, pitch))
        add_text(heard, "instrument-name", instrument if pitch is None else drum_name(pitch))
    for pitch in drums or [None]:
        midi = SubElement(element, "midi-instrument", id=instrument_id(part_id, pitch))
        add_text(midi, "midi-channel", channel + 1)
        add_text(midi, "midi-program", track.program + 1)
        if pitch is not None:
            add_text(midi, "midi-unpitched", pitch + 1)


# Bars -----------------------------------------------------------------------------------------------------------------


def _write_part(element: Element, score: Score, sheet: Sheet, part: Part, place: int) -> None:
    start, end = part.start.tolist(), part.end.tolist()
    streams = []
    for staff in range(len(part.clefs)):
        for voice in (0, 1):
            notes = ((part.staff == staff) & (part.voice == voice)).nonzero()[0].tolist()
            streams.append((staff, voice, list(symbols(notes, start, end, sheet.bars, is_drum=part.track.is_drum))))
    writer = NoteWriter(part, f"P{place + 1}", _lyrics(part))
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
        _write_bar(measure, bar, written, writer, key)


def _has_pickup(bars: Sequence[Bar]) -> bool:
    if len(bars) < 2:
        return False
    first, second = bars[:2]
    is_other = (first.numerator, first.denominator) != (second.numerator, second.denominator)
    return (is_other and first.length < second.length) or first.length < first.full_length


def _attributes(measure: Element, sheet: Sheet, part: Part, index: int) -> None:
    bar, before = sheet.bars[index], sheet.bars[index - 1] if index else None
    attributes = Element("attributes")
    if before is None:
        add_text(attributes, "divisions", UNITS)
    if index in sheet.keys and not part.track.is_drum:
        key = SubElement(attributes, "key")
        add_text(key, "fifths", sheet.keys[index].sharps)
        add_text(key, "mode", "minor" if sheet.keys[index].is_minor else "major")
    if before is None or (bar.numerator, bar.denominator) != (before.numerator, before.denominator):
        time = SubElement(attributes, "time")
        add_text(time, "beats", bar.numerator)
        add_text(time, "beat-type", bar.denominator)
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
    measure: Element, bar: Bar, written: list[tuple[int, int, list[Symbol]]], writer: "NoteWriter", key: Key
) -> None:
    at = bar.start
    for staff in sorted({staff for staff, _, _ in written}):
        upper, lower = (line for s, _, line in written if s == staff)
        if lower and not upper:
            upper, lower = lower, []
        upper = upper or [Symbol(bar.start, bar.end)]
        writer.begin(staff, [*upper, *lower], key)
        for voice, line in enumerate((upper, lower)):
            if not line:
                continue
            if at > bar.start:
                add_text(SubElement(measure, "backup"), "duration", at - bar.start)
            for symbol in line:
                measure.extend(writer.elements(symbol, staff, voice, has_other=bool(lower)))
            at = bar.end


# Words ----------------------------------------------------------------------------------------------------------------


def _lyrics(part: Part) -> dict[int, str]:
    """Returns what is sung on each note of a part."""
    by_tick: dict[int, int] = {}
    ticks = part.track.notes.start_ticks[part.source].tolist()
    for note in sorted(range(len(ticks)), key=part.pitch.tolist().__getitem__):
        by_tick[ticks[note]] = note
    found: dict[int, list[str]] = {}
    for text in part.track.texts:
        syllable = clean(text.text)
        if text.kind is TextKind.LYRIC and syllable and text.start_ticks in by_tick:
            found.setdefault(by_tick[text.start_ticks], []).append(syllable)
    return {note: " ".join(syllables) for note, syllables in found.items()}


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
