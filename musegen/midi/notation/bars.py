"""The bars of a music21 stream: where each begins, and the repeat marks on it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from musegen.errors import InputError
from musegen.midi.columns import MAX_TICKS
from musegen.midi.notation.repeats import Bar as Marks
from musegen.midi.notation.repeats import Jump


@dataclass
class Bar:
    """A bar as written, from `start` to `end` in quarters; without measures the whole piece is one."""

    start: Fraction
    end: Fraction
    is_measure: bool
    marks: Marks = field(default_factory=Marks)


def exact(quarters: Any) -> Fraction:
    """Returns a time of music21 (float, int or Fraction) as the simple fraction that it stands for.

    Raises:
        InputError: it is not finite, or far out of any music.
    """
    try:
        return _exact(quarters)
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"has a time or a duration of {quarters} quarters") from error


@lru_cache(maxsize=4096)
def _exact(quarters: Any) -> Fraction:
    if not abs(quarters) <= MAX_TICKS:
        raise ValueError
    return Fraction(quarters).limit_denominator(65535)


def read_bars(parts: Sequence[Any]) -> tuple[list[Bar], dict[int, Fraction]]:
    """Returns the bars, and where each measure (by its id) begins.

    Parts of equally many measures go together measure by measure: in music21 a measure with too much in it, in one part
    only, moves all that follows in that part, and the parts are no longer together.
    """
    from music21 import stream as streams

    measures = [
        [part] if isinstance(part, streams.Measure) else list(part.getElementsByClass(streams.Measure))
        for part in parts
    ]
    n_bars = max(map(len, measures))
    if not n_bars:
        return [Bar(Fraction(0), Fraction(0), is_measure=False)], {}
    together = [each for each in measures if len(each) == n_bars]
    lengths = zip(
        *(_lengths(part, each) for part, each in zip(parts, measures, strict=True) if each in together), strict=True
    )
    bars, starts, at, whole = [], {}, Fraction(0), None
    for place, candidates in enumerate(lengths):
        signature = together[0][place].timeSignature
        whole = exact(signature.barDuration.quarterLength) if signature is not None else whole
        # The time signature decides, then the majority.
        length = max(candidates, key=lambda length: (length == whole, candidates.count(length), length))
        bars.append(Bar(at, at + length, is_measure=True))
        starts.update((id(each[place]), at) for each in together)
        at += length
    return bars, starts


def _lengths(part: Any, measures: Sequence[Any]) -> list[Fraction]:
    """Returns how far each measure of a part is from the next, in quarters."""
    starts = [Fraction(0) if measure is part else exact(part.elementOffset(measure)) for measure in measures]
    ends = [*starts[1:], starts[-1] + exact(measures[-1].duration.quarterLength)]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def mark_bars(
    bars: list[Bar],
    measures: Sequence[tuple[Fraction, Any]],
    brackets: Sequence[Any],
    signs: Sequence[tuple[Fraction, Any]],
) -> None:
    """Puts the repeat marks of a part on the bars.

    Args:
        bars: to mark.
        measures: of the part, each with its start in quarters.
        brackets: its endings.
        signs: its segno, coda, fine, D.C. and D.S., each with its place in quarters.
    """
    starts = [bar.start for bar in bars]
    _mark_lines(bars, starts, measures, brackets)
    for at, sign in signs:
        place = max(bisect_right(starts, at) - 1, 0)
        # On a bar line: at the end of the bar before it, if that bar has it.
        if place and at == starts[place] and any(each is sign.activeSite and start < at for start, each in measures):
            place -= 1
        _mark_sign(bars[place].marks, sign)
    codas = [bar.marks for bar in bars if bar.marks.is_coda]
    for marks in codas[:-1]:  # of several codas the last is the coda, and the others lead there
        marks.is_coda, marks.leaves_to_coda = False, True


def _mark_lines(
    bars: list[Bar],
    starts: Sequence[Fraction],
    measures: Sequence[tuple[Fraction, Any]],
    brackets: Sequence[Any],
) -> None:
    """Puts the repeat signs and endings of a part on the bars."""
    from music21 import bar as barlines

    numbers = {
        id(measure): frozenset(int(number) for number in bracket.numberRange)
        for bracket in brackets
        for measure in bracket.getSpannedElements()
    }
    for start, measure in measures:
        place = max(bisect_right(starts, start) - 1, 0)
        bars[place].marks.endings |= numbers.get(id(measure), frozenset())
        for line, before, after in ((measure.leftBarline, place - 1, place), (measure.rightBarline, place, place + 1)):
            if not isinstance(line, barlines.Repeat):
                continue
            if line.direction == "start":
                bars[min(after, len(bars) - 1)].marks.starts_repeat = True
            else:
                bars[max(before, 0)].marks.times = max(int(line.times or 2), 1)


def _mark_sign(marks: Marks, sign: Any) -> None:
    from music21 import repeat

    if isinstance(sign, repeat.Segno):
        marks.has_segno = True
    elif isinstance(sign, repeat.Fine):
        marks.has_fine = True
    elif isinstance(sign, repeat.Coda):
        if "to" in sign.getText().lower().split():
            marks.leaves_to_coda = True
        else:
            marks.is_coda = True
    elif isinstance(sign, repeat.RepeatExpressionCommand):
        is_capo = isinstance(sign, repeat.DaCapo | repeat.DaCapoAlFine | repeat.DaCapoAlCoda)
        marks.jump = Jump.DA_CAPO if is_capo else Jump.DAL_SEGNO
        marks.jumps_to_coda = isinstance(sign, repeat.DaCapoAlCoda | repeat.DalSegnoAlCoda)
