import mido
import pytest

from musegen.errors import InputError
from musegen.live.events import Channels, events_of
from musegen.live.player import Player, bar_line_after
from musegen.midi.score import Controls, Meters, Notes, Programs, Score, Tempos, Track
from tests.unit.live.conftest import Studio


def score_of(n_tracks=1, **options) -> Score:
    notes = Notes([0, 480, 960], [480, 480, 240], [60, 62, 64], [80, 80, 80])
    return Score(480, tuple(Track(f"part {each}", each, False, notes) for each in range(n_tracks)), **options)


def studio_with(player: Player) -> Studio:
    studio = Studio.of()
    studio.scheduler.on_roll = lambda beat: player.roll(studio.scheduler, beat)
    return studio


def test_a_score_is_played_once_in_its_own_tempo():
    player = Player(score_of(tempos=Tempos([0, 960], [1_000_000, 500_000])))
    studio = studio_with(player)
    studio.transport.start()
    studio.run(5)
    assert player.is_over(studio.scheduler)
    notes = [each for each in studio.sent if each[1].startswith("o")]
    assert notes == [
        (0.0, "on 0 60"), (1.0, "off 0 60"), (1.0, "on 0 62"), (2.0, "off 0 62"), (2.0, "on 0 64"), (2.25, "off 0 64"),
    ]  # fmt: skip


def test_a_loop_begins_again_on_the_bar_line():
    player = Player(score_of(meters=Meters([0], [3], [4])), loop=True)
    studio = studio_with(player)
    studio.transport.start()
    studio.run(4.6, lambda: player.look(studio.scheduler))
    assert not player.is_over(studio.scheduler)
    assert [seconds for seconds, what in studio.sent if what == "on 0 60"] == [0.0, 1.5, 3.0, 4.5]


def test_it_begins_in_the_middle_with_what_channels_must_know():
    track = Track(
        "organ", 19, False, Notes([0, 960], [480, 480], [60, 64], [80, 80]), Controls([0, 10], [7, 7], [50, 90])
    )
    player = Player(Score(480, (track,)))
    studio = studio_with(player)
    studio.transport.start(beat=1.5)
    studio.run(2)
    assert [what for _, what in studio.sent] == ["program 0 19", "cc 0 7 90", "on 0 64", "off 0 64"]


def test_a_jump_while_it_rolls_ends_what_sounds_and_goes_on_there():
    player = Player(score_of())
    studio = studio_with(player)
    studio.transport.start()
    studio.run(0.3)
    studio.transport.start(beat=2.0)
    studio.run(1)
    assert [what for _, what in studio.sent if not what.startswith(("cc", "program"))] == [
        "on 0 60", "off 0 60", "on 0 64", "off 0 64",
    ]  # fmt: skip


def test_parts_have_channels_of_their_own_and_drums_the_tenth():
    drums = Track("drums", 0, True, Notes([0], [10], [36], [80]))
    score = score_of(15)
    score = Score(480, (drums, *score.tracks))
    channels = {event.message.channel for event in events_of(score)[1:]}
    assert channels == set(range(16))
    with pytest.raises(InputError, match="more than 15 beside the drums"):
        events_of(score_of(16))


def test_tracks_of_further_ports_get_channels_that_are_free():
    notes = Notes([0], [480], [60], [80])
    tracks = (Track("a", 1, False, notes, channel=0), Track("b", 2, False, notes, channel=0, port=1))
    ons = [event.message for event in events_of(Score(480, tracks)) if event.message.type == "note_on"]
    assert sorted(message.channel for message in ons) == [0, 1]


def test_a_part_keeps_its_channel_from_bar_to_bar():
    channels = Channels()
    first = channels.assigned(score_of(3))
    second = channels.assigned(Score(480, score_of(3).tracks[1:]))
    assert [track.channel for track in first.tracks] == [0, 1, 2]
    assert [track.channel for track in second.tracks] == [1, 2]


def test_ends_come_before_beginnings_and_programs_between():
    notes = Notes([0, 480], [480, 480], [60, 60], [80, 80])
    track = Track("a", 5, False, notes, programs=Programs([0, 480], [5, 7]))
    kinds = [(event.beat, event.message.type) for event in events_of(Score(480, (track,))) if not event.message.is_meta]
    assert kinds == [
        (0, "program_change"), (0, "note_on"), (1, "note_off"), (1, "program_change"), (1, "note_on"), (2, "note_off"),
    ]  # fmt: skip


def test_tempos_are_among_the_events():
    events = [
        event for event in events_of(score_of(tempos=Tempos([0, 960], [400_000, 500_000]))) if event.message.is_meta
    ]
    assert [(event.beat, mido.tempo2bpm(event.message.tempo)) for event in events] == [(0, 150), (2, 120)]


def test_nothing_to_play_is_refused():
    with pytest.raises(InputError, match="no notes"):
        Player(Score(480))


@pytest.mark.parametrize(("numerator", "line"), [(3, 1440), (4, 1920), (5, 2400), (2, 1920), (1, 1440)])
def test_the_bar_line_after_the_last_note(numerator, line):
    assert bar_line_after(score_of(meters=Meters([0], [numerator], [4]))) == line


def test_while_nobody_plays_no_further_pass_is_queued():
    player = Player(score_of(), loop=True)
    studio = studio_with(player)
    studio.transport.start()
    studio.run(1.0, lambda: player.look(studio.scheduler))
    studio.transport.stop()
    studio.run(0.1)
    queued = studio.scheduler.n_queued
    studio.run(60.0, lambda: player.look(studio.scheduler))
    assert studio.scheduler.n_queued == queued
