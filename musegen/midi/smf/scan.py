"""The events of a MIDI file's tracks, byte by byte, into columns.

This is plain Python, and slow as such: `scan.pxd` beside it gives its variables types, and the build compiles both with
Cython where there is a C compiler. Both do the same; `IS_COMPILED` tells which it is.
"""

import numpy as np

from musegen.errors import InputError

IS_COMPILED = not __file__.endswith(".py")

_MAX_TICKS = (1 << 28) - 1
_N_KEYS = 16 * 128  # channels × pitches


class Scan:
    """Reads tracks one after the other and appends their events to columns.

    A note's column `part`, and that of an other event, is 16 × the number of its track + its channel. A note that no
    note-off ends lasts until the end of its track; of several notes of one pitch and channel the oldest ends first.

    Args:
        n_bytes: how many bytes there will be to read, which bounds the number of events.
        max_notes: how many notes are allowed.
        max_metas: how many meta events that are kept are allowed.

    Attributes:
        notes: columns start_ticks, duration_ticks, part, pitch, velocity; the first `n_notes` rows count.
        controls: columns start_ticks, part, number, value; `n_controls`.
        others: columns start_ticks, part, kind (high half of the status byte), first and second data byte; `n_others`.
        tempos: columns start_ticks, us_per_quarter; `n_tempos`.
        metas: (track, start_ticks, type, data) of names, texts, meters, keys, ports and tempos that are none.
        in_order: whether each track's notes are sorted by start, pitch, duration and velocity.
        n_unclosed, n_stray: notes without an end, and ends without a note.
        n_release: note-offs with a release velocity.
        n_system, n_meta: system messages and meta events that were skipped.
    """

    def __init__(self, n_bytes, max_notes, max_metas):
        n_notes, n_others, n_tempos = n_bytes // 3 + 1, n_bytes // 2 + 1, n_bytes // 7 + 1
        i8, i4, u1 = np.int64, np.int32, np.uint8
        self.notes = tuple(np.empty(n_notes, dtype) for dtype in (i8, i8, i4, u1, u1))
        self.controls = tuple(np.empty(n_others, dtype) for dtype in (i8, i4, u1, u1))
        self.others = tuple(np.empty(n_others, dtype) for dtype in (i8, i4, u1, u1, u1))
        self.tempos = tuple(np.empty(n_tempos, i8) for _ in range(2))
        # As memory views, whose items are Python's integers: NumPy's own are slow one by one.
        self.note_start, self.note_duration, self.note_part, self.note_pitch, self.note_velocity = _views(self.notes)
        self.control_start, self.control_part, self.control_number, self.control_value = _views(self.controls)
        self.other_start, self.other_part, self.other_kind, self.other_first, self.other_second = _views(self.others)
        self.tempo_start, self.tempo_us = _views(self.tempos)
        # Of an open note, the next one of its key, or -1; of each key, its oldest and newest open note.
        keys = (np.empty(n_notes, i4), np.full(_N_KEYS, -1, i4), np.empty(_N_KEYS, i4))
        self.newer, self.oldest, self.newest = _views(keys)
        self.metas = []
        self.in_order = True
        self.max_notes, self.max_metas = max_notes, max_metas
        self.n_notes = self.n_controls = self.n_others = self.n_tempos = 0
        self.n_unclosed = self.n_stray = self.n_release = self.n_system = self.n_meta = 0

    def track(self, data, place, stop, track):  # one loop over bytes: calls inside it would cost more than the work
        """Reads one track.

        Args:
            data: the bytes of the file.
            place, stop: where the track's events begin and end in them.
            track: its number, from 0.

        Raises:
            InputError: what stands there is no sequence of MIDI events, or a limit is passed.
        """
        ticks = 0
        status = 0
        first_note = self.n_notes
        # Names of its own for what the loop touches most: an attribute would be looked up every time.
        note_start, note_duration, note_part = self.note_start, self.note_duration, self.note_part
        note_pitch, note_velocity = self.note_pitch, self.note_velocity
        newer, oldest, newest = self.newer, self.oldest, self.newest
        while place < stop:
            # The delta time: up to four bytes of seven bits, all but the last with the high bit set.
            delta = 0
            length = 0
            while True:
                if place >= stop or length == 4:
                    raise self._broken(track, place, stop, "a time of more than four bytes")
                byte = data[place]
                place += 1
                length += 1
                delta = (delta << 7) | (byte & 127)
                if byte < 128:
                    break
            ticks += delta
            if ticks > _MAX_TICKS:
                raise InputError(f"track {track + 1} is longer than {_MAX_TICKS:,} ticks")
            if place >= stop:
                raise self._broken(track, place, stop, "")
            byte = data[place]
            if byte < 0xF0:
                if byte >= 0x80:
                    status = byte
                    place += 1
                elif not status:
                    raise self._broken(track, place, stop, f"a data byte {byte} without a status")
                kind = status >> 4
                n_data = 1 if kind == 0xC or kind == 0xD else 2
                if place + n_data > stop:
                    raise self._broken(track, stop, stop, "")
                first = data[place]
                second = data[place + 1] if n_data == 2 else 0
                if first > 127 or second > 127:
                    raise self._broken(track, place, stop, f"a data byte of {first if first > 127 else second}")
                place += n_data
                if kind == 0x9 and second:
                    note = self.n_notes
                    if note >= self.max_notes:
                        raise InputError(f"it has more than {self.max_notes:,} notes")
                    note_start[note] = ticks
                    note_duration[note] = -1
                    note_part[note] = 16 * track + (status & 15)
                    note_pitch[note] = first
                    note_velocity[note] = second
                    newer[note] = -1
                    self.n_notes = note + 1
                    key = 128 * (status & 15) + first
                    if oldest[key] < 0:
                        oldest[key] = note
                    else:
                        newer[newest[key]] = note
                    newest[key] = note
                elif kind <= 0x9:
                    if kind == 0x8 and second != 0 and second != 64:
                        self.n_release += 1
                    key = 128 * (status & 15) + first
                    note = oldest[key]
                    if note < 0:
                        self.n_stray += 1
                    else:
                        note_duration[note] = ticks - note_start[note]
                        oldest[key] = newer[note]
                elif kind == 0xB:
                    other = self.n_controls
                    self.control_start[other] = ticks
                    self.control_part[other] = 16 * track + (status & 15)
                    self.control_number[other] = first
                    self.control_value[other] = second
                    self.n_controls = other + 1
                else:
                    other = self.n_others
                    self.other_start[other] = ticks
                    self.other_part[other] = 16 * track + (status & 15)
                    self.other_kind[other] = kind
                    self.other_first[other] = first
                    self.other_second[other] = second
                    self.n_others = other + 1
            elif byte == 0xFF or byte == 0xF0 or byte == 0xF7:
                meta = -1
                place += 1
                if byte == 0xFF:
                    if place >= stop:
                        raise self._broken(track, place, stop, "")
                    meta = data[place]
                    place += 1
                n_data = 0
                length = 0
                while True:
                    if place >= stop or length == 4:
                        raise self._broken(track, place, stop, "a length of more than four bytes")
                    byte = data[place]
                    place += 1
                    length += 1
                    n_data = (n_data << 7) | (byte & 127)
                    if byte < 128:
                        break
                if n_data > stop - place:
                    raise self._broken(track, stop, stop, "")
                if meta == 0x51 and n_data == 3 and (data[place] or data[place + 1] or data[place + 2]):
                    self.tempo_start[self.n_tempos] = ticks
                    self.tempo_us[self.n_tempos] = (data[place] << 16) | (data[place + 1] << 8) | data[place + 2]
                    self.n_tempos += 1
                elif 0x01 <= meta <= 0x09 or meta == 0x21 or meta == 0x51 or meta == 0x58 or meta == 0x59:
                    if len(self.metas) >= self.max_metas:
                        raise InputError(f"it has more than {self.max_metas:,} texts, meters and keys")
                    self.metas.append((track, ticks, meta, data[place : place + n_data]))
                elif meta == 0x2F:
                    break
                elif meta < 0:
                    self.n_system += 1
                else:
                    self.n_meta += 1
                place += n_data
            else:  # F1 to F6 and F8 to FE do not belong into files, but some programs leave them there
                self.n_system += 1
                place += 3 if byte == 0xF2 else 2 if byte == 0xF1 or byte == 0xF3 else 1
        for note in range(first_note, self.n_notes):
            if self.note_duration[note] < 0:
                self.note_duration[note] = ticks - self.note_start[note]
                self.n_unclosed += 1
                self.oldest[128 * (self.note_part[note] & 15) + self.note_pitch[note]] = -1
        if self.in_order:
            self._sort(first_note)

    def _sort(self, first_note):
        """Sorts the newest track's notes by start, pitch, duration and velocity, if little is out of order."""
        moves = 8 * (self.n_notes - first_note)
        for note in range(first_note + 1, self.n_notes):
            start, duration = self.note_start[note], self.note_duration[note]
            part, pitch, velocity = self.note_part[note], self.note_pitch[note], self.note_velocity[note]
            place = note - 1
            while place >= first_note:
                order = self.note_start[place] - start
                if order == 0:
                    order = self.note_pitch[place] - pitch
                if order == 0:
                    order = self.note_duration[place] - duration
                if order == 0:
                    order = self.note_velocity[place] - velocity
                if order <= 0:
                    break
                self.note_start[place + 1] = self.note_start[place]
                self.note_duration[place + 1] = self.note_duration[place]
                self.note_part[place + 1] = self.note_part[place]
                self.note_pitch[place + 1] = self.note_pitch[place]
                self.note_velocity[place + 1] = self.note_velocity[place]
                place -= 1
                moves -= 1
            if place < note - 1:
                self.note_start[place + 1] = start
                self.note_duration[place + 1] = duration
                self.note_part[place + 1] = part
                self.note_pitch[place + 1] = pitch
                self.note_velocity[place + 1] = velocity
            if moves < 0:  # thousands of notes at one tick, say: sorting them all at once is quicker
                self.in_order = False
                return

    def _broken(self, track, place, stop, what):
        if place >= stop:
            return InputError(f"is cut off within an event of track {track + 1}")
        return InputError(f"damaged: {what} at byte {place} (track {track + 1})")


def _views(columns):
    return [memoryview(column) for column in columns]
