import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from musegen.midi.instruments import class_of
from musegen.midi.score import Controls as Controllers
from musegen.midi.score import Meters, Notes, PitchBends, Programs, Score, Track
from musegen.music.continuation import FreeTime, completed, extended, next_bar_line, on_grid, tail
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, GridScore
from musegen.music.tokenizer import Controls


def read_again(score: Score, tmp_path_factory) -> Score:
    path = tmp_path_factory.getbasetemp() / "written.mid"
    score.write(path)
    return Score.read(path)


def joined(first: GridScore, second: GridScore) -> GridScore:
    return GridScore(
        np.concatenate([first.meters, second.meters]),
        np.concatenate([first.tempos, second.tempos]),
        np.concatenate([first.notes, second.notes + np.array([first.n_ticks, 0, 0, 0, 0])]),
    )


@given(st.from_type(Score), st.from_type(GridScore))
@settings(max_examples=60)
def test_any_score_stays_and_is_told_apart_from_any_new_bars(tmp_path_factory, score: Score, new: GridScore):
    assume(score.n_notes and new.n_bars)
    score = read_again(score, tmp_path_factory)
    grid = on_grid(score)
    new = GridScore(new.meters, new.tempos, new.notes[new.notes[:, ONSET] + new.notes[:, DURATION] <= new.n_ticks])
    assume(len(grid.notes))
    start = next_bar_line(score, grid)
    longer = extended(score, grid, joined(grid, new), tempo=None)
    again = read_again(longer, tmp_path_factory)
    assert again == longer or longer.n_notes == score.n_notes
    end = start + max(round(new.n_ticks * score.ticks_per_quarter / 24), 1)
    for old, track in zip(score.tracks, longer.tracks, strict=False):
        assert (track.name, track.program, track.is_drum) == (old.name, old.program, old.is_drum)
        is_new = track.notes.start_ticks >= start
        assert track.notes[~is_new] == old.notes
    for track in longer.tracks:
        notes = track.notes[track.notes.start_ticks >= start]
        assert (notes.start_ticks < end).all()
        assert track.is_drum or (notes.end_ticks <= end).all()
    playing = {class_of(track.program, track.is_drum) for track in tail(longer, start).tracks}
    assert playing <= set(new.notes[:, INSTRUMENT].tolist())


def test_a_bar_that_is_cut_short_off_the_grid_ends_on_the_bar_line_of_the_score():
    notes = Notes([0, 1220], [480, 480], [60, 60], [70, 70])
    score = Score(480, (Track("", 0, False, notes),), meters=Meters([0, 1220], [4, 3], [4, 4]))
    grid = on_grid(score)
    assert grid.n_ticks * 20 == 2640
    assert next_bar_line(score, grid) == 2660


def test_what_is_not_asked_for_is_as_in_the_prompt():
    from musegen.music import vocabulary as v

    pitches = [67, 71, 74, 67, 66, 69, 62, 67, 71, 74, 67, 67]
    notes = Notes(480 * np.arange(12), np.full(12, 480), pitches, np.full(12, 70))
    score = Score(480, (Track("", 40, False, notes),), meters=Meters([0], [3], [4]))
    grid = on_grid(score)
    controls = completed(Controls(style=4), score, grid, next_bar_line(score, grid))
    meter, tempo, key = v.meter_index("3/4"), v.tempo_level(120), v.key_index("G")
    assert controls == Controls(4, grid.instruments, key, tempo, meter, v.DENSITIES.index("low"))
    asked = Controls(None, (3,), v.key_index("a"), v.tempo_level(60), v.meter_index("4/4"), v.DENSITIES.index("high"))
    assert completed(asked, score, grid, 0) == asked


def four_quarters(**more) -> Track:
    return Track("", 0, False, Notes(480 * np.arange(4), np.full(4, 480), [60, 62, 64, 65], np.full(4, 70)), **more)


def continued(*tracks: Track) -> tuple[Track, ...]:
    """The tracks with a bar behind theirs in which a piano plays middle C."""
    score = Score(480, tracks)
    grid = on_grid(score)
    new = GridScore(np.array([grid.meters[0]]), np.array([grid.tempos[0]]), np.array([[0, 0, 60, 24, 4]]))
    return extended(score, grid, joined(grid, new), tempo=None).tracks


def test_a_fade_out_and_pedals_are_let_go_and_what_is_soft_stays_soft():
    faded = [(0, 7, 100), (1500, 7, 20), (1600, 7, 0), (0, 11, 60), (1700, 11, 40), (900, 66, 127), (900, 69, 64)]
    own = Controllers(*zip(*faded, strict=True))
    pedal = Track("pedal of the same channel", 0, False, Notes(), Controllers([0], [64], [127]))
    [piano, other] = continued(four_quarters(controls=own), pedal)
    assert [event for event in piano.controls if event not in list(own)] == [
        (1920, 66, 0),
        (1920, 69, 0),
        (1920, 7, 100),
    ]
    assert piano.controls[: len(own)] == own
    assert list(other.controls) == [(0, 64, 127), (1920, 64, 0)]


def test_what_tracks_have_behind_the_last_bar_was_for_other_music():
    late = Controllers([1900, 2100, 2500], [64, 64, 7], [127, 0, 0])
    bends, programs = PitchBends([100, 3000], [0, 4000]), Programs([0, 1920], [0, 40])
    [piano] = continued(four_quarters(controls=late, pitch_bends=bends, programs=programs))
    assert list(piano.controls) == [(1900, 64, 127), (2100, 64, 0)]
    assert list(piano.pitch_bends) == [(100, 0)] and list(piano.programs or ()) == [(0, 0)]
    assert list(piano.notes)[4:] == [(1920, 480, 60, 70)]


def test_tracks_go_on_as_what_they_are_at_the_end():
    changed = four_quarters(programs=Programs([0, 960], [0, 40]))
    score = Score(480, (changed,))
    grid = on_grid(score)
    [violin] = completed(Controls(), score, grid, 1920).instruments
    assert violin == class_of(40, is_drum=False) and len(grid.instruments) == 2


@given(st.from_type(Score), st.from_type(GridScore))
@settings(max_examples=40)
def test_music_in_free_time_goes_on_by_the_clock(score: Score, new: GridScore):
    assume(score.n_notes and new.n_bars)
    free = FreeTime.of(score)
    grid = on_grid(free.clocked)
    assume(len(grid.notes))
    start = next_bar_line(free.clocked, grid)
    longer = extended(free.clocked, grid, joined(grid, new), tempo=None)
    found = free.back(longer, start)
    first = int(free.ticks(np.array([start]))[0])
    assert (found.tempos, found.meters) == (score.tempos, score.meters)
    for old, track in zip(score.tracks, found.tracks, strict=False):
        assert set(old.notes) <= set(track.notes) and track.program == old.program
    at = [
        (found.seconds_at(note.start_ticks) - found.seconds_at(first), note.pitch)
        for old, track in zip((*score.tracks, *[None] * 99), found.tracks, strict=False)
        for note in sorted(set(track.notes) - set(old.notes if old else ()))
    ]
    wanted = [
        ((note.start_ticks - start) / 960, note.pitch)
        for track in longer.tracks
        for note in track.notes
        if note.start_ticks >= start
    ]
    # A tick of the slowest tempo may be long, and notes that begin or end on one tick merge.
    tick = float(np.max(score.tempos.us_per_quarter)) / 1e6 / score.ticks_per_quarter
    for seconds, pitch in at:
        assert any(pitch == other and abs(seconds - when) <= 2 * tick + 0.002 for when, other in wanted)
    ends = [t.notes.start_ticks if t.is_drum else t.notes.end_ticks for t in score.tracks]
    assert abs(found.seconds_at(first) - score.seconds_at(int(np.concatenate(ends).max()))) <= 2 + 2 * tick + 0.002
