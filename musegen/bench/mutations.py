"""What happens to files: bytes flip, ends are missing, lengths lie, two files become one."""

import io
import itertools
import random
import re
import struct
import zipfile
from collections.abc import Callable, Sequence

from musegen.bench.seeds import Seed, mxl

_MAX_BYTES = 1 << 20  # mutations that repeat would grow without bound
_NUMBERS = ("0", "-1", "1", "127", "128", "255", "65536", "999999999999", "1e308", "nan", "0.333", "", "x", "²")
_LENGTHS = (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff", b"\x80\x80\x80\x80\x00", b"\x80", b"\xff\xff\x7f", b"\x00")
_METAS = (0x00, 0x01, 0x03, 0x05, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F)
_DOCTYPE = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
    '<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e SYSTEM "file:///etc/hostname">]>'
)

Mutation = Callable[[bytes, random.Random, Sequence[Seed]], bytes]


def mutated(seed: Seed, rng: random.Random, others: Sequence[Seed]) -> Seed:
    """Returns a seed after one to four mutations.

    Args:
        seed: a good file.
        rng: what is done to it, and where.
        others: seeds of the same kind, to splice it with.
    """
    if seed.suffix == ".mxl" and rng.random() < 0.5:
        return Seed(".mxl", mxl(_several(_unpacked(seed.data), rng, _XML, others)))
    data = _several(seed.data, rng, _mutations(seed), others)
    if seed.is_midi and rng.random() < 0.7:
        data = _mended(data)
    return Seed(seed.suffix, data)


def _mended(data: bytes) -> bytes:
    """Makes lengths and number of a MIDI file's tracks true again: most damage is else seen before an event is read."""
    places = [match.start() for match in re.finditer(b"MTrk", data)]
    header = data.find(b"MThd")
    if not places or not 0 <= header < places[0] - 13:
        return data
    pieces = [data[: places[0]]]
    for start, stop in itertools.pairwise([*places, len(data)]):
        pieces += [b"MTrk", struct.pack(">I", max(0, stop - start - 8)), data[start + 8 : stop]]
    mended = b"".join(pieces)
    return mended[: header + 10] + struct.pack(">H", len(places) & 0xFFFF) + mended[header + 12 :]


def _several(data: bytes, rng: random.Random, mutations: Sequence[Mutation], others: Sequence[Seed]) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        data = rng.choice(mutations)(data, rng, others)[:_MAX_BYTES]
    return data


def _mutations(seed: Seed) -> tuple[Mutation, ...]:
    if seed.is_midi:
        return _MIDI
    if seed.suffix == ".mxl":
        return _ZIP
    return _XML if seed.suffix in (".musicxml", ".xml") else _LINES


def _range(data: bytes, rng: random.Random, most: int = 1 << 12) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + int(most ** rng.random()))


def _unpacked(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.startswith("META-INF")]
            return archive.read(names[0])[:_MAX_BYTES]
    except (zipfile.BadZipFile, IndexError, OSError, RuntimeError, ValueError, NotImplementedError):
        return data


# Any file -------------------------------------------------------------------------------------------------------------


def flip(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Sets some bytes to anything."""
    changed = bytearray(data)
    for _ in range(int(32 ** rng.random()) if data else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def flip_bits(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Flips single bits."""
    changed = bytearray(data)
    for _ in range(int(32 ** rng.random()) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Cuts the end off."""
    return data[: rng.randrange(len(data) + 1)]


def delete(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Takes a range out."""
    start, stop = _range(data, rng)
    return data[:start] + data[stop:]


def repeat(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Says a range several times."""
    start, stop = _range(data, rng)
    return data[:start] + data[start:stop] * rng.choice((2, 3, 16, 64)) + data[stop:]


def splice(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Goes on as another file."""
    other = rng.choice(others).data
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def insert(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Puts random bytes in."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(int(256 ** rng.random())) + data[place:]


# MIDI -----------------------------------------------------------------------------------------------------------------


def flip_data(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Sets the low seven bits of some bytes to anything: events stay events, with other values."""
    changed = bytearray(data)
    for _ in range(int(64 ** rng.random()) if data else 0):
        place = rng.randrange(len(changed))
        changed[place] = changed[place] & 0x80 | rng.randrange(128)
    return bytes(changed)


def insert_status(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Puts status bytes where data or delta times are."""
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(len(data) + 1)
        data = data[:place] + bytes([rng.randrange(0x80, 0x100)]) * rng.choice((1, 1, 2, 9)) + data[place:]
    return data


def lie_about_length(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Changes the length of a chunk."""
    places = [match.start() for match in re.finditer(rb"MTrk|MThd|RMIDdata|RIFF", data)]
    if not places:
        return data
    place = rng.choice(places) + 4
    true = int.from_bytes(data[place : place + 4], "big")
    length = rng.choice((0, 1, true - 1, true + 1, true // 2, true * 2, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)))
    return data[:place] + struct.pack(">I", length & 0xFFFFFFFF) + data[place + 4 :]


def change_header(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Changes type, number of tracks or division."""
    place = max(data.find(b"MThd"), 0) + 8 + 2 * rng.randrange(3)
    value = rng.choice((0, 1, 2, 3, 480, 0x7FFF, 0x8000, 0xE250, 0xE700, 0xFFFF, rng.getrandbits(16)))
    return data[:place] + struct.pack(">H", value) + data[place + 2 :]


def insert_length(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Puts in an extreme variable-length number."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(_LENGTHS) + data[place + rng.randrange(2) :]


def insert_meta(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Puts a meta event of any kind and length in."""
    place = rng.randrange(len(data) + 1)
    body = rng.randbytes(rng.randrange(8))
    length = rng.choice((bytes([len(body)]), *_LENGTHS))
    return data[:place] + b"\x00\xff" + bytes([rng.choice(_METAS)]) + length + body + data[place:]


def insert_track(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Puts chunks in, empty or with a few bytes, and counts them or not."""
    body = rng.randbytes(rng.choice((0, 0, 3, 40)))
    return data + (b"MTrk" + struct.pack(">I", len(body)) + body) * rng.choice((1, 2, 300))


# Notation -------------------------------------------------------------------------------------------------------------


def repeat_element(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Says an element of XML several times."""
    found = _chosen(rb"<([a-z-]+)[ >][^<]*</\1>|<(note|measure|part|attributes)[ >].*?</\2>", data, rng)
    if not found:
        return data
    return data[: found.end()] + found[0] * rng.choice((1, 2, 40)) + data[found.end() :]


def delete_element(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Takes an element of XML out."""
    found = _chosen(rb"<([a-z-]+)[ >][^<]*</\1>|<(note|measure|part|attributes)[ >].*?</\2>", data, rng)
    return data[: found.start()] + data[found.end() :] if found else data


def change_number(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Changes the number in an element, an attribute or a line."""
    found = _chosen(rb"-?\d+", data, rng)
    return data[: found.start()] + rng.choice(_NUMBERS).encode() + data[found.end() :] if found else data


def change_attribute(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Changes the value of an attribute of XML, or leaves its end out."""
    found = _chosen(rb'"[^"<>]*"', data, rng)
    value = rng.choice((b'""', b'"' + rng.choice(_NUMBERS).encode() + b'"', b'"', b"'P1'", b'"&amp;&#0;"'))
    return data[: found.start()] + value + data[found.end() :] if found else data


def insert_entity(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Declares entities that grow or point outside, and uses one."""
    used = rng.choice((b"&a;", b"&d;", b"&e;", b"&undeclared;", b"&#x0;", b"&#xD800;"))
    data = re.sub(rb"<!DOCTYPE[^>]*>", _DOCTYPE.encode(), data, count=1) if rng.random() < 0.8 else data
    found = _chosen(rb">[^<]*<", data, rng)
    return data[: found.start() + 1] + used + data[found.end() - 1 :] if found else data


def change_zip_header(data: bytes, rng: random.Random, others: Sequence[Seed]) -> bytes:
    """Changes a field of a header of a zip archive: sizes, method, flags, places, names."""
    found = _chosen(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data, rng)
    if not found:
        return data
    place = found.end() + 2 * rng.randrange(14)
    width = rng.choice((1, 2, 4))
    value = rng.choice((bytes(width), b"\xff" * width, rng.randbytes(width)))
    return data[:place] + value + data[place + width :]


def _chosen(pattern: bytes, data: bytes, rng: random.Random) -> re.Match[bytes] | None:
    found = list(re.finditer(pattern, data, re.DOTALL))
    return rng.choice(found) if found else None


_ANY: tuple[Mutation, ...] = (flip, flip_bits, truncate, delete, repeat, splice, insert)
_MIDI = (
    *(*_ANY, flip_data, flip_data, flip_data),
    *(insert_status, lie_about_length, change_header, insert_length, insert_meta, insert_track),
)
_XML = (*_ANY, repeat_element, delete_element, change_number, change_number, change_attribute, insert_entity)
_LINES = (*_ANY, change_number, change_number)
_ZIP = (*_ANY, change_zip_header, change_zip_header, change_zip_header)
