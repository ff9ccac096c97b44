"""Sound: what is rendered is listened to, in level, pitch, time and place."""

import importlib.util
import os
import sys
import types
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musegen.errors import InputError, ScoreFileError
from musegen.midi.score import (
    Controls,
    KeyPressures,
    Notes,
    PitchBends,
    Pressures,
    Programs,
    Score,
    Tempos,
    Track,
)
from musegen.midi.sound import fluid
from musegen.midi.sound import rendering as sound_module
from musegen.midi.sound.fluid import version
from musegen.midi.sound.performance import MAX_CHANNELS, Kind, Performance
from musegen.midi.sound.rendering import MAX_TAIL_SECONDS, listen, render
from musegen.midi.sound.soundfonts import find_sound_font

TICKS = 480  # a quarter, half a second
PIANO, ORGAN, VIOLIN = 0, 19, 40


def _why_no_fluidsynth() -> str:
    try:
        version()
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(params=["fluidsynth", "tones"])
def engine(request, monkeypatch) -> str:
    if request.param == "fluidsynth":
        needs_fluidsynth(monkeypatch)
    return request.param


@pytest.fixture
def fluidsynth(monkeypatch) -> None:
    needs_fluidsynth(monkeypatch)


def needs_fluidsynth(monkeypatch) -> None:
    """In CI it has to be there. The small font is the same everywhere, and quick to load."""
    if reason := _why_no_fluidsynth():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    monkeypatch.setenv("MUSEGEN_SOUND_FONT", str(small_font()))


def small_font() -> Path:
    spec = importlib.util.find_spec("pretty_midi")
    return Path(spec.origin).parent / "TimGM6mb.sf2"


def tune(*notes, program=PIANO, is_drum=False, tempos=None, **more) -> Score:
    """A score of one track; its notes are (start in quarters, length in quarters, pitch[, velocity])."""
    starts, lengths, pitches, *velocities = zip(*notes, strict=True)
    columns = Notes(
        [round(start * TICKS) for start in starts],
        [round(length * TICKS) for length in lengths],
        pitches,
        velocities[0] if velocities else [90] * len(notes),
    )
    track = Track("", program, is_drum, columns, **more)
    return Score(TICKS, (track,), **({"tempos": tempos} if tempos else {}))


class Heard:
    """A WAV file as an ear takes it."""

    def __init__(self, path: Path):
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
            self.rate = file.getframerate()
            raw = file.readframes(file.getnframes())
        self.sides = np.frombuffer(raw, "<i2").reshape(-1, 2) / 32768
        self.mono = self.sides.mean(1)
        self.seconds = len(self.mono) / self.rate

    def between(self, start: float, end: float) -> np.ndarray:
        return self.mono[round(start * self.rate) : round(end * self.rate)]

    def level(self, start: float, end: float) -> float:
        part = self.between(start, end)
        return float(np.sqrt(np.square(part).mean())) if len(part) else 0.0  # after the end it is silent

    def spectrum(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        part = self.between(start, end)
        return np.fft.rfftfreq(len(part), 1 / self.rate), np.abs(np.fft.rfft(part * np.hanning(len(part))))

    def hertz(self, start: float, end: float) -> float:
        """The lowest strong partial: the fundamental."""
        frequencies, strengths = self.spectrum(start, end)
        strong = np.flatnonzero(strengths > 0.25 * strengths.max())
        near = strong[frequencies[strong] < 1.05 * frequencies[strong[0]]]
        return float(frequencies[near[np.argmax(strengths[near])]])

    def onsets(self) -> np.ndarray:
        """The times at which 2 ms of sound are much louder than the 20 ms before."""
        n = self.rate // 500
        levels = np.abs(self.mono[: len(self.mono) // n * n]).reshape(-1, n).max(1)
        before = np.array([levels[max(0, i - 10) : i].max(initial=0) for i in range(len(levels))])
        found = np.flatnonzero(levels > 0.05 + 3 * before) * n / self.rate
        return found[np.diff(found, prepend=-1) > 0.03]


def heard(tmp_path: Path, score: Score, engine: str, **options) -> Heard:
    report = render(score, tmp_path / "a.wav", engine=engine, **options)
    result = Heard(tmp_path / "a.wav")
    assert report.seconds == result.seconds
    return result


def test_sound_where_notes_are_and_silence_where_none(tmp_path, engine):
    sound = heard(tmp_path, tune((1, 1, 69), (5, 1, 69), program=ORGAN), engine)
    assert sound.level(0, 0.49) < 0.001
    assert sound.level(0.55, 0.95) > 0.1
    assert sound.level(2.0, 2.49) < 0.01 * sound.level(0.55, 0.95)
    assert sound.level(2.55, 2.95) > 0.1
    assert 3.0 < sound.seconds < 3 + MAX_TAIL_SECONDS
    assert 0.89 < np.abs(sound.sides).max() < 0.91


@pytest.mark.parametrize("sample_rate", [22_050, 48_000])
def test_pitch(tmp_path, engine, sample_rate):
    score = tune((0, 2, 69), (2, 2, 57), (4, 2, 81), program=ORGAN)
    sound = heard(tmp_path, score, engine, sample_rate=sample_rate)
    assert sound.rate == sample_rate
    for start, expected in ((0, 440), (1, 220), (2, 880)):
        peak_of = sound.spectrum(start + 0.2, start + 0.9)
        near = np.abs(peak_of[0] - expected) < 0.2 * expected
        assert peak_of[0][near][np.argmax(peak_of[1][near])] == pytest.approx(expected, rel=0.01)


def test_pitch_of_a_plain_tone_is_its_fundamental(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 2, 69), program=73), engine)
    assert sound.hertz(0.2, 0.9) == pytest.approx(440, rel=0.01)


def test_velocity(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 1, 60, 30), (4, 1, 60, 80), (8, 1, 60, 127)), engine)
    soft, middle, loud = (sound.level(start, start + 0.4) for start in (0, 2, 4))
    assert 3 * soft < 1.5 * middle < loud


def test_peak(tmp_path, engine):
    chord = tune(*((0, 1, pitch, 127) for pitch in range(40, 80)), program=ORGAN)
    for peak in (1.0, 0.25):
        sound = heard(tmp_path, chord, engine, peak=peak)
        assert np.abs(sound.sides).max() == pytest.approx(peak, abs=0.001)


def test_drums(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 0.1, 36, 120), (1, 0.1, 42, 120), is_drum=True), engine)

    def centre(start: float) -> float:
        frequencies, strengths = sound.spectrum(start, start + 0.1)
        return float((frequencies * strengths).sum() / strengths.sum())

    assert sound.level(0, 0.1) > 0.05 and sound.level(0.5, 0.55) > 0.005
    assert centre(0.5) > 5 * centre(0)  # a hi-hat beside a kick


def test_program_change(tmp_path, engine):
    notes = ((0, 2, 60), (2, 2, 60), (4, 2, 60))
    score = tune(*notes, program=ORGAN, programs=Programs([0, 2 * TICKS], [ORGAN, PIANO]))
    sound = heard(tmp_path, score, engine)
    organ, piano = (sound.level(s + 0.8, s + 1.0) / sound.level(s + 0.05, s + 0.25) for s in (0, 1))
    assert organ > 1.3 * piano  # a piano dies away
    first, second, third = (
        strengths / np.linalg.norm(strengths) for _, strengths in (sound.spectrum(s + 0.1, s + 0.9) for s in range(3))
    )
    assert second @ third > 0.98 > 0.95 > first @ second


def test_sustain_pedal(tmp_path, engine):
    score = tune((0, 0.5, 60), (8, 0.5, 90))
    held = replace(score.tracks[0], controls=Controls([0, 4 * TICKS], [64, 64], [127, 0]))
    dry = heard(tmp_path, score, engine)
    wet = heard(tmp_path, replace(score, tracks=(held,)), engine)
    assert wet.level(1.0, 1.9) > 10 * dry.level(1.0, 1.9)
    assert wet.level(2.8, 3.9) < 0.02 * wet.level(1.0, 1.9)  # the pedal went up at 2 s


def test_volume_and_expression(tmp_path, engine):
    volumes = Controls([0, 2 * TICKS, 4 * TICKS], [7, 7, 11], [127, 40, 30])
    score = tune((0, 2, 60), (2, 2, 60), (4, 2, 60), program=ORGAN, controls=volumes)
    sound = heard(tmp_path, score, engine)
    loud, soft, softer = (sound.level(s + 0.3, s + 0.9) for s in range(3))
    assert loud > 3 * soft > 9 * softer > 0


def test_pan(tmp_path, engine):
    left, right = (
        replace(tune((start, 1, 69), program=ORGAN).tracks[0], controls=Controls([0], [10], [pan]))
        for start, pan in ((0, 0), (4, 127))
    )
    sound = heard(tmp_path, Score(TICKS, (left, right)), engine)
    for start, near, far in ((0.1, 0, 1), (2.1, 1, 0)):
        part = np.square(sound.sides[round(start * sound.rate) : round((start + 0.3) * sound.rate)]).mean(0)
        assert part[near] > 20 * part[far]


def test_pitch_bend(tmp_path, engine):
    bends = PitchBends([0, 2 * TICKS, 4 * TICKS], [0, 8191, -8192])
    sound = heard(tmp_path, tune((0, 6, 69), program=73, pitch_bends=bends), engine)
    assert [sound.hertz(s + 0.3, s + 0.9) for s in range(3)] == pytest.approx([440, 493.88, 392], rel=0.01)


def test_pitch_bend_range(tmp_path, engine):
    wider = Controls([0, 0, 0, 0], [101, 100, 6, 38], [0, 0, 12, 0])
    sound = heard(tmp_path, tune((1, 2, 57), program=73, controls=wider, pitch_bends=PitchBends([0], [8191])), engine)
    assert sound.hertz(0.8, 1.4) == pytest.approx(440, rel=0.01)


def test_tempo_changes_move_onsets(tmp_path, engine):
    tempos = Tempos([0, 2 * TICKS, 4 * TICKS], [500_000, 250_000, 1_000_000])
    notes = [(start, 0.1, 37, 120) for start in (0.5, 1, 2, 3, 4, 5, 5.5)]
    sound = heard(tmp_path, tune(*notes, is_drum=True, tempos=tempos), engine)
    assert sound.onsets() == pytest.approx([0.25, 0.5, 1.0, 1.25, 1.5, 2.5, 3.0], abs=0.010)


def test_many_notes_at_odd_places_start_in_time(tmp_path, engine):
    starts = np.cumsum(np.random.default_rng(1).integers(120, 400, 40)) / TICKS
    sound = heard(tmp_path, tune(*((s, 0.05, 42, 120) for s in starts), is_drum=True), engine)
    assert sound.onsets() == pytest.approx(starts / 2, abs=0.010)


def test_overlapping_notes_of_one_pitch_sound_until_the_last_ends(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 2, 60), (1, 3, 60), program=ORGAN), engine)
    assert sound.level(1.2, 1.9) > 0.1 and sound.level(2.6, 2.8) < 0.02


def test_notes_without_length_end(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 0, 60), (4, 0, 60), program=ORGAN), engine)
    assert sound.level(1.0, 1.9) < 0.02 and sound.seconds < 5


def test_more_than_sixteen_instruments(tmp_path, engine):
    tracks = tuple(replace(tune((i, 1, 69), program=ORGAN).tracks[0], name=str(i)) for i in range(40))
    sound = heard(tmp_path, Score(TICKS, (*tracks, tune((40, 0.1, 37), is_drum=True).tracks[0])), engine)
    assert all(sound.level(i / 2 + 0.1, i / 2 + 0.4) > 0.1 for i in range(40)) and sound.level(20, 20.1) > 0.01


def test_ports_are_channels_of_their_own(tmp_path, engine):
    first, second = (
        replace(tune((0, 4, pitch), program=program).tracks[0], channel=0, port=port)
        for port, (pitch, program) in enumerate(((57, ORGAN), (81, PIANO)))
    )
    assert len(Performance.of(Score(TICKS, (first, second))).is_drum) == 2
    assert heard(tmp_path, Score(TICKS, (first, second)), engine).level(1.5, 1.9) > 0.05


def test_aftertouch_and_every_control_are_taken(tmp_path, engine):
    numbers = list(range(128))
    score = tune(
        (0, 4, 60),
        program=VIOLIN,
        controls=Controls([TICKS + n for n in numbers], numbers, [64] * 128),
        pressures=Pressures([0, TICKS], [127, 0]),
        key_pressures=KeyPressures([0], [60], [100]),
    )
    assert heard(tmp_path, score, engine).level(0.1, 0.4) > 0.01


def test_a_pedal_that_is_never_lifted_ends(tmp_path, engine):
    sound = heard(tmp_path, tune((0, 1, 60), program=ORGAN, controls=Controls([0], [64], [127])), engine)
    assert sound.seconds == pytest.approx(0.5 + MAX_TAIL_SECONDS, abs=0.001)
    assert sound.level(9, 9.9) > 0.1 and np.abs(sound.sides[-50:]).max() < 0.01


def test_controls_long_after_the_last_note_cost_nothing(tmp_path, engine):
    score = tune((0, 1, 60), controls=Controls([TICKS * 100_000], [7], [0]))
    assert heard(tmp_path, score, engine).seconds < 0.5 + MAX_TAIL_SECONDS + 0.001


def test_silent_tracks_and_silent_music(tmp_path, engine):
    score = tune((0, 1, 60), controls=Controls([0], [7], [0]))
    silent = Track("words", 0, False, Notes(), channel=3)
    sound = heard(tmp_path, replace(score, tracks=(silent, *score.tracks)), engine)
    assert np.abs(sound.sides).max() < 0.001


def test_equal_scores_give_equal_files(tmp_path, engine):
    score = tune((0, 1, 60), (0.5, 1, 64), (1, 0.1, 67), program=VIOLIN)
    for name in "ab":
        render(score, tmp_path / f"{name}.wav", engine=engine)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_memory_is_bounded(tmp_path):
    import tracemalloc

    def peak_bytes(quarters: int) -> int:
        tracemalloc.start()
        render(tune((0, 0.1, 60), (quarters, 0.1, 60)), tmp_path / "a.wav", engine="tones", sample_rate=8000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(1)
    short = peak_bytes(60)
    assert peak_bytes(2400) < short + 1_000_000  # 20 minutes, whose samples take 77 MB
    assert (tmp_path / "a.wav").stat().st_size > 38_000_000


def test_progress_and_report(tmp_path, engine):
    calls = []
    score = tune(*((start, 1, 60) for start in range(20)))
    report = render(score, tmp_path / "a.wav", engine=engine, on_progress=lambda done, of: calls.append((done, of)))
    assert calls == sorted(calls) and len(calls) > 5
    assert calls[-1] == (10, 10) and {of for _, of in calls} == {10}
    assert report.path == tmp_path / "a.wav" and report.elapsed_seconds > report.loading_seconds > 0
    assert report.times_real_time == pytest.approx(report.seconds / report.elapsed_seconds)
    if engine == "tones":
        assert (report.engine, report.sound_font, report.advice) == ("simple tones", None, "")
    else:
        assert report.engine.startswith("FluidSynth 2") and report.sound_font == small_font() and not report.advice


# Failures -------------------------------------------------------------------------------------------------------------


def test_interrupted_it_leaves_nothing(tmp_path, engine):
    def interrupt(done, of):
        raise KeyboardInterrupt

    (tmp_path / "a.wav").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        render(tune((0, 20, 60)), tmp_path / "a.wav", engine=engine, on_progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"] and (tmp_path / "a.wav").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 4000}, "sample_rate is 4000; allowed are 8000 to 96000"),
        ({"peak": 0}, "peak is 0; allowed are numbers above 0 up to 1"),
        ({"peak": float("nan")}, "peak is nan"),
        ({"engine": "timidity"}, "unknown engine 'timidity'; known: fluidsynth, tones"),
        ({"sound_font": "nowhere.sf2"}, "sound_font is 'nowhere.sf2', which cannot be read: No such file"),
        ({"sound_font": __file__}, "which is no sound font"),
    ],
)
def test_wrong_arguments(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        render(tune((0, 1, 60)), tmp_path / "a.wav", **options)
    assert not list(tmp_path.iterdir())


def test_a_damaged_sound_font(tmp_path, fluidsynth, capfd):
    font = tmp_path / "a.sf2"
    font.write_bytes(small_font().read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a\.sf2', which FluidSynth cannot read"):
        render(tune((0, 1, 60)), tmp_path / "a.wav", sound_font=font)
    assert [path.name for path in tmp_path.iterdir()] == ["a.sf2"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.mp3", "must end in .wav, got"), ("no/a.wav", "the folder .* does not exist"), ("b.wav", "it is a folder")],
)
def test_wrong_paths(tmp_path, name, message):
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(InputError, match=message):
        render(tune((0, 1, 60)), tmp_path / name, engine="tones")
    assert [path.name for path in tmp_path.iterdir()] == ["b.wav"]


def test_no_space_left(tmp_path, monkeypatch):
    def write(self, frames):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musegen.midi.sound.wav.WavWriter.write", write)
    with pytest.raises(ScoreFileError, match="cannot be written: No space left on device"):
        render(tune((0, 1, 60)), tmp_path / "a.wav", engine="tones")
    assert not list(tmp_path.iterdir())


def test_nothing_to_hear(tmp_path):
    for score in (Score(TICKS), Score(TICKS, (Track("", 0, False, Notes()),))):
        with pytest.raises(InputError, match="the score has no notes: there is nothing to hear"):
            render(score, tmp_path / "a.wav")
        with pytest.raises(InputError, match="no notes"):
            listen(score)


def test_too_long(tmp_path, monkeypatch):
    score = tune((0, 1, 60), (100_000, 1, 60))
    with pytest.raises(InputError, match=r"lasts 50,000 seconds; at most 14,400 .*MUSEGEN_MAX_SOUND_SECONDS raises"):
        render(score, tmp_path / "a.wav", engine="tones")
    monkeypatch.setenv("MUSEGEN_MAX_SOUND_SECONDS", "60000")
    with pytest.raises(InputError, match="a WAV file of 44100 Hz holds 24,3"):
        render(score, tmp_path / "a.wav", engine="tones")


def test_too_many_channels():
    one = tune((0, 1, 60)).tracks[0]
    most = Score(TICKS, tuple(replace(one, program=i % 128) for i in range(2 * MAX_CHANNELS)))
    assert len(Performance.of(most).is_drum) == 128
    ports = tuple(replace(one, channel=0, port=port) for port in range(128))
    more = tuple(replace(one, channel=1 + i // 128, port=i % 128) for i in range(129))
    with pytest.raises(InputError, match="plays on 257 channels; 256 can sound together"):
        Performance.of(Score(TICKS, ports + more))


def test_without_fluidsynth(tmp_path, monkeypatch):
    def missing():
        raise InputError("pyfluidsynth is not installed: pip install 'musegen[audio]'")

    monkeypatch.setattr(sound_module, "version", missing)
    report = render(tune((0, 1, 60)), tmp_path / "a.wav")
    assert report.engine == "simple tones" and report.sound_font is None
    assert report.advice.startswith("pyfluidsynth is not installed: pip install 'musegen[audio]'")
    assert "\n" not in report.advice and "simple tones" in report.advice
    for options in ({"sound_font": small_font()}, {"engine": "fluidsynth"}):  # what was asked for is not replaced
        with pytest.raises(InputError, match="is not installed"):
            render(tune((0, 1, 60)), tmp_path / "b.wav", **options)
    with pytest.raises(InputError, match=r"musegen\[audio\].*`musegen render` writes a sound file"):
        listen(tune((0, 1, 60)))


def test_what_fluidsynth_lacks(monkeypatch):
    fluid._binding.cache_clear()
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(InputError, match=r"^pyfluidsynth is not installed: pip install 'musegen\[audio\]'$"):
        version()
    library = types.ModuleType("fluidsynth")
    library.__spec__ = importlib.util.spec_from_loader("fluidsynth", None)
    library._fl = object()
    monkeypatch.setitem(sys.modules, "fluidsynth", library)
    with pytest.raises(InputError, match="too old: musegen needs version 2"):
        version()
    if importlib.util.find_spec("fluidsynth") is not None:
        monkeypatch.delitem(sys.modules, "fluidsynth")
        monkeypatch.delenv("HOMEBREW_PREFIX", raising=False)
        monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
        with pytest.raises(InputError, match=r"is not installed: "):
            version()
    fluid._binding.cache_clear()


# Messages -------------------------------------------------------------------------------------------------------------


def test_order_within_a_tick():
    score = tune(
        (0, 1, 60),
        (1, 1, 62),
        (1, 0, 64),
        programs=Programs([TICKS], [5]),
        controls=Controls([TICKS, TICKS], [7, 0], [100, 1]),
        pitch_bends=PitchBends([TICKS], [3]),
    )
    performance = Performance.of(score)
    here = [message for place, message in performance.messages() if performance.start_ticks[place] == TICKS]
    assert [(Kind(kind).name, first) for kind, _, first, _ in here] == [
        ("NOTE_OFF", 60),
        ("CONTROL", 0),
        ("PROGRAM", 5),
        ("CONTROL", 7),
        ("PITCH_BEND", 0),
        ("NOTE_ON", 62),
        ("NOTE_ON", 64),
        ("NOTE_OFF", 64),
    ]


def test_a_pitch_sounds_exactly_while_a_note_of_it_lasts():
    rng = np.random.default_rng(2)
    for _ in range(30):
        starts, lengths, pitches = (rng.integers(0, high, 40) for high in (60, 20, 3))
        notes = Notes(starts, lengths, 60 + pitches, np.full(40, 90))
        halves = [Track("", 0, False, notes[part], channel=4) for part in (slice(0, 20), slice(20, None))]
        performance = Performance.of(Score(24, tuple(halves)))
        sounds: dict[int, bool] = {}
        heard_at = np.zeros((3, 81), bool)
        for place, (kind, channel, pitch, _) in performance.messages():
            assert channel == 0
            if kind in (Kind.NOTE_ON, Kind.NOTE_OFF):
                sounds[pitch] = kind == Kind.NOTE_ON
                heard_at[pitch - 60, performance.start_ticks[place] :] = sounds[pitch]
        expected = np.zeros_like(heard_at)
        for start, length, pitch in zip(starts, lengths, pitches, strict=True):
            expected[pitch, start : start + length] = True
        assert (heard_at == expected).all() and not any(sounds.values())


def test_tracks_of_one_channel_share_its_program():
    lead = replace(tune((0, 1, 60), program=40).tracks[0], channel=2)
    other = replace(tune((0, 1, 70), program=40, programs=Programs()).tracks[0], channel=2)
    performance = Performance.of(Score(TICKS, (other, lead)))
    programs = [message for _, message in performance.messages() if message.kind == Kind.PROGRAM]
    assert performance.is_drum == (False,) and [program.first for program in programs] == [40]


# Sound fonts and the sound device -------------------------------------------------------------------------------------


def test_the_best_sound_font_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "soundfonts"
    folder.mkdir()
    monkeypatch.delenv("MUSEGEN_SOUND_FONT", raising=False)
    monkeypatch.setattr("musegen.midi.sound.soundfonts._folders", lambda: [folder, tmp_path / "nowhere"])
    assert find_sound_font() == small_font()
    for name in ("readme.txt", "zzz.sf2", "TimGM6mb.sf2", "GeneralUser GS.sf2", "FluidR3_GM.sf2"):
        (folder / name).touch()
        if name.endswith("sf2"):
            assert find_sound_font() == folder / name
    monkeypatch.setenv("MUSEGEN_SOUND_FONT", str(small_font()))
    assert find_sound_font() == small_font()
    monkeypatch.setenv("MUSEGEN_SOUND_FONT", "gone.sf2")
    with pytest.raises(InputError, match=r"MUSEGEN_SOUND_FONT is 'gone\.sf2', which cannot be read"):
        find_sound_font()


def test_listening_without_a_device(fluidsynth, capfd):
    with pytest.raises(
        InputError, match=r"no sound device was found \(tried nothing\); `musegen render` writes a file"
    ):
        listen(tune((0, 1, 60)), driver="nothing")
    assert capfd.readouterr() == ("", "")


def test_listening_through_a_driver(tmp_path, monkeypatch, fluidsynth):
    monkeypatch.chdir(tmp_path)  # the driver "file" writes fluidsynth.wav, in real time
    calls = []
    listen(tune((0, 1, 69), (2, 1, 69), program=73), driver="file", on_progress=lambda *call: calls.append(call))
    sound = Heard(tmp_path / "fluidsynth.wav")
    assert sound.seconds > 1.4 and np.abs(sound.sides).max() > 0.01
    assert sound.hertz(0.1, 0.5) == pytest.approx(440, rel=0.01)
    assert calls[-1] == (2, 2)


def test_interrupted_listening_leaves_no_note(tmp_path, monkeypatch, fluidsynth):
    monkeypatch.chdir(tmp_path)

    def interrupt(done, of):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listen(tune((0, 100, 69), program=ORGAN), driver="file", on_progress=interrupt)
    sound = Heard(tmp_path / "fluidsynth.wav")
    assert sound.seconds < 4 and sound.level(sound.seconds - 0.05, sound.seconds) < 0.1 * sound.level(0.2, 0.8)
