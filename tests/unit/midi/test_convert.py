"""Scores from and to the objects of other libraries, judged by those libraries and by mido's reading of the bytes."""

import io
import random
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError, ScoreFileError
from musegen.midi.convert import (
    as_score,
    from_mido,
    from_notes,
    from_pretty_midi,
    from_symusic,
    to_mido,
    to_notes,
    to_piano_roll,
    to_pretty_midi,
    to_symusic,
)
from musegen.midi.convert.through_pretty_midi import PRETTY_MIDI_MAX_TICKS
from musegen.midi.score import (
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

symusic = pytest.importorskip("symusic")
scores = st.from_type(Score)


def small_score() -> Score:
    violin = Track(
        "Violín",
        40,
        False,
        Notes([0, 480], [480, 960], [67, 69], [80, 90]),
        Controls([0, 700], [64, 64], [127, 0]),
        PitchBends([10], [-300]),
        texts=(Text(0, "là", TextKind.LYRIC), Text(480, "dolce", TextKind.TEXT)),
    )
    drums = Track("", 0, True, Notes([0, 240], [10, 10], [36, 38], [100, 1]))
    return Score(
        480,
        (violin, drums),
        Tempos([0, 480], [500_001, 333_333]),
        Meters([0], [6], [8]),
        Keys([0, 960], [-3, 1], [True, False]),
        texts=(Text(960, "B"),),
    )


# What each peer can hold ----------------------------------------------------------------------------------------------


def by_program(track: Track) -> list[Track]:
    """One part a program that sounds: notes shared out, everything else in each of them."""
    sounding = [(note, track.programs_of(np.array([note.start_ticks]))[0]) for note in track.notes]
    programs = list(dict.fromkeys(int(program) for _, program in sounding)) or [track.program]
    return [
        replace(
            track,
            program=program,
            programs=None,
            notes=Notes(*zip(*rows, strict=True))
            if (rows := [note for note, sounds in sounding if sounds == program])
            else Notes(),
            texts=track.texts if program == programs[0] else (),
        )
        for program in programs
    ]


def plain(track: Track, *kinds: TextKind) -> Track:
    """A track without what neither pretty_midi nor symusic has."""
    texts = tuple(text for text in track.texts if text.kind in kinds)
    return replace(track, pressures=Pressures(), key_pressures=KeyPressures(), channel=None, port=0, texts=texts)


def held_by_pretty_midi(score: Score) -> Score:
    texts = [*score.texts, *(text for track in score.tracks for text in track.texts)]
    texts = [text for kind in (TextKind.LYRIC, TextKind.TEXT) for text in texts if text.kind == kind]
    sharps = [{-7: 5, -6: 6, 7: -5}.get(key.sharps, key.sharps) for key in score.keys]
    return replace(
        score,
        tracks=tuple(plain(part) for track in score.tracks for part in by_program(track)),
        keys=Keys(score.keys.start_ticks, np.array(sharps, int), score.keys.is_minor),
        texts=tuple(sorted(texts, key=lambda text: text.start_ticks)),
        name="",
    )


def held_by_symusic(score: Score) -> Score:
    return replace(
        score,
        tracks=tuple(plain(part, TextKind.LYRIC) for track in score.tracks for part in by_program(track)),
        texts=tuple(text for text in score.texts if text.kind is TextKind.MARKER),
        name="",
    )


def in_order(texts) -> list[Text]:
    return sorted(texts)


# mido -----------------------------------------------------------------------------------------------------------------


def says(mid: mido.MidiFile) -> dict[str, Counter]:
    """What a MidiFile says by mido's own reading: notes first in first out, and all other messages with their ticks."""
    notes, others = Counter(), Counter()
    for track in mid.tracks:
        now, sounding = 0, defaultdict(list)
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                sounding[message.channel, message.note].append((now, message.velocity))
            elif message.type in ("note_on", "note_off"):
                start, velocity = sounding[message.channel, message.note].pop(0)
                notes[start, now, message.channel, message.note, velocity] += 1
            elif message.type == "time_signature":
                others[now, message.numerator, message.denominator] += 1
            elif message.type != "end_of_track":
                others[now, str(message.copy(time=0))] += 1
    return {"notes": notes, "others": others}


def from_defaults(said: dict[str, Counter]) -> dict[str, Counter]:
    """Leaves out what holds where nothing is said, and is the same said."""
    for default in ((0, str(mido.MetaMessage("set_tempo", tempo=500_000))), (0, 4, 4)):
        said["others"].pop(default, None)
    return said


ticks = st.integers(0, 500)
channels = st.integers(0, 15)
data_bytes = st.integers(0, 127)
# é followed by no byte of 128 to 191 is no UTF-8: what is Latin-1 stays Latin-1.
letters = st.text("aé ", min_size=1, max_size=5)
channel_messages = st.one_of(
    st.builds(
        lambda c, n, v: mido.Message("control_change", channel=c, control=n, value=v), channels, data_bytes, data_bytes
    ),
    st.builds(lambda c, p: mido.Message("program_change", channel=c, program=p), channels, data_bytes),
    st.builds(lambda c, p: mido.Message("pitchwheel", channel=c, pitch=p), channels, st.integers(-8192, 8191)),
    st.builds(lambda c, v: mido.Message("aftertouch", channel=c, value=v), channels, data_bytes),
    st.builds(lambda c, n, v: mido.Message("polytouch", channel=c, note=n, value=v), channels, data_bytes, data_bytes),
)
text_messages = st.builds(
    lambda kind, text: mido.MetaMessage(kind, **{"name" if kind == "instrument_name" else "text": text}),
    st.sampled_from(["text", "copyright", "instrument_name", "lyrics", "marker", "cue_marker"]),
    letters,
)


@st.composite
def mid_files(draw) -> mido.MidiFile:
    """A MidiFile built by hand: any type, several channels a track, texts with accents, and no end of track."""
    kind = draw(st.integers(0, 2))
    mid = mido.MidiFile(
        type=kind,
        ticks_per_beat=draw(st.integers(1, 32767)),
        charset=draw(st.sampled_from(["latin1", "utf-8", "cp1252"])),
    )
    for number in range(1 if kind == 0 else draw(st.integers(1, 3))):
        events = draw(st.lists(st.tuples(ticks, channel_messages | text_messages), max_size=6))
        for channel, pitch in draw(st.lists(st.tuples(channels, data_bytes), max_size=4, unique=True)):
            start = draw(ticks)
            for length, gap, velocity in draw(st.lists(st.tuples(*[st.integers(1, 90)] * 3), max_size=3)):
                events.append((start, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
                is_off = draw(st.booleans())
                off = mido.Message("note_off", channel=channel, note=pitch, velocity=64)
                zero = mido.Message("note_on", channel=channel, note=pitch, velocity=0)
                events.append((start + length, off if is_off else zero))
                start += length + gap
        if number == 0:
            for start in draw(st.lists(ticks, max_size=3, unique=True)):
                tempo, sharps = draw(st.integers(1, 0xFFFFFF)), draw(st.sampled_from(["Cb", "F#m", "C", "A#m"]))
                events.append((start, mido.MetaMessage("set_tempo", tempo=tempo)))
                events.append((start, mido.MetaMessage("key_signature", key=sharps)))
                events.append((start, mido.MetaMessage("time_signature", numerator=7, denominator=16)))
        track, now = mid.add_track(draw(letters)), 0
        for start, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=start - now))
            now = start
    return mid


@settings(max_examples=20, deadline=None)
@given(mid=mid_files())
def test_every_message_of_mido_goes_through_a_score(mid):
    before = [list(track) for track in mid.tracks]
    score = from_mido(mid)
    assert [list(track) for track in mid.tracks] == before
    again = to_mido(score)
    assert again.ticks_per_beat == mid.ticks_per_beat
    assert from_defaults(says(again)) == from_defaults(says(mid))


def music(score: Score) -> Score:
    """A score without what its writer chooses: channels, ports, the tracks of the file and silent tracks."""
    tracks = (replace(track, channel=None, port=0, chunk=None) for track in score.tracks)
    return replace(score, tracks=tuple(track for track in tracks if len(track.notes)))


@settings(max_examples=20, deadline=None)
@given(score=scores)
def test_a_score_goes_through_mido(score):
    mid = to_mido(score)
    again = from_mido(mid)
    assert [track.notes for track in music(again).tracks] == [track.notes for track in music(score).tracks]
    assert replace(again, tracks=()) == replace(score, tracks=())
    assert says(to_mido(again)) == says(mid)


def test_mido_built_by_hand_with_texts_beyond_its_charset():
    mid = mido.MidiFile()
    mid.add_track("笛").append(mido.Message("note_on", note=60, time=0))
    assert mid.charset == "latin1" and from_mido(mid).name == "笛"
    shift_jis = mido.MidiFile(charset="shift_jis")
    shift_jis.add_track("笛")
    assert from_mido(shift_jis).name == "笛" and from_mido(to_mido(from_mido(shift_jis))).name == "笛"


def test_mido_counting_film_frames():
    mid = mido.MidiFile(ticks_per_beat=-25 * 256 + 40)
    track = mid.add_track()
    track += [mido.Message("note_on", note=60, time=0), mido.Message("note_off", note=60, time=1000)]
    assert from_mido(mid).duration_seconds == 1.0


@pytest.mark.parametrize(
    ("mid", "message"),
    [
        (mido.MidiFile(type=0), "type 0 file must have exactly 1 track"),
        (mido.MidiFile(tracks=[mido.MidiTrack([mido.Message("note_on", time=0.5)])]), "time must be int"),
        (mido.MidiFile(tracks=[mido.MidiTrack([mido.Message("note_on", time=-1)])]), "non-negative"),
        (mido.MidiFile(tracks=[mido.MidiTrack([mido.Message("clock")])]), "realtime"),
        (mido.MidiFile(ticks_per_beat=40_000), "mido cannot write"),
        (mido.MidiFile(ticks_per_beat=480.0), "mido cannot write"),
        (mido.MidiFile(ticks_per_beat=0), "0 ticks per quarter"),
        (mido.MidiFile(charset="klingon", tracks=[mido.MidiTrack([mido.MetaMessage("text", text="a")])]), "klingon"),
        (mido.MidiFile(tracks=["no messages"]), "mido cannot write"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_mido_cannot_write_is_refused(mid, message):
    with pytest.raises(InputError, match=message):
        from_mido(mid)


# pretty_midi ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(score=scores)
def test_a_score_goes_through_pretty_midi(score):
    again, held = from_pretty_midi(to_pretty_midi(score)), held_by_pretty_midi(score)
    assert in_order(again.texts) == in_order(held.texts)
    assert replace(again, texts=()) == replace(held, texts=())


@settings(max_examples=15, deadline=None)
@given(score=scores)
def test_pretty_midi_writes_the_same_ticks_and_tempos(score):
    file = io.BytesIO()
    pm = to_pretty_midi(score)
    pm.write(file)
    written = mido.MidiFile(file=io.BytesIO(file.getvalue()), charset="utf-8")
    now, tempos = 0, []
    for message in written.tracks[0]:
        now += message.time
        tempos += [(now, message.tempo)] if message.type == "set_tempo" else []
    assert tempos == [tuple(tempo) for tempo in score.tempos]
    parts = [part for track in score.tracks for part in by_program(track)]
    for part, track in zip(parts, written.tracks[1:], strict=True):
        channel = 9 if part.is_drum else next(m.channel for m in track if not m.is_meta)
        expected = Counter((n.start_ticks, n.end_ticks, channel, n.pitch, n.velocity) for n in part.notes)
        assert Counter(says(mido.MidiFile(tracks=[track]))["notes"]) == expected


def test_pretty_midi_built_by_hand():
    pm = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=100.3)
    piano = pretty_midi.Instrument(3, name="Klavier")
    tick = 60 / 100.3 / 480
    # Times and values as programs make them: a hair before the tick or before 0, whole numbers as floats or of NumPy.
    piano.notes = [
        pretty_midi.Note(80.0, np.int64(60), -1e-12, 480 * tick - 1e-9),
        pretty_midi.Note(1, 127, 959.6 * tick, 959.7 * tick),
    ]
    pm.instruments.append(piano)
    score = from_pretty_midi(pm)
    assert [tuple(note) for note in score.tracks[0].notes] == [(0, 480, 60, 80), (960, 1, 127, 1)]
    assert score.tempos[0].us_per_quarter == round(60e6 / 100.3)
    assert (score.tracks[0].program, score.tracks[0].name) == (3, "Klavier")


def wrong_pretty_midis():
    def made(**changes):
        pm = pretty_midi.PrettyMIDI()
        note = pretty_midi.Note(80, 60, 0.0, 1.0)
        for name, value in changes.items():
            setattr(note, name, value)
        pm.instruments.append(pretty_midi.Instrument(0))
        pm.instruments[0].notes.append(note)
        return pm

    yield made(velocity=0), "velocity must be 1..127, got 0"
    yield made(velocity=80.5), "velocity must be whole numbers"
    yield made(velocity=None), "velocity must be whole numbers"
    yield made(pitch=128), "pitch must be 0..127, got 128"
    yield made(start=-1.0), "start .* got -1.0"
    yield made(start=float("nan")), "start .* got nan"
    yield made(end=float("inf")), "end .* got inf"
    yield made(end=1e300), "end .* got 1e"
    yield made(start=2.0), "duration_ticks must be 0"
    pm = made()
    pm.key_signature_changes.append(pretty_midi.KeySignature(0, 0.0))
    pm.key_signature_changes[0].key_number = 24
    yield pm, "key_number .* got 24"
    yield pretty_midi.PrettyMIDI(initial_tempo=0.5), "us_per_quarter must be"
    yield pretty_midi.PrettyMIDI(resolution=0.5), "ticks_per_quarter must be"


@pytest.mark.parametrize(
    ("pm", "message"), list(wrong_pretty_midis()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_wrong_values_in_a_pretty_midi(pm, message):
    with pytest.raises(InputError, match=message):
        from_pretty_midi(pm)


def test_meters_that_no_notation_knows_are_left_out():
    pm = pretty_midi.PrettyMIDI()
    pm.time_signature_changes = [pretty_midi.TimeSignature(3, 4, 0.0), pretty_midi.TimeSignature(3, 5, 1.0)]
    score = from_pretty_midi(pm)
    assert ([tuple(meter) for meter in score.meters], score.left_out) == ([(0, 3, 4)], {"meters": 1})


def test_a_long_score_is_no_pretty_midi():
    note = Notes([0], [PRETTY_MIDI_MAX_TICKS + 1], [60], [80])
    with pytest.raises(InputError, match=r"10,000,000 ticks, the score has 10,000,001"):
        to_pretty_midi(Score(480, (Track("", 0, False, note),)))


# symusic --------------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(score=scores)
def test_a_score_goes_through_symusic(score):
    assert from_symusic(to_symusic(score)) == held_by_symusic(score)


def test_symusic_in_quarters_and_seconds():
    score = held_by_symusic(small_score())
    for unit in ("quarter", "second"):
        again = from_symusic(to_symusic(score).to(unit))
        assert [track.notes for track in again.tracks] == [track.notes for track in score.tracks]
        assert again.tempos == score.tempos


def test_pedals_of_symusic_become_controls():
    source = symusic.Score(480)
    source.tracks.append(symusic.Track("", 0, False))
    source.tracks[0].pedals.append(symusic.Pedal(10, 20))
    assert [tuple(control) for control in from_symusic(source).tracks[0].controls] == [(10, 64, 127), (30, 64, 0)]
    source.tracks[0].controls.append(symusic.ControlChange(10, 64, 100))
    assert [tuple(control) for control in from_symusic(source).tracks[0].controls] == [(10, 64, 100)]


def test_wrong_values_in_a_symusic_score():
    source = symusic.Score(480)
    source.tracks.append(symusic.Track("", 0, False))
    source.tracks[0].notes.append(symusic.Note(-5, 10, 60, 80))
    with pytest.raises(InputError, match="start_ticks must be 0"):
        from_symusic(source)


# Files as the libraries load them -------------------------------------------------------------------------------------


def made_file(seed: int) -> bytes:
    """A file as a program would write it: several channels a track, pedals, tempos, programs that change."""
    random_ = random.Random(seed)
    mid = mido.MidiFile(type=0 if seed % 5 == 0 else 1, ticks_per_beat=random_.choice([96, 120, 384, 480, 1024]))
    for number in range(1 if mid.type == 0 else random_.randint(1, 4)):
        events = [(0, mido.MetaMessage("track_name", name=f"Track {number}"))]
        if number == 0:
            events.append((0, mido.MetaMessage("set_tempo", tempo=random_.randint(200_000, 1_500_000))))
            events.append((0, mido.MetaMessage("time_signature", numerator=random_.randint(2, 7), denominator=4)))
            for _ in range(random_.randint(0, 9)):
                tempo = mido.MetaMessage("set_tempo", tempo=random_.randint(200_000, 1_500_000))
                events.append((random_.randint(1, 4000), tempo))
        for channel in random_.sample(range(16), random_.randint(1, 3)):
            for tick in [0, *random_.sample(range(4000), random_.randint(0, 2))]:
                program = mido.Message("program_change", channel=channel, program=random_.randint(0, 127))
                events.append((tick, program))
                events.append((tick, mido.Message("control_change", channel=channel, control=64, value=127)))
            for pitch in random_.sample(range(30, 100), random_.randint(1, 6)):
                now = random_.randint(0, 500)
                for _ in range(random_.randint(1, 12)):
                    velocity, length = random_.randint(1, 127), random_.randint(1, 300)
                    note = {"channel": channel, "note": pitch}
                    events.append((now, mido.Message("note_on", **note, velocity=velocity)))
                    events.append((now + length, mido.Message("note_off", **note, velocity=64)))
                    now += length + random_.choice([0, 1, 240])
        track, now = mid.add_track(), 0
        order = {"note_off": 1, "note_on": 2}
        for tick, message in sorted(events, key=lambda event: (event[0], order.get(event[1].type, 0))):
            track.append(message.copy(time=tick - now))
            now = tick
    file = io.BytesIO()
    mid.save(file=file)
    return file.getvalue()


def notes_of(score: Score) -> Counter:
    return Counter(
        (note.start_ticks, note.end_ticks, track.is_drum, note.pitch, note.velocity)
        for track in score.tracks
        for note in track.notes
    )


@pytest.mark.parametrize("seed", range(50))
def test_notes_of_loaded_files(seed):
    data = made_file(seed)
    mid = mido.MidiFile(file=io.BytesIO(data))
    said = says(mid)["notes"]
    expected = Counter()
    for (start, end, channel, pitch, velocity), count in said.items():
        expected[start, end, channel == 9, pitch, velocity] += count
    things = [mid, pretty_midi.PrettyMIDI(io.BytesIO(data)), symusic.Score.from_midi(data)]
    for thing in things:
        score = as_score(thing)
        assert notes_of(score) == expected
        assert score.ticks_per_quarter == mid.ticks_per_beat


# Anything -------------------------------------------------------------------------------------------------------------


class MyMidiFile(mido.MidiFile):
    """Subclasses are what they come from."""


def test_as_score_takes_whatever_holds_a_score(tmp_path):
    score = small_score()
    score.write(tmp_path / "a.mid")
    held = notes_of(score)
    mine = MyMidiFile(tmp_path / "a.mid")
    things = [
        tmp_path / "a.mid",
        str(tmp_path / "a.mid"),
        to_mido(score),
        mine,
        to_pretty_midi(score),
        to_symusic(score),
    ]
    for thing in [*things, to_symusic(score).to("quarter"), to_notes(score)]:
        assert notes_of(as_score(thing)) == held
    assert as_score(score) is score
    assert as_score([(60, 1), (None, 0.5), (62, 2)]).n_notes == 2
    assert as_score(to_piano_roll(score)).n_notes == as_score(to_piano_roll(score).velocity).n_notes == 2


@pytest.mark.parametrize("thing", [None, 3, 2.5, b"MThd", {"notes": []}, object(), iter([])], ids=repr)
def test_as_score_says_what_it_takes(thing):
    kind = type(thing).__name__
    with pytest.raises(InputError, match=rf"made of a builtins\.{kind}; allowed are a Score, a path"):
        as_score(thing)


def test_as_score_of_a_path_without_a_file(tmp_path):
    with pytest.raises(ScoreFileError, match="there is no such file"):
        as_score(tmp_path / "missing.mid")


def test_nothing_is_imported_to_tell_what_a_thing_is():
    program = (
        "import sys, numpy; from musegen.midi.convert.objects import as_score\n"
        "as_score([(60, 1)])\n"
        "try: as_score(object())\n"
        "except ValueError: pass\n"
        "print([name for name in ('mido', 'pretty_midi', 'music21', 'symusic', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_symusic_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "symusic", None)
    with pytest.raises(InputError, match="pip install symusic"):
        to_symusic(small_score())


def test_programs_change_within_a_track():
    changing = Track(
        "", 40, False, Notes([0, 480, 960], [9, 9, 9], [60, 62, 64], [80] * 3), Controls([0, 700], [64, 64], [127, 0]),
        programs=Programs([0, 480, 960], [40, 41, 40]),
    )  # fmt: skip
    for score in (
        from_pretty_midi(to_pretty_midi(Score(480, (changing,)))),
        from_symusic(to_symusic(Score(480, (changing,)))),
    ):
        assert [(track.program, track.notes.pitch.tolist()) for track in score.tracks] == [(40, [60, 64]), (41, [62])]
        # Each sounds on a channel of its own, and the pedal must come up on all.
        assert all(track.controls == changing.controls for track in score.tracks)
    assert from_notes(to_notes(Score(480, (changing,)))).tracks[0].programs == changing.programs


@pytest.mark.parametrize("read", [from_pretty_midi, from_mido, from_symusic, Score.read])
@pytest.mark.parametrize("thing", [None, 3, b"MThd", object()])
def test_what_is_something_else_is_an_input_error(read, thing):
    with pytest.raises(InputError, match=f"is wanted, got a {type(thing).__name__}"):
        read(thing)
