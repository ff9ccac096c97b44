# The types of what `scan.py` computes with, for Cython: with them it runs at the speed of C.
# cython: language_level=3

import cython

cdef long long _MAX_TICKS

cdef class Scan:
    cdef public tuple notes, controls, others, tempos
    cdef public list metas
    cdef long long[::1] note_start, note_duration, control_start, other_start, tempo_start, tempo_us
    cdef int[::1] note_part, control_part, other_part, newer, oldest, newest
    cdef unsigned char[::1] note_pitch, note_velocity, control_number, control_value, other_kind, other_first, other_second
    cdef public Py_ssize_t n_notes, n_controls, n_others, n_tempos, n_unclosed, n_stray, n_release, n_system, n_meta
    cdef Py_ssize_t max_notes, max_metas
    cdef public bint in_order

    @cython.locals(
        ticks=cython.longlong, delta=cython.longlong, status=cython.int, byte=cython.int, length=cython.int,
        kind=cython.int, first=cython.int, second=cython.int, meta=cython.int, n_data=cython.Py_ssize_t,
        note=cython.Py_ssize_t, other=cython.Py_ssize_t, key=cython.Py_ssize_t, first_note=cython.Py_ssize_t,
        note_start="long long[::1]", note_duration="long long[::1]", note_part="int[::1]", newer="int[::1]",
        note_pitch="unsigned char[::1]", note_velocity="unsigned char[::1]", oldest="int[::1]", newest="int[::1]",
    )
    cpdef track(self, bytes data, Py_ssize_t place, Py_ssize_t stop, Py_ssize_t track)

    @cython.locals(
        moves=cython.Py_ssize_t, note=cython.Py_ssize_t, place=cython.Py_ssize_t, order=cython.longlong,
        start=cython.longlong, duration=cython.longlong, part=cython.int, pitch=cython.uchar, velocity=cython.uchar,
    )
    cdef _sort(self, Py_ssize_t first_note)
