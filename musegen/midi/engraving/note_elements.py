"""Symbols as MusicXML's <note> elements, with the accidentals that a bar needs."""

import re
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement

from musegen.midi.engraving.parts import Part
from musegen.midi.engraving.percussion import display_of
from musegen.midi.engraving.spelling import signature_alter, step_alter_octave
from musegen.midi.engraving.symbols import Symbol
from musegen.midi.score import Key

_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Returns a text in one line and without what XML cannot hold."""
    return " ".join(_NOT_XML.sub("", text).split())


def add_text(parent: Element, tag: str, value: object) -> Element:
    """Adds an element that holds a text, and returns it."""
    element = SubElement(parent, tag)
    element.text = clean(str(value))
    return element


def instrument_id(part_id: str, pitch: int | None) -> str:
    """Returns the id of a part's instrument: of a drum by its pitch, of any other with None."""
    return f"{part_id}-I{1 if pitch is None else pitch + 1}"


class NoteWriter:
    """Writes symbols of one part as <note> elements.

    Args:
        part: the part.
        part_id: its id in the file.
        lyrics: the text that is sung on a note.
    """

    def __init__(self, part: Part, part_id: str, lyrics: Mapping[int, str]):
        self._part, self._id, self._lyrics = part, part_id, lyrics
        self._names = [step_alter_octave(*each) for each in zip(part.pitch.tolist(), part.fifths.tolist(), strict=True)]
        self._pitch = part.pitch.tolist()
        self._velocity = part.track.notes.velocity[part.source].tolist()
        self._shown: dict[tuple[int, int], str] = {}

    def begin(self, staff: int, line: Sequence[Symbol], key: Key) -> None:
        """Finds out which notes of a bar on one staff show an accidental."""
        self._shown = {}
        if self._part.track.is_drum:
            return
        state: dict[tuple[str, int], int] = {}
        for symbol in sorted(line, key=lambda symbol: symbol.start):
            for note in symbol.notes:
                if note in symbol.tied_from:
                    continue
                step, alter, octave = self._names[note]
                if state.get((step, octave), signature_alter(step, key.sharps)) != alter:
                    self._shown[note, symbol.start] = _ACCIDENTALS[alter]
                state[step, octave] = alter

    def elements(self, symbol: Symbol, staff: int, voice: int, has_other: bool) -> list[Element]:
        """Returns the elements of a rest, a note or a chord.

        A list, because `Element.extend` turns an interrupt inside a generator into a TypeError.
        """
        return [
            self._element(symbol, note, staff, voice, has_other, is_first=not place)
            for place, note in enumerate(symbol.notes or (-1,))
        ]

    def _element(self, symbol: Symbol, note: int, staff: int, voice: int, has_other: bool, is_first: bool) -> Element:
        element = Element("note")
        if note >= 0:
            element.set("dynamics", f"{self._velocity[note] / 0.9:.2f}")  # in hundredths of a forte, which is 90
        # A silent lower voice between its notes needs no sign.
        if note < 0 and voice == 1 and symbol.triplet is None:
            element.set("print-object", "no")
        if not is_first:
            SubElement(element, "chord")
        self._pitch_of(element, note, symbol)
        add_text(element, "duration", symbol.end - symbol.start)
        ties = [kind for kind, tied in (("stop", symbol.tied_from), ("start", symbol.tied_to)) if note in tied]
        for kind in ties:
            SubElement(element, "tie", type=kind)
        if note >= 0 and self._part.track.is_drum:
            SubElement(element, "instrument", id=instrument_id(self._id, self._pitch[note]))
        add_text(element, "voice", 4 * staff + voice + 1)
        self._value_of(element, note, symbol)
        if has_other and note >= 0:
            add_text(element, "stem", "down" if voice else "up")
        self._head_of(element, note)
        if len(self._part.clefs) > 1:
            add_text(element, "staff", staff + 1)
        if is_first:
            for level, beam in enumerate(symbol.beams, 1):
                add_text(element, "beam", beam).set("number", str(level))
        self._notations_of(element, symbol, ties, is_first)
        if note >= 0 and note not in symbol.tied_from:
            self._lyric_of(element, note)
        return element

    def _pitch_of(self, element: Element, note: int, symbol: Symbol) -> None:
        if note < 0:
            rest = SubElement(element, "rest")
            if not symbol.value:
                rest.set("measure", "yes")
        elif self._part.track.is_drum:
            step, octave, _ = display_of(self._pitch[note])
            unpitched = SubElement(element, "unpitched")
            add_text(unpitched, "display-step", step)
            add_text(unpitched, "display-octave", octave)
        else:
            step, alter, octave = self._names[note]
            pitch = SubElement(element, "pitch")
            add_text(pitch, "step", step)
            if alter:
                add_text(pitch, "alter", alter)
            add_text(pitch, "octave", octave)

    def _value_of(self, element: Element, note: int, symbol: Symbol) -> None:
        if symbol.value:
            add_text(element, "type", symbol.value)
        for _ in range(symbol.dots):
            SubElement(element, "dot")
        if (shown := self._shown.get((note, symbol.start))) is not None:
            add_text(element, "accidental", shown)
        if symbol.triplet is not None:
            modification = SubElement(element, "time-modification")
            add_text(modification, "actual-notes", 3)
            add_text(modification, "normal-notes", 2)

    def _head_of(self, element: Element, note: int) -> None:
        if note >= 0 and self._part.track.is_drum:
            _, _, head = display_of(self._pitch[note])
            if head:
                add_text(element, "notehead", head)

    def _notations_of(self, element: Element, symbol: Symbol, ties: Sequence[str], is_first: bool) -> None:
        notations = Element("notations")
        for kind in ties:
            SubElement(notations, "tied", type=kind)
        if is_first and symbol.triplet is not None:
            bracket = "no" if symbol.beams else "yes"
            if symbol.start == symbol.triplet[0]:
                SubElement(notations, "tuplet", type="start", bracket=bracket)
            if symbol.end == symbol.triplet[1]:
                SubElement(notations, "tuplet", type="stop")
        if len(notations):
            element.append(notations)

    def _lyric_of(self, element: Element, note: int) -> None:
        syllable = self._lyrics.get(note)
        if syllable:
            lyric = SubElement(element, "lyric")
            add_text(lyric, "syllabic", "begin" if syllable.endswith("-") else "single")
            add_text(lyric, "text", syllable.rstrip("-") or syllable)
