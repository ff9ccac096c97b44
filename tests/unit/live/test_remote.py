import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegen.errors import InputError, UnknownNameError
from musegen.live.remote import VERBS, WISHES, apply, change


class Recorder:
    """A player that knows two composers, and remembers what it was asked for."""

    def __init__(self):
        self.plays = False
        self.wishes: dict[str, object] = {}

    def start(self) -> None:
        self.plays = True

    def stop(self) -> None:
        self.plays = False

    def change(self, **wishes: object) -> None:
        if wishes.get("composer") not in (None, "bach", "satie"):
            raise UnknownNameError("composer", str(wishes["composer"]), ("bach", "satie"))
        self.wishes |= wishes

    def status(self) -> dict[str, object]:
        return {"transport": "rolling" if self.plays else "stopped", "wishes": dict(self.wishes)}


@pytest.mark.parametrize(
    ("verb", "value", "taken"),
    [
        ("composer", "bach", "bach"),
        ("composer", None, None),
        ("instruments", "piano, violin", ["piano", "violin"]),
        ("instruments", ["piano", "violin"], ["piano", "violin"]),
        ("instruments", None, None),
        ("temperature", 1, 1.0),
        ("tempo", 90.5, 90.5),
        ("seed", 7.0, 7),
        ("seed", 2**63 - 1, 2**63 - 1),
        ("bars", None, None),
        ("density", "low", "low"),
        ("key", "a minor", "a minor"),
        ("meter", "3/4", "3/4"),
        ("top_p", 0.5, 0.5),
        ("guidance", 3, 3.0),
    ],
)
def test_a_wish_reaches_the_player_in_its_type(verb, value, taken):
    player = Recorder()
    status = apply(player, verb, value)
    assert player.wishes == {verb: taken}
    assert type(player.wishes[verb]) is type(taken)
    assert status == player.status()


@pytest.mark.parametrize(
    ("verb", "value", "words"),
    [
        ("composer", "", "1 to 100 characters"),
        ("composer", "x" * 101, "1 to 100 characters"),
        ("composer", "ba\nch", "1 to 100 characters"),
        ("composer", "\ud800", "1 to 100 characters"),
        ("composer", 3, "allowed is a text"),
        ("composer", "nobody", "unknown composer"),
        ("instruments", [], "names"),
        ("instruments", ["piano", 1], "text"),
        ("instruments", "piano,,violin", "text"),
        ("instruments", ["piano"] * 129, "up to 128"),
        ("instruments", ",".join(["piano"] * 129), "up to 128"),
        ("temperature", None, "number"),
        ("temperature", True, "number"),
        ("temperature", "1", "number"),
        ("temperature", math.nan, "number"),
        ("temperature", math.inf, "number"),
        ("tempo", 10**400, "number"),
        ("seed", 1.5, "whole number"),
        ("seed", 2**63, "whole number"),
        ("bars", True, "whole number"),
        ("bars", {"n": 1}, "whole number"),
        ("start", "now", "takes no value"),
        ("stop", math.nan, "takes no value"),
        ("status", [1], "takes no value"),
        ("play", None, "unknown verb 'play'"),
        ("x" * 10_000, None, "unknown verb"),
    ],
)
def test_what_is_not_usable_is_refused_in_one_line_and_changes_nothing(verb, value, words):
    player = Recorder()
    with pytest.raises(InputError, match=words) as caught:
        apply(player, verb, value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert player.status() == Recorder().status()


def test_start_and_stop_answer_to_a_button_when_it_is_pressed_but_not_when_it_is_let_go():
    player = Recorder()
    apply(player, "start", 0.0)
    assert not player.plays
    apply(player, "start", 1.0)
    assert player.plays
    apply(player, "stop", False)
    assert player.plays
    apply(player, "stop")
    assert not player.plays


def test_wishes_come_together_or_not_at_all():
    player = Recorder()
    assert change(player, {"composer": "bach", "seed": 3})["wishes"] == {"composer": "bach", "seed": 3}
    for wrong in ({"composer": "nobody"}, {"temperature": "hot"}, {"speed": 1}, {"start": None}):
        with pytest.raises(InputError):
            change(player, {"seed": 4, "bars": 8} | wrong)
    assert player.wishes == {"composer": "bach", "seed": 3}


class Wary(Recorder):
    """A player that no value of a wrong type may reach."""

    types = {
        **dict.fromkeys(("composer", "key", "meter", "density"), (str, type(None))),
        "instruments": (list, type(None)),
        "tempo": (float, type(None)),
        **dict.fromkeys(("temperature", "top_p", "guidance"), (float,)),
        **dict.fromkeys(("seed", "bars"), (int, type(None))),
    }

    def change(self, **wishes: object) -> None:
        for name, value in wishes.items():
            assert type(value) in self.types[name]
            assert not isinstance(value, float) or math.isfinite(value)
            assert not isinstance(value, list) or all(type(part) is str for part in value)
        super().change(**wishes)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(verb=st.sampled_from(tuple(VERBS)) | st.text(), value=values)
def test_whatever_comes_is_done_or_refused(verb, value):
    player = Wary()
    try:
        apply(player, verb, value)
    except InputError:
        assert player.status() == Recorder().status()
    else:
        assert verb in VERBS
        assert verb in player.wishes or verb not in WISHES


@given(st.dictionaries(st.sampled_from((*WISHES, "start", "")), values))
def test_whatever_wishes_come_are_all_done_or_none_is(wishes):
    player = Wary()
    player.change(composer="satie", bars=4)
    before = copy.deepcopy(player.wishes)
    try:
        change(player, wishes)
    except InputError:
        assert player.wishes == before
    else:
        assert player.wishes.keys() == before.keys() | wishes.keys()
