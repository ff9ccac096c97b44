"""Chorales from music21: what is kept, what is refused, and which is which."""

from pathlib import Path

import numpy as np
import pytest
from music21 import expressions, meter, note, stream, tie

from musegen.errors import DataError
from musegen.music import chorale_corpus as c
from musegen.music.chorales import SILENCE


def write_score(path: Path, names: tuple[str, ...] = ("Soprano", "Alto", "Tenor", "Bass"), lowest: int = 48) -> Path:
    """Three beats in 3/4 after a pick-up of one: a tied note, a repeated one, a rest, a fermata."""
    score = stream.Score()
    for index, name in enumerate(names):
        part = stream.Part(id=name)
        part.partName = name
        pick_up, bar = stream.Measure(number=0), stream.Measure(number=1)
        pick_up.append(meter.TimeSignature("3/4"))
        pick_up.paddingLeft = 2.0
        pitch = lowest + 5 * (3 - index)
        notes = [note.Note(pitch, quarterLength=length) for length in (1, 1, 0.5, 0.5)]
        notes[0].tie, notes[1].tie = tie.Tie("start"), tie.Tie("stop")
        notes[3].expressions.append(expressions.Fermata())
        pick_up.append(notes[0])
        bar.append([notes[1], notes[2], note.Rest(quarterLength=1) if index == 1 else notes[3]])
        part.append([pick_up, bar])
        score.insert(0, part)
    score.write("musicxml", path)
    return path


def test_what_a_chorale_holds(tmp_path: Path):
    chorale = c.parse_chorale(write_score(tmp_path / "bwv0.musicxml"))
    assert chorale.name == "bwv0"
    soprano, alto = chorale.grid[:, 0].tolist(), chorale.grid[:, 1].tolist()
    assert soprano[:12] == [63] * 12 and alto[:14] == [58] * 10 + [SILENCE] * 4
    assert chorale.onsets[:12, 0].nonzero()[0].tolist() == [0, 8, 10]  # not where the tie ends
    assert chorale.fermatas[:12, 0].nonzero()[0].tolist() == [10, 11] and not chorale.fermatas[:, 1].any()
    assert chorale.places[:12].tolist() == [8, 9, 10, 11, *range(8)] and set(chorale.bars) == {12}


def test_what_is_no_chorale_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="must be parts named soprano, alto, tenor, bass, got Soprano, Alto"):
        c.parse_chorale(write_score(tmp_path / "a.musicxml", ("Soprano", "Alto")))
    with pytest.raises(DataError, match="36 to 81"):
        c.parse_chorale(write_score(tmp_path / "b.musicxml", lowest=30))


def test_a_folder_is_read_again_as_it_was_written(tmp_path: Path):
    files = [write_score(tmp_path / "a.musicxml"), write_score(tmp_path / "b.musicxml", ("Soprano",))]
    corpus = c.prepare_chorales(tmp_path / "out", files, n_workers=1)
    assert corpus.names == ["a"] and len(corpus) == 1 and len(corpus.shards.failures) == 1
    found, expected = c.ChoraleCorpus(tmp_path / "out")[0], c.parse_chorale(files[0])
    for name in ("grid", "onsets", "fermatas", "places", "bars"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert (found.sharps, found.tonic, found.mode) == (expected.sharps, expected.tonic, expected.mode)


def test_the_corpus_of_music21_is_there():
    files = c.music21_chorales()
    assert len(files) > 400
    chorale = c.parse_chorale(next(file for file in files if file.stem == "bwv10.7"))
    assert len(chorale.grid) == len(chorale.places) and chorale.grid[0].tolist() == [74, 67, 58, 55]
    assert (chorale.sharps, chorale.tonic, chorale.mode) == (-2, 7, "minor")


@pytest.mark.parametrize(("tonic", "mode", "scale"), [(0, "major", "024579b"), (9, "minor", "9b02458")])
def test_keys(tonic: int, mode: str, scale: str):
    pitches = [60 + int(degree, 16) for degree in scale]
    grid = np.array([[pitch] * 4 for pitch in [*pitches, *[pitches[0]] * 3, pitches[2], pitches[4]]])
    assert c.find_key(grid) == (tonic, mode)
    assert c.find_key(grid + 3) == ((tonic + 3) % 12, mode)
    assert c.find_key(np.full((3, 4), SILENCE)) == (0, "major")


def test_pieces_are_matched_whatever_their_key_and_rhythm():
    rng = np.random.default_rng(0)
    pieces = {f"bwv{n}": rng.integers(50, 70, (60, 4)) for n in range(5)}
    slower = np.repeat(pieces["bwv3"] + 2, 2, axis=0)
    slip = pieces["bwv1"].copy()
    slip[30] += 1
    pieces["bwv1-transposed"] = pieces["bwv1"] - 5
    found = c.match_splits({"train": [slower, rng.integers(50, 70, (60, 4))], "valid": [slip]}, pieces.items())
    assert found == {"train": ["bwv3", ""], "valid": ["bwv1"]}
