"""The patterns: their masks, read by eye, and their settings."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegen.core.sparsity import Dense, Fixed, Pattern, Strided, parse
from musegen.errors import InputError, UnknownNameError

patterns = st.one_of(
    st.just(Dense()),
    st.integers(2, 9).flatmap(lambda block: st.builds(Fixed, st.just(block), st.integers(1, block - 1))),
    st.builds(Strided, st.integers(1, 9)),
)


def picture(pattern: Pattern, kind: int, n_positions: int) -> list[str]:
    return ["".join(".x"[seen] for seen in row) for row in pattern.kinds[kind].mask(n_positions).tolist()]


def test_fixed_masks():
    assert picture(Fixed(block=4, n_summary=1), 0, 9) == [
        "x........",
        "xx.......",
        "xxx......",
        "xxxx.....",
        "....x....",
        "....xx...",
        "....xxx..",
        "....xxxx.",
        "........x",
    ]
    assert picture(Fixed(block=4, n_summary=1), 1, 9) == [
        "x........",
        "x........",
        "x........",
        "x........",
        "x..x.....",
        "x..x.....",
        "x..x.....",
        "x..x.....",
        "x..x...x.",
    ]


def test_strided_masks():
    assert picture(Strided(stride=3), 0, 6) == ["x.....", "xx....", "xxx...", ".xxx..", "..xxx.", "...xxx"]
    assert picture(Strided(stride=3), 1, 6) == ["x.....", ".x....", "..x...", "x..x..", ".x..x.", "..x..x"]


@given(patterns, st.integers(1, 40))
def test_masks_are_causal_and_never_empty(pattern: Pattern, n_positions: int):
    for kind in pattern.kinds:
        mask = kind.mask(n_positions)
        assert not mask.triu(1).any()
        assert mask.any(1).all()


@given(st.integers(3, 9))
def test_every_position_is_reached_in_two_layers(size: int):
    # Child et al. 2019, section 4.2: strided heads connect all positions in two steps.
    n_positions = 5 * size
    local, far = (kind.mask(n_positions).float() for kind in Strided(size).kinds)
    assert ((local @ far) > 0).equal(torch.ones(n_positions, n_positions, dtype=torch.bool).tril())


@given(patterns, st.integers(1, 60))
def test_cache_holds_what_the_mask_shows(pattern: Pattern, max_positions: int):
    """The slots, on paper: after each position, the visible slots hold exactly the positions that the mask shows."""
    for kind in pattern.kinds:
        n_slots = kind.n_slots(max_positions)
        held: dict[tuple[int, int], int] = {}
        mask = kind.mask(max_positions)
        for i in range(max_positions):
            position = torch.tensor([i])
            lane = int(kind.lane(position))
            assert 0 <= lane < kind.n_lanes
            assert 0 <= int(kind.slot(position, n_slots)) < n_slots
            held[lane, int(kind.slot(position, n_slots))] = i
            slots = kind.visible(position, n_slots)[0].nonzero().flatten().tolist()
            seen = sorted(held[lane, slot] for slot in slots)
            assert seen == mask[i].nonzero().flatten().tolist()
            kept = kind.kept(i + 1)
            places = list(zip(kind.lane(kept).tolist(), kind.slot(kept, n_slots).tolist(), strict=True))
            assert len(set(places)) == len(places)


def test_parse():
    assert parse("dense") == Dense()
    assert parse("dense", causal=False) == Dense(causal=False)
    assert parse("fixed", block=64, n_summary=4) == Fixed(64, 4)
    assert parse("strided", stride=16) == Strided(16)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fixed", {"stride": 3}, "the fixed pattern has the settings block, n_summary; got stride"),
        ("fixed", {"block": 8, "n_summary": 8}, "n_summary must be between 1 and block - 1 = 7, got 8"),
        ("fixed", {"block": 8, "n_summary": 0}, "n_summary must be between 1 and"),
        ("strided", {"stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_bad_settings(name: str, settings: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        parse(name, **settings)


def test_unknown_pattern():
    with pytest.raises(UnknownNameError, match="fixed"):
        parse("fixd")


@pytest.mark.parametrize("n_positions", [100, 256, 700])
def test_causal_attention_in_bfloat16_is_that_of_float32(n_positions):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, n_positions, 2, 16).unbind()
    exact = Dense().kinds[0].attend(q, k, v)
    rough = Dense().kinds[0].attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    torch.testing.assert_close(rough.float(), exact, atol=0.05, rtol=0.05)
