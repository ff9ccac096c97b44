"""Symbols as MusicXML's <note> elements, with the accidentals that a bar needs."""

import re
from collections.abc import Collection, Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement

from musegen.midi.engraving.layout import BASS, TREBLE
from musegen.midi.engraving.parts import Part
from musegen.midi.engraving.percussion import display_of
from musegen.midi.engraving.spelling import signature_alter, step_alter_octave
from musegen.midi.engraving.symbols import Symbol
from musegen.midi.score import Key

_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
_MIDDLE = {TREBLE: ("B", 4), BASS: ("D", 3)}  # the pitch on the middle line
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Returns a text in one line and without what XML cannot hold."""
    return " ".join(_NOT_XML.sub("", text).split())


def add_text(parent: Element, tag: str, value: object) -> Element:
    """Adds an element that holds a text, and returns it."""
    element = SubElement(parent, tag)
    element.text = clean(str(value))
    return element


def instrument_id(part_id: str, number: int) -> str:
    """Returns the id of one of a part's instruments: of a drum by its pitch, of any other by its track's place."""
    return f"{part_id}-I{number + 1}"


class NoteWriter:
    """Writes symbols of one part as <note> elements.

    Args:
        part: the part.
        part_id: its id in the file.
        lyrics: the text that is sung on a note.
        fermatas: the notes that carry one.
    """

    def __init__(self, part: Part, part_id: str, lyrics: Mapping[int, str], fermatas: Collection[int] = ()):
        self._part, self._id, self._lyrics, self._fermatas = part, part_id, lyrics, fermatas
        self._names = [step_alter_octave(*each) for each in zip(part.pitch.tolist(), part.fifths.tolist(), strict=True)]
        self._pitch = part.pitch.tolist()
        velocities = [track.notes.velocity for track in part.tracks]
        places = zip(part.owner.tolist(), part.source.tolist(), strict=True)
        self._velocity = [int(velocities[track][note]) for track, note in places]
        self._shown: dict[tuple[int, int], str] = {}
        self._shared_rests: set[tuple[int, int]] = set()
        self._held: set[int] = set()

    def begin(self, upper: Sequence[Symbol], lower: Sequence[Symbol], key: Key) -> None:
        """Looks at the two voices of a staff in a bar: which notes show an accidental, and what one sign says for both.

        Args:
            upper: the upper voice.
            lower: the lower one; empty where the staff has one voice.
            key: the key signature.
        """
        self._shown = {}
        if self._part.is_drum:
            return
        if self._part.is_closed_score:
            self._shared_rests = _rests(upper) & _rests(lower)
        else:  # both voices are one player's; of singers each has a fermata of their own, the lower one below the staff
            self._held = {symbol.end for symbol in upper if self._has_fermata(symbol)}
        state: dict[tuple[str, int], int] = {}
        for symbol in sorted((*upper, *lower), key=lambda symbol: symbol.start):
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
        if note < 0 and voice == 1 and self._is_hidden(symbol):
            element.set("print-object", "no")
        if not is_first:
            SubElement(element, "chord")
        self._pitch_of(element, note, symbol, staff)
        add_text(element, "duration", symbol.end - symbol.start)
        ties = [kind for kind, tied in (("stop", symbol.tied_from), ("start", symbol.tied_to)) if note in tied]
        for kind in ties:
            SubElement(element, "tie", type=kind)
        if note >= 0 and self._part.is_drum:
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
        self._notations_of(element, symbol, ties, voice, is_first)
        if note >= 0 and note not in symbol.tied_from:
            self._lyric_of(element, note)
        return element

    def _is_hidden(self, rest: Symbol) -> bool:
        """Whether a rest of the lower voice goes without a sign."""
        if self._part.is_closed_score:
            return (rest.start, rest.end) in self._shared_rests
        return rest.triplet is None  # a silent lower voice between its notes needs none

    def _has_fermata(self, symbol: Symbol) -> bool:
        """Whether a fermata stands over a symbol: where a note that carries one is held to its end."""
        return any(note in self._fermatas and note not in symbol.tied_to for note in symbol.notes)

    def _pitch_of(self, element: Element, note: int, symbol: Symbol, staff: int) -> None:
        if note < 0:
            rest = SubElement(element, "rest")
            if not symbol.value:
                rest.set("measure", "yes")
            if (symbol.start, symbol.end) in self._shared_rests:  # one sign for both voices, in the middle of the staff
                step, octave = _MIDDLE[self._part.clefs[staff]]
                add_text(rest, "display-step", step)
                add_text(rest, "display-octave", octave)
        elif self._part.is_drum:
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
        if note >= 0 and self._part.is_drum:
            _, _, head = display_of(self._pitch[note])
            if head:
                add_text(element, "notehead", head)

    def _notations_of(self, element: Element, symbol: Symbol, ties: Sequence[str], voice: int, is_first: bool) -> None:
        notations = Element("notations")
        for kind in ties:
            SubElement(notations, "tied", type=kind)
        if is_first and symbol.triplet is not None:
            bracket = "no" if symbol.beams else "yes"
            if symbol.start == symbol.triplet[0]:
                SubElement(notations, "tuplet", type="start", bracket=bracket)
            if symbol.end == symbol.triplet[1]:
                SubElement(notations, "tuplet", type="stop")
        if is_first and self._has_fermata(symbol) and not (voice and symbol.end in self._held):
            add_text(notations, "fermata", "normal").set("type", "inverted" if voice else "upright")
        if len(notations):
            element.append(notations)

    def _lyric_of(self, element: Element, note: int) -> None:
        syllable = self._lyrics.get(note)
        if syllable:
            lyric = SubElement(element, "lyric")
            add_text(lyric, "syllabic", "begin" if syllable.endswith("-") else "single")
            add_text(lyric, "text", syllable.rstrip("-") or syllable)


def _rests(line: Sequence[Symbol]) -> set[tuple[int, int]]:
    return {(symbol.start, symbol.end) for symbol in line if not symbol.notes}
