"""Multi-track pieces made up by rule: something to measure with where there is no corpus."""

from pathlib import Path

import numpy as np

from musegen.midi.score import Controls, Keys, Meters, Notes, PitchBends, Score, Tempos, Text, Track

TICKS_PER_QUARTER = 480
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
_ROOTS = np.array([0, 3, 4, 5])  # degrees of the scale on which chords stand
_ENSEMBLES = ((0,), (0, 40), (40, 40, 41, 42), (0, 33, 48, -1), (73, 68, 71, 60, 40, 42, 43, -1), (24, 25, 32, 65, -1))
_NAMES = {-1: "Drums", 0: "Piano", 40: "Violin", 41: "Viola", 42: "Cello"}


def write_corpus(folder: Path, n_files: int, seed: int) -> list[Path]:
    """Writes made-up pieces into a folder, always the same for a seed, and returns their paths."""
    paths = []
    for index in range(n_files):
        path = folder / f"{index:04}.mid"
        piece(np.random.default_rng([seed, index])).write(path)
        paths.append(path)
    return paths


def piece(rng: np.random.Generator) -> Score:
    """Returns a piece of 24 to 160 bars for one to eight instruments, as long and as dense as those of real corpora."""
    n_bars, n_beats = int(rng.integers(24, 161)), int(rng.choice([2, 3, 4, 4, 4]))
    chords = rng.choice(_ROOTS, n_bars)
    key = int(rng.integers(-5, 6))
    programs = _ENSEMBLES[rng.integers(len(_ENSEMBLES))]
    bar_ticks = n_beats * TICKS_PER_QUARTER
    tempo_bars = np.unique(np.concatenate(([0], rng.integers(0, n_bars, rng.integers(1, 30)))))
    return Score(
        TICKS_PER_QUARTER,
        tuple(_part(rng, program, n_beats, chords, key) for program in programs),
        tempos=Tempos(tempo_bars * bar_ticks, rng.integers(350_000, 900_000, len(tempo_bars))),
        meters=Meters([0], [n_beats], [4]),
        keys=Keys([0], [key], [0]),
        texts=(Text(0, "made up by rule"),),
        name="Study",
    )


def _part(rng: np.random.Generator, program: int, n_beats: int, chords: np.ndarray, key: int) -> Track:
    is_drum = program < 0
    lines = [_line(rng, n_beats, chords, key, octave) for octave in _octaves(program)]
    start, duration, pitch = (np.concatenate(column) for column in zip(*lines, strict=True))
    if is_drum:
        pitch = rng.choice([36, 38, 42, 46], len(start))
        duration = np.full(len(start), 60)
    played = np.maximum(start + rng.integers(-9, 10, len(start)), 0)  # as by hand: not quite on the beat
    loudness = np.clip(72 + 20 * np.sin(start / 7000) + rng.normal(0, 8, len(start)), 1, 127).astype(int)
    notes = Notes(played, np.maximum(duration - 24, 12), np.clip(pitch, 21, 108), loudness)
    bars = np.arange(len(chords)) * n_beats * TICKS_PER_QUARTER
    pressed = np.repeat(bars, 2) + np.tile([0, 400], len(bars))
    pedals = Controls(pressed, np.full(len(pressed), 64), np.tile([127, 0], len(bars)))
    bends = PitchBends(bars, rng.integers(-500, 500, len(bars))) if program >= 40 else PitchBends()
    return Track(
        name=_NAMES.get(program, f"Part {program}"),
        program=max(program, 0),
        is_drum=is_drum,
        notes=notes,
        controls=pedals if program == 0 else Controls(),
        pitch_bends=bends,
    )


def _octaves(program: int) -> tuple[int, ...]:
    """Returns where the lines of an instrument lie: a piano plays three, a bass one low one."""
    return {0: (3, 4, 5), 32: (2,), 33: (2,), 42: (3,), 43: (2,), -1: (2, 2)}.get(program, (5,))


def _line(
    rng: np.random.Generator, n_beats: int, chords: np.ndarray, key: int, octave: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns start ticks, duration ticks and pitches of one line that walks about the chord of each bar."""
    n_ticks = len(chords) * n_beats * TICKS_PER_QUARTER
    lengths = rng.choice([120, 160, 240, 240, 480, 960], n_ticks // 120)
    start = np.concatenate(([0], np.cumsum(lengths)))
    start = start[start < n_ticks]
    steps = np.clip(np.cumsum(rng.integers(-2, 3, len(start))) % 11, 0, 10)
    degree = chords[start // (n_beats * TICKS_PER_QUARTER)] + steps
    pitch = 12 * (octave + degree // 7) + _SCALE[degree % 7] + (key * 7) % 12
    is_played = rng.random(len(start)) > 0.12
    return start[is_played], lengths[: len(start)][is_played], pitch[is_played]
