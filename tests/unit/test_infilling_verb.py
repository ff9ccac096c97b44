"""The verb that fills in: what it takes, which model it picks, and what it refuses."""

import re
from dataclasses import replace

import pytest

from musegen import api, registry
from musegen.api import infilling
from musegen.errors import InputError
from musegen.midi.score import Notes, Score, Text, Track


def band() -> Score:
    names = [("Lead", 0, False), ("Bass", 33, False), ("Kit", 0, True)]
    notes = Notes([480 * k for k in range(32)], [480] * 32, [60] * 32, [80] * 32)
    return Score(480, tuple(Track(name, program, is_drum, notes) for name, program, is_drum in names))


def changed(score: Score, found: Score) -> list[int]:
    return [place for place, (a, b) in enumerate(zip(score.tracks, found.tracks, strict=False), 1) if a != b]


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [(["bass"], [2]), (["2"], [2]), ([1], [1]), (["drums"], [3]), (["Lead", 3], [1, 3]), (None, [1, 2, 3])],
)
def test_tracks_are_named_by_number_name_or_instrument(tiny_muse: str, tracks, expected: list[int]):
    score = band()
    found = api.infill(score, bars=(3, 4), tracks=tracks, seed=1, model=tiny_muse)
    assert changed(score, found) == expected
    for old, new in zip(score.tracks, found.tracks, strict=True):
        assert any(3840 <= note.start_ticks < 7680 for note in new.notes)
        outside = [note for note in old.notes if not 3840 <= note.start_ticks < 7680]
        assert set(outside) <= set(new.notes)


@pytest.mark.parametrize(
    ("name", "program", "track", "expected"),
    [
        ("", 33, "bass", [2]),
        ("Fingered Bass", 33, "BASS", [2]),
        ("Low", 34, "electric", [2]),
        ("Guitar (lead)", 27, "lead", [1]),
        ("Guitar (solo)", 27, "solo", [2]),
        ("Violin I", 0, "violin", [2]),
    ],
)
def test_tracks_are_named_by_a_word(name: str, program: int, track: str, expected: list[int]):
    lead, bass, kit = band().tracks
    score = replace(band(), tracks=(lead, replace(bass, name=name, program=program), kit))
    assert [place + 1 for place in infilling._tracks(score, [track]) or ()] == expected
    bassoon = replace(score, tracks=(lead, replace(bass, name="Bassoon", program=70), kit))
    with pytest.raises(InputError, match="unknown track 'bass'"):
        infilling._tracks(bassoon, ["bass"])


@pytest.mark.parametrize("tracks", [None, ["piano"]])
def test_tracks_of_texts_stay_so(tiny_muse: str, tracks):
    words = [Track("Copyright", 0, False, Notes(), texts=(Text(0, "by me"),)) for _ in range(9)]
    score = replace(band(), tracks=(*words, *band().tracks))
    for seed in range(3):
        found = api.infill(score, bars=(2, 5), tracks=tracks, seed=seed, model=tiny_muse)
        assert found.tracks[:9] == score.tracks[:9] and found.tracks[9] != score.tracks[9]
    assert len(api.infill(score, tracks=[1], seed=1, model=tiny_muse).tracks[0].notes)


def test_the_same_seed_gives_the_same_and_the_text_says_how(tiny_muse: str):
    one, two = (api.infill(band(), bars=(2, 2), tracks=["Lead"], seed=5, model=tiny_muse) for _ in range(2))
    assert one == two
    assert one.texts[-1].text.startswith("musegen infill score.mid --bars 2-2 --tracks Lead")
    assert one != api.infill(band(), bars=(2, 2), tracks=["Lead"], seed=6, model=tiny_muse)


def test_an_instrument_is_added_as_a_track(tiny_muse: str):
    score, done = band(), []
    found = api.infill(score, add=["violin"], seed=1, model=tiny_muse, on_progress=lambda n, of: done.append((n, of)))
    assert found.tracks[:3] == score.tracks
    assert found.tracks[3].name == "violin" and len(found.tracks[3].notes)
    assert done[-1] == (8, 8) and [n for n, _ in done] == sorted(n for n, _ in done)


def test_of_candidates_the_likeliest_is_kept(tiny_muse: str):
    options = {"bars": (2, 3), "tracks": ["Lead"], "model": tiny_muse, "seed": 3}
    found = api.infill(band(), candidates=4, **options)
    assert changed(band(), found) == [1]
    assert found == api.infill(band(), candidates=4, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "bars is missing; name bars, tracks or an instrument to add"),
        ({"tracks": ["oboe"]}, "unknown track 'oboe'; known: 1 (Lead), 2 (Bass), 3 (Kit)"),
        ({"tracks": [4]}, "unknown track '4'"),
        ({"tracks": "Lead"}, "tracks is 'Lead'; allowed are lists"),
        ({"add": "violin"}, "add is 'violin'; allowed are lists"),
        ({"add": ["kazoo"]}, "unknown instrument 'kazoo'"),
        ({"add": ["violin", "flute", "Violin"]}, "add names violin twice; allowed is once each"),
        ({"bars": (3, 99)}, "bars is 3-99; allowed are bars from 1 to 8"),
        ({"bars": (1, 2), "passes": 3}, "passes is 3, which muse-tiny does not take"),
        ({"bars": (1, 2), "candidates": 0}, "candidates is 0"),
        ({"bars": (1, 2), "temperature": -1}, "temperature is -1"),
    ],
)
def test_what_is_refused(tiny_muse: str, options: dict, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        api.infill(band(), **options, model=tiny_muse)


def test_a_name_with_a_comma_is_written_down_as_a_number(tiny_muse: str):
    lead, *others = band().tracks
    score = replace(band(), tracks=(replace(lead, name="Lead, high"), *others))
    found = api.infill(score, bars=(2, 2), tracks=["lead, high"], seed=5, model=tiny_muse)
    assert " --tracks 1 " in found.texts[-1].text
    assert found == api.infill(score, bars=(2, 2), tracks=["1"], seed=5, model=tiny_muse)


def test_muse_is_the_muse_that_ships_unless_a_model_has_that_name(tiny_muse: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(infilling, "DEFAULT_MODEL", tiny_muse)
    options = {"bars": (2, 2), "tracks": ["Lead"], "seed": 5}
    assert api.infill(band(), **options, model="muse") == api.infill(band(), **options, model=tiny_muse)
    folders = registry.checkpoint_folders()
    monkeypatch.setattr(registry, "checkpoint_folders", lambda: {**folders, "muse": folders["coconet"]})
    with pytest.raises(InputError, match="which muse does not take"):
        api.infill(band(), **options, model="muse")


def test_coconet_takes_no_tracks():
    with pytest.raises(InputError, match=r"tracks is .*, which coconet does not take"):
        api.infill(band(), tracks=["Lead"], model="coconet")
