"""Scores as grids of sixteenths, one column a voice, and grids as the notes of a score.

A grid counts sixteenths from tick 0. What is finer than a sixteenth is heard as the note that fills most of it; the
score that a grid came from is never replaced by it.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.score import Meters, Notes, Score, Track
from musegen.midi.units import bar_starts_ticks
from musegen.music.chorales import HIGHEST, LOWEST, N_VOICES, SILENCE, STEPS_PER_BEAT, VOICES, Grid, Mask

MAX_STEPS = 1 << 16
"""The longest grid: four thousand bars of 4/4."""

_HEARD = 0.25  # of a sixteenth: a longer note may reach so little into another one without being heard there


# --- Which track is which voice


def voice_tracks(score: Score, may_be_missing: Collection[str] = ()) -> list[int | None]:
    """Finds the tracks of the four voices: by their names, and those without one by their height.

    Args:
        score: tracks named soprano, alto, tenor and bass (in any case, also "Soprano 1" or "S"), or as many pitched
            tracks with notes as there are voices.
        may_be_missing: voices that need no track.

    Returns:
        The place of each voice's track among the score's, None for one that is missing.

    Raises:
        InputError: there are not four voices.
    """
    named = [_named(score, voice) for voice in VOICES]
    if all(place is not None or voice in may_be_missing for place, voice in zip(named, VOICES, strict=True)):
        return named
    pitched = [place for place, track in enumerate(score.tracks) if len(track.notes) and not track.is_drum]
    if len(pitched) == N_VOICES:  # each is a voice, and of letters that do not name all four none counts
        named = [
            place if place is not None and len(score.tracks[place].name.split()[0].rstrip(".")) > 1 else None
            for place in named
        ]
    unnamed = [place for place in pitched if place not in named]
    left = [voice for place, voice in zip(named, VOICES, strict=True) if place is None]
    needed = [voice for voice in left if voice not in may_be_missing]
    expected = left if len(unnamed) == len(left) else needed
    if len(unnamed) != len(expected):
        raise InputError(_not_four(score, pitched, may_be_missing, needed))
    falling = sorted(unnamed, key=lambda place: -float(score.tracks[place].notes.pitch.mean()))
    by_height = dict(zip(expected, falling, strict=True))
    return [by_height.get(voice, place) for voice, place in zip(VOICES, named, strict=True)]


def _not_four(score: Score, pitched: list[int], may_be_missing: Collection[str], missing: list[str]) -> str:
    """Returns what is said of a score whose tracks are not the voices that it needs."""
    expected = [voice for voice in VOICES if voice not in may_be_missing]
    names = ", ".join(repr(score.tracks[place].name) for place in pitched) or "none"
    wanted = f"{' and '.join([', '.join(expected[:-1]), expected[-1]]) if len(expected) > 1 else expected[0]}"
    written = f" ({', '.join(missing)} missing, and not among voices to write)" if may_be_missing else ""
    return (
        f"score must have a track each for {wanted}, with these names or {len(expected)} tracks in all; "
        f"got {len(pitched)} with notes: {names}{written}"
    )


def _named(score: Score, voice: str) -> int | None:
    """Returns the place of the one track that is named after a voice, with notes if there is such a one."""
    places = [place for place, track in enumerate(score.tracks) if not track.is_drum and _is_voice(track.name, voice)]
    with_notes = [place for place in places if len(score.tracks[place].notes)]
    places = with_notes or places[:1]
    return places[0] if len(places) == 1 else None


def _is_voice(name: str, voice: str) -> bool:
    words = name.lower().split()
    return bool(words) and (words[0].rstrip(".") in (voice, voice[0]))


# --- Scores to grids


def n_steps_of(score: Score, end_ticks: int | None = None) -> int:
    """Returns how many sixteenths reach to a tick; by default to the end of a score's last note.

    Raises:
        InputError: there are more than MAX_STEPS, or ticks are too few for sixteenths.
    """
    if score.ticks_per_quarter < STEPS_PER_BEAT:
        raise InputError(f"ticks_per_quarter must be {STEPS_PER_BEAT} or more, got {score.ticks_per_quarter}")
    end_ticks = score.end_ticks if end_ticks is None else end_ticks
    n_steps = -(-end_ticks * STEPS_PER_BEAT // score.ticks_per_quarter)
    if n_steps > MAX_STEPS:
        raise InputError(f"score must be at most {MAX_STEPS:,} sixteenths long, got {n_steps:,}")
    return n_steps


def step_ticks(steps: NDArray[np.integer], ticks_per_quarter: int) -> NDArray[np.int64]:
    """Returns the tick that is nearest to where each sixteenth begins."""
    return (2 * steps.astype(np.int64) * ticks_per_quarter + STEPS_PER_BEAT) // (2 * STEPS_PER_BEAT)


def ticks_to_steps(ticks: NDArray[np.int64], ticks_per_quarter: int) -> NDArray[np.int64]:
    """Returns the sixteenth whose start is nearest to each tick."""
    return (2 * ticks * STEPS_PER_BEAT + ticks_per_quarter) // (2 * ticks_per_quarter)


def grid_of(score: Score) -> Grid:
    """Returns the grid (T, 4) of a score in four voices, without the silence before and behind them.

    Raises:
        InputError: it has not four voices of one note at a time each, or a pitch outside 36 to 81.
    """
    n_steps = n_steps_of(score)
    lines = []
    for place in voice_tracks(score):
        assert place is not None
        check_one_at_a_time(score, score.tracks[place], "score")
        lines.append(line_of(score.tracks[place].notes, score.ticks_per_quarter, n_steps)[0])
    grid = np.stack(lines, axis=1)
    sounding = np.flatnonzero((grid != SILENCE).any(axis=1))
    if not len(sounding):
        raise InputError("score has no notes in its four voices")
    n_before = steps_before(score)
    grid = np.pad(grid, ((n_before, 0), (0, 0)), constant_values=SILENCE)
    first = (sounding[0] + n_before) // STEPS_PER_BEAT * STEPS_PER_BEAT
    grid = grid[first : n_before + sounding[-1] + 1]
    wrong = grid[(grid != SILENCE) & ((grid < LOWEST) | (grid > HIGHEST))]
    if len(wrong):
        raise InputError(f"pitches of score must be {LOWEST} to {HIGHEST}, got {wrong[0]}")
    return grid


def line_of(notes: Notes, ticks_per_quarter: int, n_steps: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns what one voice sings in each sixteenth.

    Args:
        notes: one at a time; of those that overlap a little the one that fills more of a sixteenth is heard.
        ticks_per_quarter: of the score.
        n_steps: how many sixteenths from tick 0.

    Returns:
        MIDI pitches (T,) with SILENCE, and where a note begins (T,).
    """
    most, holder = np.zeros(n_steps), np.full(n_steps, -1)
    starts = notes.start_ticks * (STEPS_PER_BEAT / ticks_per_quarter)
    ends = notes.end_ticks * (STEPS_PER_BEAT / ticks_per_quarter)
    for note, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        steps = np.arange(int(start), min(int(np.ceil(end)), n_steps))
        filled = np.minimum(end, steps + 1) - np.maximum(start, steps)
        heard = (filled > most[steps]) & ((filled >= _HEARD) | (filled == filled.max(initial=0)))
        most[steps[heard]], holder[steps[heard]] = filled[heard], note
    sounds = holder >= 0
    pitches = np.full(n_steps, SILENCE)
    pitches[sounds] = notes.pitch[holder[sounds]]
    return pitches, sounds & (np.diff(holder, prepend=-1) != 0)


def check_one_at_a_time(score: Score, track: Track, argument: str) -> None:
    """Looks for notes of a track that sound together: for more than half of the shorter one, at two pitches.

    Raises:
        InputError: there are some; the message says where.
    """
    starts, ends, pitches = track.notes.start_ticks, track.notes.end_ticks, track.notes.pitch
    for later in range(1, len(starts)):
        for earlier in range(later - 1, -1, -1):
            together = min(ends[earlier], ends[later]) - starts[later]
            shorter = min(track.notes.duration_ticks[earlier], track.notes.duration_ticks[later])
            if pitches[earlier] != pitches[later] and (2 * together > shorter or starts[earlier] == starts[later]):
                bar = _bar_of(score.meters, score.ticks_per_quarter, int(starts[later]))
                raise InputError(
                    f"{argument} must sing one note at a time, but in track {track.name!r} pitches {pitches[earlier]} "
                    f"and {pitches[later]} sound together in bar {bar}; choose another track, or take the other "
                    "notes out"
                )
            if ends[earlier] <= starts[later] and later - earlier > N_VOICES:
                break


def _bar_of(meters: Meters, ticks_per_quarter: int, tick: int) -> int:
    return len(bar_lines(meters, ticks_per_quarter, tick + 1))


def bar_lines(meters: Meters, ticks_per_quarter: int, end_ticks: int) -> NDArray[np.int64]:
    """Returns the tick at which each bar begins, of those that begin before `end_ticks`."""
    return bar_starts_ticks(meters.start_ticks, meters.numerator, meters.denominator, ticks_per_quarter, end_ticks)


def steps_before(score: Score) -> int:
    """Returns how many sixteenths, 0 to 3, must stand before tick 0 for the bars of a score to begin on beats.

    After a pick-up of an eighth all bar lines lie between beats that are counted from tick 0.
    """
    lines = bar_lines(score.meters, score.ticks_per_quarter, score.end_ticks + 1)
    lines = lines[1:] if len(lines) > 1 and len(score.meters) > 1 else lines  # behind a pick-up
    sixteenths = ticks_to_steps(lines, score.ticks_per_quarter)
    return int(np.bincount(-sixteenths % STEPS_PER_BEAT, minlength=STEPS_PER_BEAT).argmax())


def places_of(score: Score, n_steps: int, n_before: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns for each sixteenth (T,) how many have passed since its bar began, and how long the bar is.

    A first bar that is shorter than the second is a pick-up: its places count toward the end of a whole bar.

    Args:
        score: with the meters.
        n_steps: T.
        n_before: how many of them are before tick 0.
    """
    end_ticks = -(-n_steps * score.ticks_per_quarter // STEPS_PER_BEAT)
    longest = 4 * score.ticks_per_quarter * int(score.meters.numerator.max())  # no bar reaches further
    lines = bar_lines(score.meters, score.ticks_per_quarter, end_ticks + longest + 1)
    lines = ticks_to_steps(lines, score.ticks_per_quarter)
    steps = np.arange(n_steps) - n_before
    bar = np.maximum(np.searchsorted(lines, steps, side="right") - 1, 0)
    lengths = np.maximum(np.diff(lines, append=lines[-1] + 4 * STEPS_PER_BEAT), 1)
    places = steps - lines[bar]
    if len(lengths) > 1 and lengths[0] < lengths[1]:
        places = places + np.where(bar == 0, lengths[1] - lengths[0], 0)
        lengths = np.append(lengths[1], lengths[1:])
    return places % lengths[bar], lengths[bar]


# --- Grids to notes


def notes_of(
    pitches: NDArray[np.int64],
    begins: NDArray[np.bool_],
    ticks_per_quarter: int,
    velocities: NDArray[np.integer] | int = 80,
) -> Notes:
    """Returns the notes of one voice.

    Args:
        pitches: (T,) MIDI pitches, with SILENCE.
        begins: (T,) where a note begins, if it sounds; a change of pitch begins one always.
        ticks_per_quarter: of the score, 4 or more.
        velocities: (T,) of a note that begins there, 1 to 127, or one for all.
    """
    sounds = pitches != SILENCE
    changed = np.diff(pitches, prepend=SILENCE) != 0
    first = np.flatnonzero(sounds & (begins | changed))
    # A note lasts until the next one or the next silence.
    stops = np.flatnonzero(np.append((sounds & begins) | changed, True))
    last = stops[np.searchsorted(stops, first, side="right")]
    start, end = step_ticks(first, ticks_per_quarter), step_ticks(last, ticks_per_quarter)
    return Notes(start, end - start, pitches[first], np.broadcast_to(velocities, pitches.shape)[first])


def onsets_of(grid: Grid) -> Mask:
    """Returns where a note must begin (T, V): at a pitch that was not there a sixteenth before."""
    return (grid != SILENCE) & (np.diff(grid, axis=0, prepend=np.full((1, grid.shape[1]), SILENCE)) != 0)


def only(notes: Notes, spans: Sequence[tuple[int, int]]) -> Notes:
    """Returns what is inside of spans of ticks of notes: cut at their edges, and gone where nothing is left."""
    rows = [
        (max(note.start_ticks, first), min(note.end_ticks, last) - max(note.start_ticks, first), *note[2:])
        for note in notes
        for first, last in spans
        if max(note.start_ticks, first) < min(note.end_ticks, last)
    ]
    return Notes(*zip(*rows, strict=True)) if rows else Notes()
