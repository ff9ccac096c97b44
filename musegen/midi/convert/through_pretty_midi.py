"""Scores from and to `pretty_midi.PrettyMIDI`, which counts in seconds."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.columns import DENOMINATORS, MAX_TICKS, Columns, Controls, Keys, Meters, Notes, PitchBends, Tempos
from musegen.midi.convert.arrays import whole
from musegen.midi.convert.kinds import check_kind
from musegen.midi.convert.programs import by_program
from musegen.midi.score import Score, Text, TextKind, Track

if TYPE_CHECKING:
    import pretty_midi

PRETTY_MIDI_MAX_TICKS = 10_000_000
"""pretty_midi keeps one number a tick, and refuses files that last longer."""

_TEXTS = (("lyrics", TextKind.LYRIC), ("text_events", TextKind.TEXT))

# The key signatures that pretty_midi writes for its key numbers, in sharps: 12 major keys from C up, then 12 minor.
_SHARPS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5, -3, 4, -1, 6, 1, -4, 3, -2, 5, 0, -5, 2)


def from_pretty_midi(pm: "pretty_midi.PrettyMIDI") -> Score:
    """Reads a `pretty_midi.PrettyMIDI`; its times in seconds become the ticks they stand for, exactly.

    A time between two ticks is rounded to the nearest, and a note keeps at least one tick; a tempo is rounded to whole
    microseconds a quarter. Lyrics and texts become texts of the song, for pretty_midi does not say whose they are.

    Raises:
        InputError: a time is negative or not a number, or a value is out of range.
    """
    check_kind(pm, "pretty_midi", "PrettyMIDI")
    scales = pm._tick_scales  # its public tempo changes are in seconds: these are in ticks
    start_ticks = np.array([tick for tick, _ in scales], np.int64)
    tick_seconds = np.array([seconds for _, seconds in scales])
    clock = _Clock(start_ticks, tick_seconds)
    is_good = [1 <= m.numerator <= 255 and m.denominator in DENOMINATORS for m in pm.time_signature_changes]
    meters = [meter for meter, good in zip(pm.time_signature_changes, is_good, strict=True) if good]
    lyrics, texts = ((getattr(pm, name), kind) for name, kind in _TEXTS)
    return Score(
        ticks_per_quarter=int(pm.resolution),
        tracks=tuple(_track(pm, instrument, clock) for instrument in pm.instruments),
        tempos=Tempos(start_ticks, np.rint(tick_seconds * pm.resolution * 1e6).astype(np.int64)),
        meters=Meters(clock.ticks(meters), [m.numerator for m in meters], [m.denominator for m in meters]),
        keys=_keys(pm.key_signature_changes, clock),
        texts=tuple(
            Text(tick, _mended(pm, event.text), kind)
            for events, kind in (lyrics, texts)
            for tick, event in zip(clock.ticks(events).tolist(), events, strict=True)
        ),
        left_out={} if all(is_good) else {"meters": is_good.count(False)},
    )


class _Clock:
    """Seconds of a PrettyMIDI to ticks, by the seconds that a tick lasts from each change of tempo on."""

    def __init__(self, start_ticks: NDArray[np.int64], tick_seconds: NDArray[np.float64]):
        self.start_ticks, self.tick_seconds = start_ticks, tick_seconds
        self.start_seconds = np.concatenate(([0.0], np.cumsum(np.diff(start_ticks) * tick_seconds[:-1])))

    def ticks(self, events: Iterable[Any], attribute: str = "time") -> NDArray[np.int64]:
        """Returns the nearest tick of an attribute of each event.

        Raises:
            InputError: it is before tick 0, after MAX_TICKS or not a number.
        """
        seconds = np.array([getattr(event, attribute) for event in events], np.float64)
        place = np.maximum(np.searchsorted(self.start_seconds, seconds, side="right") - 1, 0)
        ticks = self.start_ticks[place] + np.rint((seconds - self.start_seconds[place]) / self.tick_seconds[place])
        is_wrong = ~((ticks >= 0) & (ticks <= MAX_TICKS))
        if is_wrong.any():
            wrong = seconds[is_wrong][0]
            raise InputError(
                f"a {attribute} in a PrettyMIDI must be 0 s or later and up to a score's last tick, got {wrong}"
            )
        return ticks.astype(np.int64)


def _track(pm: "pretty_midi.PrettyMIDI", instrument: "pretty_midi.Instrument", clock: _Clock) -> Track:
    notes, bends, controls = instrument.notes, instrument.pitch_bends, instrument.control_changes
    start_ticks, end_ticks = clock.ticks(notes, "start"), clock.ticks(notes, "end")
    lasts = np.array([note.end > note.start for note in notes], np.int64)
    return Track(
        _mended(pm, instrument.name),
        int(instrument.program),
        bool(instrument.is_drum),
        Notes(
            start_ticks,
            np.where(lasts, np.maximum(end_ticks - start_ticks, 1), end_ticks - start_ticks),
            whole([note.pitch for note in notes]),
            whole([note.velocity for note in notes]),
        ),
        Controls(clock.ticks(controls), whole([c.number for c in controls]), whole([c.value for c in controls])),
        PitchBends(clock.ticks(bends), whole([bend.pitch for bend in bends])),
    )


def _keys(changes: Sequence["pretty_midi.KeySignature"], clock: _Clock) -> Keys:
    numbers = [int(change.key_number) for change in changes]
    for number in numbers:
        if not 0 <= number < len(_SHARPS):
            raise InputError(f"a key_number in the PrettyMIDI must be 0..23, got {number}")
    return Keys(clock.ticks(changes), [_SHARPS[n] for n in numbers], [n >= 12 for n in numbers])


def _mended(pm: "pretty_midi.PrettyMIDI", text: str) -> str:
    """Returns a text in UTF-8 that pretty_midi took for its default, Latin-1."""
    if pm._charset != "latin1":
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def to_pretty_midi(score: Score) -> "pretty_midi.PrettyMIDI":
    """Returns a score as a `pretty_midi.PrettyMIDI`, from which `from_pretty_midi` makes the same ticks again.

    It cannot hold: the title, texts other than lyrics and plain ones and which track they belong to, channels and
    ports, aftertouch, the spelling of enharmonic keys (Cb major comes back as B major, Gb as F#, C# as Db; Ab minor as
    G#, Eb as D#, A# as Bb). A track that changes its program becomes one instrument a program, as pretty_midi reads it.

    Raises:
        InputError: the score is longer than PRETTY_MIDI_MAX_TICKS.
    """
    import pretty_midi

    last_ticks = _last_ticks(score)
    if last_ticks > PRETTY_MIDI_MAX_TICKS:
        raise InputError(f"a PrettyMIDI holds {PRETTY_MIDI_MAX_TICKS:,} ticks, the score has {last_ticks:,}")
    pm = pretty_midi.PrettyMIDI(resolution=score.ticks_per_quarter, charset="utf-8")
    pm._tick_scales = [(start, _tick_seconds(us, score.ticks_per_quarter)) for start, us in score.tempos]
    pm._update_tick_to_time(last_ticks + 1)
    pm.instruments = [_to_instrument(score, part) for track in score.tracks for part in by_program(track)]
    at = _seconds(score)
    meters, keys = score.meters, score.keys
    pm.time_signature_changes = [
        pretty_midi.TimeSignature(m.numerator, m.denominator, s) for m, s in zip(meters, at(meters), strict=True)
    ]
    pm.key_signature_changes = [
        pretty_midi.KeySignature((7 * k.sharps + 9) % 12 + 12 if k.is_minor else 7 * k.sharps % 12, s)
        for k, s in zip(keys, at(keys), strict=True)
    ]
    texts = sorted((*score.texts, *(text for track in score.tracks for text in track.texts)), key=lambda t: t[0])
    times = score.seconds_at(np.array([text.start_ticks for text in texts], np.int64)).tolist()
    for text, seconds in zip(texts, times, strict=True):
        if text.kind is TextKind.LYRIC:
            pm.lyrics.append(pretty_midi.Lyric(text.text, seconds))
        elif text.kind is TextKind.TEXT:
            pm.text_events.append(pretty_midi.Text(text.text, seconds))
    return pm


def _to_instrument(score: Score, track: Track) -> "pretty_midi.Instrument":
    import pretty_midi

    at = _seconds(score)
    out = pretty_midi.Instrument(track.program, track.is_drum, track.name)
    ends = score.seconds_at(track.notes.end_ticks).tolist()
    out.notes = [
        pretty_midi.Note(note.velocity, note.pitch, start, end)
        for note, start, end in zip(track.notes, at(track.notes), ends, strict=True)
    ]
    out.control_changes = [
        pretty_midi.ControlChange(c.number, c.value, s) for c, s in zip(track.controls, at(track.controls), strict=True)
    ]
    bends = track.pitch_bends
    out.pitch_bends = [pretty_midi.PitchBend(bend.value, s) for bend, s in zip(bends, at(bends), strict=True)]
    return out


def _seconds(score: Score) -> Callable[[Columns], list[float]]:
    return lambda events: score.seconds_at(events.start_ticks).tolist()


def _tick_seconds(us_per_quarter: int, ticks_per_quarter: int) -> float:
    """Returns the seconds of a tick so that `PrettyMIDI.write`, which cuts fractions off, writes this very tempo."""
    seconds = us_per_quarter / (1e6 * ticks_per_quarter)
    while int(6e7 / (60.0 / (seconds * ticks_per_quarter))) < us_per_quarter:
        seconds = np.nextafter(seconds, 1e3)
    return float(seconds)


def _last_ticks(score: Score) -> int:
    columns = [score.tempos, score.meters, score.keys]
    columns += [events for track in score.tracks for events in (track.controls, track.pitch_bends)]
    texts = (*score.texts, *(text for track in score.tracks for text in track.texts))
    last = (int(events.start_ticks[-1]) for events in columns if len(events))
    return max(score.end_ticks, *last, *(text.start_ticks for text in texts))
