"""What hypothesis makes of a `Score`: `st.from_type(Score)` in any test of this folder."""

from hypothesis import strategies as st

from musegen.midi.score import (
    DRUM_CHANNEL,
    Controls,
    KeyPressures,
    Keys,
    Meters,
    Notes,
    PitchBends,
    Pressures,
    Programs,
    Score,
    Tempos,
    Text,
    TextKind,
    Track,
)

LAST_TICKS = 3000
data_bytes = st.integers(0, 127)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def notes(draw) -> Notes:
    """Notes that MIDI can tell apart: of equal pitches, the one that starts first ends first."""
    rows: list[tuple[int, int, int, int]] = []
    for pitch in draw(st.lists(data_bytes, max_size=3, unique=True)):
        start_ticks = end_ticks = draw(st.integers(0, 1000))
        for step, stay, velocity in draw(
            st.lists(st.tuples(st.integers(1, 90), st.integers(0, 90), st.integers(1, 127)), max_size=4)
        ):
            start_ticks += step
            end_ticks = max(end_ticks, start_ticks) + 1 + stay
            rows.append((start_ticks, end_ticks - start_ticks, pitch, velocity))
    return Notes(*zip(*rows, strict=True)) if rows else Notes()


def events(kind, *values, max_size=4):
    rows = st.lists(st.tuples(st.integers(0, LAST_TICKS), *values), max_size=max_size)
    return rows.map(lambda rows: kind(*zip(*rows, strict=True)) if rows else kind())


text_kinds = st.sampled_from([kind for kind in TextKind if kind is not TextKind.NAME])
text_events = st.lists(st.builds(Text, st.integers(0, LAST_TICKS), texts.filter(bool), text_kinds), max_size=3).map(
    tuple
)


@st.composite
def tracks(draw) -> Track:
    programs = draw(st.none() | events(Programs, data_bytes).filter(len))
    is_drum = draw(st.booleans())
    channels = st.just(DRUM_CHANNEL) if is_drum else st.integers(0, 15).filter(lambda channel: channel != DRUM_CHANNEL)
    return Track(
        name=draw(texts),
        program=draw(data_bytes) if programs is None else programs[0].program,
        is_drum=is_drum,
        notes=draw(notes()),
        controls=draw(events(Controls, data_bytes, data_bytes)),
        pitch_bends=draw(events(PitchBends, st.integers(-8192, 8191))),
        programs=programs,
        pressures=draw(events(Pressures, data_bytes, max_size=2)),
        key_pressures=draw(events(KeyPressures, data_bytes, data_bytes, max_size=2)),
        texts=draw(text_events),
        channel=draw(st.none() | channels),
    )


scores = st.builds(
    Score,
    ticks_per_quarter=st.sampled_from([1, 24, 96, 220, 480, 1001, 32767]),
    tracks=st.lists(tracks(), max_size=4).map(tuple),
    tempos=events(Tempos, st.integers(1, 0xFFFFFF)),
    meters=events(Meters, st.integers(1, 255), st.sampled_from([1, 2, 4, 8, 16, 32, 64])),
    keys=events(Keys, st.integers(-7, 7), st.booleans()),
    texts=text_events,
    name=texts,
)
st.register_type_strategy(Score, scores)
st.register_type_strategy(Track, tracks())
st.register_type_strategy(Notes, notes())
