"""The parts of a score by name: what each is called, which are braced, and what plays them."""

from collections import Counter
from collections.abc import Sequence
from itertools import cycle, pairwise
from xml.etree.ElementTree import Element, SubElement

from musegen.midi.engraving.layout import BASS, TREBLE, is_keyboard
from musegen.midi.engraving.note_elements import add_text, clean, instrument_id
from musegen.midi.engraving.parts import Part
from musegen.midi.engraving.percussion import drum_name
from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.score import DRUM_CHANNEL, Track

_ABBREVIATIONS = {
    "piano": "Pno.", "harpsichord": "Hpsd.", "violin": "Vln.", "viola": "Vla.", "cello": "Vc.", "contrabass": "Cb.",
    "flute": "Fl.", "clarinet": "Cl.", "bassoon": "Bsn.", "horn": "Hn.", "trumpet": "Tpt.", "trombone": "Tbn.",
    "strings": "Str.", "acoustic-guitar": "Gtr.", "electric-guitar": "E. Gtr.", "electric-bass": "E. Bass",
    "saxophone": "Sax.", "timpani": "Timp.", "choir": "Ch.", "drums": "Dr.",
}  # fmt: skip
_MIXED = "SATB"  # what the four voices of a closed score are called where each has an instrument of its own


def part_list(parts: Sequence[Part]) -> Element:
    """Returns the <part-list> of parts, whose ids are P1, P2 ..."""
    element = Element("part-list")
    braces = _braces(parts)
    channels, names = _channels(parts), _names(parts)
    for place, part in enumerate(parts):
        if place in braces:
            group = SubElement(element, "part-group", type="start", number="1")
            add_text(group, "group-symbol", "brace")
            add_text(group, "group-barline", "yes")
        _score_part(element, part, f"P{place + 1}", channels[place], names[place])
        if place - 1 in braces:
            SubElement(element, "part-group", type="stop", number="1")
    return element


def _braces(parts: Sequence[Part]) -> set[int]:
    """Returns the parts that are the right hand of a keyboard player whose left hand is the next part."""
    n_playing = Counter(p.track.program for p in parts if is_keyboard(p.track) and not p.is_closed_score)
    return {
        place
        for place, (upper, lower) in enumerate(pairwise(parts))
        if (*upper.clefs, *lower.clefs) == (TREBLE, BASS)
        and upper.track.program == lower.track.program
        and n_playing[upper.track.program] == 2
    }


def _channels(parts: Sequence[Part]) -> list[list[int]]:
    """Returns the MIDI channels, 0..15, of each part's tracks."""
    melodic = cycle(channel for channel in range(16) if channel != DRUM_CHANNEL)
    return [[DRUM_CHANNEL if track.is_drum else next(melodic) for track in part.tracks] for part in parts]


def _names(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Returns each part's name and its abbreviation; instruments without a name of their own are numbered."""
    classes, given = [_kind(part.track) for part in parts], [_given_name(part) for part in parts]
    unnamed = Counter(kind for kind, own in zip(classes, given, strict=True) if not own)
    seen: Counter[str] = Counter()
    names = []
    for kind, own in zip(classes, given, strict=True):
        instrument = _instrument(kind)
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


def _given_name(part: Part) -> str:
    """Returns what a part is called other than by its instrument; "" for nothing."""
    if not part.is_closed_score:
        return clean(part.track.name)[:60]
    return "" if len({_kind(track) for track in part.tracks}) == 1 else _MIXED


def _kind(track: Track) -> str:
    return INSTRUMENTS[class_of(track.program, track.is_drum)].name


def _instrument(kind: str) -> str:
    return kind.replace("-", " ").capitalize()


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


def _score_part(part_list: Element, part: Part, part_id: str, channels: Sequence[int], name: tuple[str, str]) -> None:
    element = SubElement(part_list, "score-part", id=part_id)
    add_text(element, "part-name", name[0])
    add_text(element, "part-abbreviation", name[1])
    drums: list[int] = sorted(set(part.pitch.tolist())) if part.is_drum else []
    for pitch in drums:
        heard = SubElement(element, "score-instrument", id=instrument_id(part_id, pitch))
        add_text(heard, "instrument-name", drum_name(pitch))
    for place, track in enumerate(part.tracks if not drums else ()):
        heard = SubElement(element, "score-instrument", id=instrument_id(part_id, place))
        add_text(heard, "instrument-name", track.name if part.is_closed_score else _instrument(_kind(track)))
    for place, pitch in enumerate(drums or range(len(part.tracks))):
        track, channel = (part.track, channels[0]) if drums else (part.tracks[place], channels[place])
        midi = SubElement(element, "midi-instrument", id=instrument_id(part_id, pitch))
        add_text(midi, "midi-channel", channel + 1)
        add_text(midi, "midi-program", track.program + 1)
        if drums:
            add_text(midi, "midi-unpitched", pitch + 1)
