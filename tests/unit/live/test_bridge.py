import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.api.harmonizing import chorale
from musegen.errors import InputError, MusegenError, ScoreFileError
from musegen.live import bridge
from musegen.live.bridge import answer
from musegen.midi.score import Score


@pytest.fixture(scope="module")
def given_score(tmp_path_factory) -> Score:
    path = tmp_path_factory.mktemp("bridge") / "chorale.mid"
    chorale(bars=2, key="G", seed=1, passes=4, candidates=1).write(path)
    return Score.read(path)


@pytest.fixture(scope="module")
def fragment(given_score, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("bridge") / "fragment.mid"
    given_score.write(path)
    return path.read_bytes()


@pytest.fixture
def asked(fragment, tmp_path):
    def ask(**wishes) -> Score:
        path = tmp_path / "answer"
        path.write_bytes(answer(fragment, wishes))
        return Score.read(path)

    return ask


def rows(score, *tracks):
    return [list(score.tracks[track].notes) for track in tracks or range(len(score.tracks))]


def test_a_fragment_is_continued_and_stays(asked, given_score):
    longer = asked(verb="continue", bars=1, seed=1)
    for before, after in zip(given_score.tracks, longer.tracks, strict=False):
        assert list(after.notes)[: len(before.notes)] == list(before.notes)
    assert longer.end_ticks > given_score.end_ticks


def test_a_voice_is_restored_and_nothing_else(asked, given_score):
    found = asked(verb="infill", bars="2-2", voices="alto", passes="2", seed="3")
    assert rows(found, 0, 2, 3) == rows(given_score, 0, 2, 3)
    second = given_score.ticks_per_quarter * 4
    assert [n for n in found.tracks[1].notes if n.start_ticks < second] == [
        n for n in given_score.tracks[1].notes if n.start_ticks < second
    ]


def test_a_melody_is_harmonized_as_notation(fragment):
    found = answer(
        fragment, {"verb": "harmonize", "track": 1, "passes": 2, "format": "musicxml", "instruments": "organ"}
    )
    assert found.startswith(b"<?xml")
    assert found.count(b"<score-part ") >= 1


def test_an_answer_as_notes_has_a_line_for_each(fragment, asked, given_score):
    lines = answer(fragment, {"verb": "continue", "bars": 1, "seed": 1, "format": "notes"}).decode().splitlines()
    longer = asked(verb="continue", bars=1, seed=1)
    assert len(lines) == longer.n_notes
    first = given_score.tracks[0].notes[0]
    quarters = (first.start_ticks / 480, first.duration_ticks / 480)
    assert lines[0] == f"1 {first.pitch} {first.velocity} {quarters[0]:.6f} {quarters[1]:.6f}"


def test_json_and_the_texts_of_a_query_say_the_same(fragment):
    as_json = {
        "verb": "infill",
        "bars": [1, 2],
        "voices": ["tenor", "bass"],
        "seed": 5,
        "passes": 2,
        "temperature": 0.9,
    }
    as_text = {
        "verb": "infill",
        "bars": "1-2",
        "voices": "tenor, bass",
        "seed": "5",
        "passes": "2",
        "temperature": "0.9",
    }
    assert answer(fragment, as_json) == answer(fragment, as_text)


def test_locked_notes_come_back_or_are_refused(asked, given_score):
    soprano, alto = (list(given_score.tracks[place].notes)[-1] for place in (0, 1))
    locked = [[1, int(soprano.start_ticks), int(soprano.pitch)]]
    found = asked(verb="infill", bars="2", voices="alto", passes=2, locked=locked)
    assert soprano in list(found.tracks[0].notes)
    with pytest.raises(InputError, match="which would be written anew"):
        for seed in range(20):  # a note that is drawn again may be the same by chance
            asked(
                verb="infill",
                bars="2",
                voices="alto",
                passes=2,
                seed=seed,
                locked=[[2, int(alto.start_ticks), int(alto.pitch)]],
            )


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({}, "verb is missing; allowed are continue, infill, harmonize"),
        ({"verb": "compose"}, "unknown verb 'compose'"),
        ({"verb": "continue", "mood": "glad"}, "'mood' is no wish of continue"),
        ({"verb": "harmonize", "bars": 2}, "'bars' is no wish of harmonize"),
        ({"verb": "continue", "format": "wav"}, "unknown format 'wav'"),
        ({"verb": "continue", "bars": "two"}, "bars is 'two'; allowed are whole numbers"),
        ({"verb": "continue", "bars": True}, "bars is True"),
        ({"verb": "continue", "bars": "--3"}, "bars is '--3'; allowed are whole numbers"),
        ({"verb": "continue", "bars": "²"}, "bars is '²'; allowed are whole numbers"),
        ({"verb": "continue", "locked": "[" * 100_000}, "locked must be a list"),
        ({"verb": "continue", "temperature": "hot"}, "temperature is 'hot'"),
        ({"verb": "continue", "temperature": float("nan")}, "temperature is nan"),
        ({"verb": "continue", "only_new": "perhaps"}, "only_new is 'perhaps'"),
        ({"verb": "continue", "composer": 3}, "composer is 3"),
        ({"verb": "continue", "composer": "nobody"}, "unknown composer"),
        ({"verb": "infill", "bars": "1-2-3"}, "bars is '1-2-3'; allowed are such as 3-4"),
        ({"verb": "infill", "voices": []}, "voices is"),
        ({"verb": "continue", "locked": "no"}, "locked must be a list"),
        ({"verb": "continue", "locked": [[1, 2]]}, "locked must be a list"),
        ({"verb": "continue", "locked": [[9, 0, 60]]}, "score has no such note"),
        ({"verb": "continue", "locked": [[1, 1, 60]]}, "score has no such note"),
    ],
)
def test_what_cannot_be_is_refused(fragment, wishes, said):
    with pytest.raises(InputError, match=said):
        answer(fragment, wishes)


def test_a_fragment_that_is_none_is_refused_without_a_path_of_this_computer():
    with pytest.raises(ScoreFileError, match=r"^score: is not music"):
        answer(b"not music", {"verb": "harmonize"})
    with pytest.raises(InputError, match="allowed are 4,194,304"):
        answer(bytes(bridge.MAX_BYTES + 1), {"verb": "harmonize"})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4),
)
names = st.sampled_from(["format", "locked", "bars", "voices", "seed", "track", "composer", "temperature", "key"])


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: b"MThd\x00\x00\x00\x06\x00\x01" + tail),
    verb=st.sampled_from(["continue", "infill", "harmonize"]),
    wishes=st.dictionaries(names, values, max_size=4),
)
def test_whatever_comes_only_errors_of_musegen_s_own_escape(data, verb, wishes):
    with pytest.raises(MusegenError):
        answer(data, {"verb": verb, **wishes})


def test_bars_of_a_track_are_filled_in_by_a_muse(asked, given_score, tiny_muse, monkeypatch):
    monkeypatch.setattr("musegen.api.infilling.DEFAULT_MODEL", tiny_muse)
    found = asked(verb="infill", bars="2", tracks="2", density="low", seed="1")
    assert rows(found, 0, 2, 3) == rows(given_score, 0, 2, 3) and rows(found, 1) != rows(given_score, 1)
    more = asked(verb="infill", add="violin", tracks=[3], seed=1)
    assert len(more.tracks) == 5 and rows(more, 0, 1, 3) == rows(given_score, 0, 1, 3)
    with pytest.raises(InputError, match="tracks is 5; allowed are lists"):
        asked(verb="infill", tracks=5)


@pytest.mark.parametrize("wishes", [{"verb": "x" * 10_000}, {"verb": "continue", "bars": "y" * 10_000}])
def test_a_long_wish_is_not_told_whole(fragment, wishes):
    with pytest.raises(InputError) as refused:
        answer(fragment, wishes)
    assert len(str(refused.value)) < 300
