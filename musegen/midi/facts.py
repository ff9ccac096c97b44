"""What there is to say about a score: numbers and names that fit into JSON."""

from typing import Any

from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.score import Key, Score, Track
from musegen.midi.units import bar_counts, ticks_to_quarters

_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")


def facts(score: Score) -> dict[str, Any]:
    """Describes a score.

    Returns:
        `name`, `duration_seconds`, `duration_quarters`, `n_bars`, `n_notes` and `ticks_per_quarter`; then lists of
        dictionaries: `tempos` (bpm), `meters` ("3/4"), `keys` ("G minor") and `texts` (kind, text, and track or None),
        each with its `start_quarters`; `tracks` (name, instrument class, program 0..127, channel 1..16 or None,
        is_drum, n_notes, n_others: events that are no notes, lowest and highest pitch or None); and `left_out`: what a
        MIDI file had and a score has not, by kind.
    """
    meters, end_ticks = score.meters, score.end_ticks
    n_bars = bar_counts(meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter, end_ticks)

    def at(start_ticks: int) -> dict[str, float]:
        return {"start_quarters": _rounded(ticks_to_quarters(start_ticks, score.ticks_per_quarter))}

    bpm = score.tempos.bpm
    texts = [(text, None) for text in score.texts]
    texts += [(text, number) for number, track in enumerate(score.tracks, 1) for text in track.texts]
    return {
        "name": score.name,
        "duration_seconds": _rounded(score.duration_seconds),
        "duration_quarters": _rounded(ticks_to_quarters(end_ticks, score.ticks_per_quarter)),
        "n_bars": int(n_bars.sum()),
        "n_notes": score.n_notes,
        "ticks_per_quarter": score.ticks_per_quarter,
        "tempos": [at(t.start_ticks) | {"bpm": _rounded(b)} for t, b in zip(score.tempos, bpm, strict=True)],
        "meters": [at(m.start_ticks) | {"meter": f"{m.numerator}/{m.denominator}"} for m in meters],
        "keys": [at(key.start_ticks) | {"key": key_name(key)} for key in score.keys],
        "texts": [
            at(text.start_ticks) | {"kind": text.kind.name.lower(), "text": text.text, "track": number}
            for text, number in texts
        ],
        "tracks": [_track_facts(track) for track in score.tracks],
        "left_out": dict(score.left_out),
    }


def key_name(key: Key) -> str:
    """Names a key signature: "Bb major", "F# minor"."""
    names = _MINOR if key.is_minor else _MAJOR
    return f"{names[key.sharps + 7]} {'minor' if key.is_minor else 'major'}"


def _track_facts(track: Track) -> dict[str, Any]:
    pitch = track.notes.pitch
    others = (track.controls, track.pitch_bends, track.programs, track.pressures, track.key_pressures)
    return {
        "name": track.name,
        "instrument": INSTRUMENTS[class_of(track.program, track.is_drum)].name,
        "program": track.program,
        "channel": None if track.channel is None else track.channel + 1,
        "is_drum": track.is_drum,
        "n_notes": len(track.notes),
        "n_others": sum(len(events) for events in others if events is not None),
        "lowest": int(pitch.min()) if len(pitch) else None,
        "highest": int(pitch.max()) if len(pitch) else None,
    }


def _rounded(value: Any) -> float:
    return round(float(value), 3)
