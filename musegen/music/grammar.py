"""What Muse may write next: the guide of one sequence. Its promises hold in every output, whatever the model says.

- Only the instruments asked for play, each within its range, and every one of them enters by the middle.
- There are exactly as many bars as asked for, the last one is not empty, and no note sounds past the last bar line.
- No two bars in a row are empty, nor is the first one that is new.
- A meter or tempo that was asked for stays, and no note is softer or louder than asked for.
- No instrument has more notes in a bar than asked for.
- Where a gap is written beside notes that stand, these come just where and as they stand, among those that are new.
- The tokens are in canonical order, so that they are what `tokenizer.encode` would make of the same music.
"""

from collections import Counter, deque

import numpy as np

from musegen.midi.instruments import DRUMS, INSTRUMENTS, MAX_PITCHED
from musegen.music import vocabulary as v
from musegen.music.features import Place, Tracker, features
from musegen.music.grid import DRUM_TICKS
from musegen.music.requests import Request, Standing
from musegen.music.tokenizer import Bar, Decoder, GridNote, encode

_MAX_TIES = 8  # in endless playing no bar line ends a note
_MOST_ALIKE = 3  # new bars in a row
_ENDLESS_ENTRY = 8  # the bar by which all instruments play where there is no middle


class MuseGuide:
    """The guide (`core.decode.Guide`) of one sequence of Muse.

    Args:
        request: what is to be written.
        context: how many inputs the model holds.

    Attributes:
        events: the bars and notes that are certain, those of the prompt included, those that stand in a gap not.
        bars_written: how many new bars are finished or begun.
    """

    def __init__(self, request: Request, context: int):
        self.request = request
        self.context = context
        gap, prompt = request.gap, request.prompt
        self.n_prompt_bars = prompt.n_bars if prompt is not None else 0
        n_bars = None if request.n_bars is None else self.n_prompt_bars + request.n_bars
        self.place = Place(gap.place.first_bar + gap.first, gap.place.n_bars) if gap else Place(0, n_bars)
        self._preamble = gap.preamble(request.controls.tokens()) if gap else None
        self.last_bar = None if n_bars is None else n_bars - 1
        self.events: list[Bar | GridNote] = []
        self._silent = set(request.entering)  # who of them has still to
        usual = _ENDLESS_ENTRY if request.n_bars is None else request.n_bars - 1 if gap else request.n_bars // 2
        self._entry_bar = self.n_prompt_bars + (usual if request.enter_by is None else request.enter_by)

        self._decoder, self._tracker = Decoder(), Tracker(self.place)
        self._rows: list[np.ndarray] = []  # the inputs of the body
        self._bar_starts: list[int] = []  # where in them each bar begins
        self._bar = -1
        self._bar_is_empty = True
        self._may_be_empty = bool(gap)  # this bar, after the one before it
        self._n_here: Counter[int] = Counter()  # the notes of each instrument in this bar
        self._last = v.START
        self._last_note = -1  # the newest note at this tick, as a place among the note tokens
        self._ties = 0
        self._sounding = gap.held if gap else {}  # by note, until when
        self._sounding_until = 0
        self._standing = gap.standing() if gap else []
        self._due: deque[Standing] = deque()  # what stands in this bar and has still to come,
        self._forced: list[int] = []  # and the tokens of such a note of which the first has come
        self._note_stands = False
        self._heard: set[int] = set()
        self._notes_allowed = self._playable()
        softest, loudest = request.velocities or (0, len(v.VELOCITIES) - 1)
        self._opens_at: int | None = None  # the tick of the first note
        self._here: list[int] = []  # the tokens of this bar behind its line
        self._before: list[int] = []  # those of the newest whole bar,
        self._n_alike = 0  # and how many new bars in a row they are
        self._loudness = (np.arange(len(v.VELOCITIES)) >= softest) & (np.arange(len(v.VELOCITIES)) <= loudest)
        for token in encode(prompt).tokens.tolist() if prompt is not None else []:
            self._take(token)

    @property
    def bars_written(self) -> int:
        """How many new bars are finished or begun."""
        return max(self._bar + 1 - self.n_prompt_bars, 0)

    # What the model is fed --------------------------------------------------------------------------------------------

    def prompt(self) -> np.ndarray:
        """Returns what comes first and as many of the newest bars as leave half of the context free: (T, 6)."""
        room = (self.context - (0 if self._preamble is None else len(self._preamble))) // 2
        first = next((bar for bar, start in enumerate(self._bar_starts) if start >= len(self._rows) - room), None)
        if first is None:
            return self._inputs(max(self._bar, 0), self._cut_inside_bar(room))
        return self._inputs(first, self._bar_starts[first])

    def _cut_inside_bar(self, room: int) -> int:
        """Returns where the newest stretch of a bar longer than `room` begins: at a wait or a note."""
        for index in range(max(len(self._rows) - room, 0), len(self._rows)):
            token = int(self._rows[index][0])
            if token in v.WAIT or token in v.NOTE:
                return index
        return len(self._rows)

    def _inputs(self, first_bar: int, start: int) -> np.ndarray:
        place = Place(self.place.first_bar + first_bar, self.place.n_bars)
        header = np.array(self.request.controls.tokens())
        rows = [_rows(header, place) if self._preamble is None else self._preamble]
        if self._bar_starts:
            meter, tempo = self._line_of(first_bar)
            rows.append(_rows(np.array([v.BAR, meter, tempo]), place))
            body = self._rows[start:]
            while body and _is_bar_line(int(body[0][0])):
                body = body[1:]
            rows += [np.stack(body)] if body else []
        return np.concatenate(rows)

    def _line_of(self, bar: int) -> tuple[int, int]:
        """Returns the meter and tempo tokens of a bar."""
        lines = [event for event in self.events if isinstance(event, Bar)]
        # The newest bar's line may still be open.
        line = lines[bar] if bar < len(lines) else self._decoder
        return v.METER.first + line.meter, v.TEMPO.first + line.tempo

    # What may come ----------------------------------------------------------------------------------------------------

    def allowed(self) -> np.ndarray:
        """Returns which tokens may come next: (N_TOKENS,) bool."""
        mask = np.zeros(v.N_TOKENS, dtype=bool)
        if self._forced:
            mask[self._forced[0]] = True
        elif self._last in v.NOTE or self._last == v.TIE:
            self._allow_lengths(mask)
        elif self._bar < self.n_prompt_bars:
            mask[v.BAR] = True
        elif not self._allow_bar_line(mask):
            self._allow_events(mask)
        if self._n_alike >= _MOST_ALIKE and self._before[: len(self._here)] == self._here:
            self._forbid_the_same(mask)
        return mask

    def weigh(self, logits: np.ndarray) -> np.ndarray:
        """Returns the logits (N_TOKENS,) that tokens are drawn by: the model's, but beside what stands.

        There the model gives much to notes that do not come, since what stands is known. Were that shared out among all
        that may come, too much would be written. So a note that is written stays as likely as the model has it. What is
        left is for going on: to what is due here, or else on in time, where all that reaches beyond what is due next
        comes to it.
        """
        if not self._standing or self._forced or self._last in v.NOTE or self._last == v.TIE:
            return logits
        allowed, on = self.allowed(), self._going_on()
        if on is None or not allowed[on]:
            return logits
        odds = np.exp(logits - logits.max(), dtype=np.float64)
        odds /= odds.sum()
        waits = np.zeros(len(odds), dtype=bool)
        waits[v.WAIT.slice] = True
        weighed = np.where(allowed & ~waits, odds, 0)
        weighed[[on, v.BAR, v.END]] = 0
        left = 1 - weighed.sum()
        sooner = np.where(allowed & waits, odds, 0)
        sooner[on] = 0
        in_time = odds[waits].sum() + odds[v.BAR] + odds[v.END]
        if on not in v.NOTE:
            weighed += left * sooner / in_time
        weighed[on] = 1 - weighed.sum()
        return np.log(np.maximum(weighed, 1e-30)).astype(logits.dtype)

    def _going_on(self) -> int | None:
        """Returns the token that leads on to what stands, or out of the bar; None where something must be written."""
        due = self._due[0] if self._due else None
        if due and due.tick == self._decoder.tick:
            return due.tokens[0]
        if self._last in v.WAIT and self._last != v.wait_token(v.TICKS_PER_WHOLE):
            return None
        if due:
            return int(v.wait_token(min(due.tick - self._decoder.tick, v.TICKS_PER_WHOLE)))
        return v.END if self._bar == self.last_bar else v.BAR

    def _forbid_the_same(self, mask: np.ndarray):
        """Has this bar go on in another way than those before it, if there is one: a model may not leave a loop."""
        same = self._before[len(self._here)] if len(self._here) < len(self._before) else v.BAR
        others = mask.copy()
        others[same] = False
        if others.any():
            mask[:] = others

    def _allow_bar_line(self, mask: np.ndarray) -> bool:
        """Allows a new meter and tempo where they may stand, and returns whether one of them must come."""
        is_first = not self._bar
        if self._last == v.BAR:
            wanted = self._wanted_line()[0]
            if is_first or wanted not in (None, self._decoder.meter):
                mask[v.METER.slice] = self._meters(wanted)
                return True
            if wanted is None:
                mask[v.METER.slice] = self._meters(None)
                mask[v.METER.first + self._decoder.meter] = False
        if self._last == v.BAR or self._last in v.METER:
            wanted = self._wanted_line()[1]
            if is_first or wanted not in (None, self._decoder.tempo):
                mask[v.METER.slice] = False
                mask[v.TEMPO.slice] = _only(wanted, v.TEMPO.size)
                return True
            if wanted is None:
                mask[v.TEMPO.slice] = True
                mask[v.TEMPO.first + self._decoder.tempo] = False
        return False

    def _wanted_line(self) -> tuple[int | None, int | None]:
        """Returns the meter and tempo that this bar must have, None where it is free."""
        request, controls, gap = self.request, self.request.controls, self.request.gap
        if gap:
            bar = gap.first + self._bar
            return int(gap.grid.meters[bar]), int(gap.grid.tempos[bar])
        return controls.meter if request.keep_meter else None, controls.tempo if request.keep_tempo else None

    def _meters(self, wanted: int | None) -> np.ndarray:
        """Returns which meters leave all that sounds room until the last bar line, if all further bars are in it."""
        meters = _only(wanted, v.METER.size)
        if self.last_bar is None or self.request.gap:
            return meters
        ends = self._decoder.bar_tick + (self.last_bar - self._bar + 1) * v.METER_TICKS
        return meters & (ends >= self._sounding_until)

    def _allow_lengths(self, mask: np.ndarray):
        room = self._room() - self._ties * v.TICKS_PER_WHOLE
        durations = np.array(v.DURATIONS)
        fits = durations <= room
        if self._last_note // v.N_PITCHES == DRUMS and not self._ties and room >= DRUM_TICKS:
            fits = durations == DRUM_TICKS
        elif room > v.TICKS_PER_WHOLE and self._ties < _MAX_TIES:
            mask[v.TIE] = True
        opening, now = self.request.opening, self._decoder.bar_tick + self._decoder.tick
        is_open = opening is None or self._opens_at != now
        loudness = self._loudness if is_open else _only(opening, len(v.VELOCITIES))
        mask[v.LENGTH.slice] = np.outer(fits, loudness).ravel()

    def _room(self) -> int:
        """Returns the ticks from here to the last bar line, if all bars whose meter is free are in this one."""
        if self.last_bar is None:
            return (_MAX_TIES + 1) * v.TICKS_PER_WHOLE
        decoder, gap = self._decoder, self.request.gap
        if gap:
            n_ticks = int(gap.grid.bar_ticks[gap.last] - gap.grid.bar_ticks[gap.first])
            return n_ticks - decoder.bar_tick - decoder.tick
        later = (self.last_bar - self._bar) * int(v.METER_TICKS[decoder.meter])
        return decoder.bar_end + later - decoder.bar_tick - decoder.tick

    def _allow_events(self, mask: np.ndarray):
        notes = self._notes_allowed.copy()
        for instrument in self._full_here():
            notes[instrument * v.N_PITCHES : (instrument + 1) * v.N_PITCHES] = False
        anybody = notes.any()
        notes[: self._last_note + 1] = False  # upwards within a chord
        due = self._due[0] if self._due else None
        due_here = due if due and due.tick == self._decoder.tick else None
        if due_here:
            notes[due_here.tokens[0] - v.NOTE.first :] = False
        # In a gap, the last one may enter anywhere in the last bar: it cannot end in silence.
        must_enter = len(self._silent) > bool(self.request.gap) and self._bar >= self._entry_bar
        n_ticks = int(v.METER_TICKS[self._decoder.meter])
        is_last_chance = self._bar == self.last_bar and self._decoder.tick == n_ticks - 1 and bool(self._silent)
        if must_enter or is_last_chance:  # here, and in order: so nobody above the lowest who is missing
            notes[(min(self._silent) + 1) * v.N_PITCHES :] = False
        now = self._decoder.bar_tick + self._decoder.tick
        struck = [note for note, end in self._sounding.items() if end > now]
        mask[v.NOTE.slice] = notes
        mask[[v.NOTE.first + note for note in struck]] = False  # a key that is down cannot go down again
        if not mask[v.NOTE.slice].any() and self._last in v.WAIT and not due_here:
            mask[v.NOTE.slice] = notes
        has_to_play = (must_enter or is_last_chance) and bool(mask[v.NOTE.slice].any())
        if due_here:
            mask[due_here.tokens[0]] = not has_to_play
            return
        if has_to_play:
            return
        if self._last not in v.WAIT or self._last == v.wait_token(v.TICKS_PER_WHOLE):
            farthest = min((due.tick if due else n_ticks - 1) - self._decoder.tick, v.WAIT.size)
            nearest = 1 if anybody else farthest if due else farthest + 1
            mask[v.WAIT.first + nearest - 1 : v.WAIT.first + farthest] = True
        if self._last not in v.WAIT and not due:
            is_last = self._bar == self.last_bar
            if is_last and self.request.gap:  # what stands around it may sound where this rests
                may_close = bool(self._heard) and not self._silent
            else:
                may_close = not self._bar_is_empty or (self._may_be_empty and not is_last)
            mask[v.BAR] = may_close
            mask[v.END] = may_close and is_last

    def _full_here(self) -> list[int]:
        """Returns the instruments that have as many notes in this bar as they may."""
        fullest = self.request.fullest
        return [] if fullest is None else [index for index, n in self._n_here.items() if n >= fullest]

    def _playable(self) -> np.ndarray:
        """Returns which note tokens lie in the range of an instrument that may play: (N_NOTES,) bool."""
        playing = set(self.request.playing)
        if not playing and len(self._heard - {DRUMS}) >= MAX_PITCHED:
            playing = self._heard
        notes = np.zeros((len(INSTRUMENTS), v.N_PITCHES), dtype=bool)
        for index in playing or range(len(INSTRUMENTS)):
            low, high = INSTRUMENTS[index].low - v.LOWEST_PITCH, INSTRUMENTS[index].high - v.LOWEST_PITCH
            notes[index, max(low, 0) : high + 1] = True
        return notes.ravel()

    # What came --------------------------------------------------------------------------------------------------------

    def push(self, token: int) -> np.ndarray | None:
        """Takes the next token; returns its inputs (6,), or None if it ends the sequence.

        A bar line behind the last bar does, too: there the model would go on.
        """
        return self._take(v.END if token == v.BAR and self._bar == self.last_bar else token)

    def _take(self, token: int) -> np.ndarray | None:
        events = list(self._decoder.push(token))
        if self._forced:
            self._forced = self._forced[1:]
        elif token in v.NOTE:
            self._note_stands = bool(self._due) and self._due[0].tick == self._decoder.tick
            self._note_stands &= self._note_stands and self._due[0].tokens[0] == token
            if self._note_stands:
                self._forced = self._due.popleft().tokens[1:]
        self.events += (event for event in events if isinstance(event, Bar) or not self._note_stands)
        if token == v.END:
            return None
        row = np.concatenate([[token], self._tracker.push(token)])
        if token == v.BAR:
            if self._bar >= self.n_prompt_bars:
                self._n_alike = self._n_alike + 1 if self._here == self._before and not self.request.gap else 1
                self._before = self._here
                self._may_be_empty = not self._bar_is_empty or bool(self.request.gap and self.request.gap.instruments)
            self._bar_starts.append(len(self._rows))
            self._bar += 1
            self._here = []
            self._bar_is_empty = True
            self._n_here.clear()
            if self._standing:
                self._due = self._standing[self._bar].copy()
            self._sounding = {note: end for note, end in self._sounding.items() if end > self._decoder.bar_tick}
        elif token not in v.METER and token not in v.TEMPO:
            self._here.append(token)
        if token == v.BAR or token in v.WAIT:
            self._last_note = -1
        elif token in v.NOTE:
            self._last_note, self._ties = token - v.NOTE.first, 0
            if self._opens_at is None:
                self._opens_at = self._decoder.bar_tick + self._decoder.tick
        elif token == v.TIE:
            self._ties += 1
        for event in events:
            if isinstance(event, GridNote):
                self._note(event)
        self._rows.append(row)
        self._last = token
        return row

    def _note(self, note: GridNote):
        end = note.onset + note.duration
        self._bar_is_empty = False
        self._sounding[self._last_note] = end
        self._sounding_until = max(self._sounding_until, end)
        if self._note_stands:
            return
        self._n_here[note.instrument] += 1
        if self._bar >= self.n_prompt_bars:
            self._silent.discard(note.instrument)
        if note.instrument not in self._heard:
            self._heard.add(note.instrument)
            self._notes_allowed = self._playable()


def _only(index: int | None, size: int) -> np.ndarray:
    return np.ones(size, dtype=bool) if index is None else np.arange(size) == index


def _rows(tokens: np.ndarray, place: Place) -> np.ndarray:
    return np.concatenate([tokens[:, None], features(tokens, place)], axis=1)


def _is_bar_line(token: int) -> bool:
    return token == v.BAR or token in v.METER or token in v.TEMPO
