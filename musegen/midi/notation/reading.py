"""Reading notation files: MusicXML (also compressed), ABC and Humdrum, through music21 in a process of its own.

What a file is, is told by its content. XML is looked through before music21 sees it: entities are refused, so nothing
grows and nothing outside the file is opened. The rest of the work is done by `worker`, under the limits of
`midi.limits` on time and memory, because music21 was not made for files that mean harm.
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from xml.parsers import expat

from musegen.errors import InputError, ScoreFileError
from musegen.midi import limits
from musegen.midi.notation.streams import from_music21
from musegen.midi.score import Score

__all__ = ["from_music21", "read"]

_ABC_LENGTH = re.compile(r"^(?![A-Za-z]:|%).*[A-Ga-gxyzZ][,']*/?\d{5,}", re.MULTILINE)
_WORKER = ("-P", "-m", "musegen.midi.notation.worker")  # -P: nothing of the working folder is imported
_NOT_MUSIC = "is not music that musegen reads (MIDI, MusicXML, ABC or Humdrum)"
_ROOTS = ("score-partwise", "score-timewise")
_MOST_MEMBERS = 10_000  # of an .mxl archive, which holds a score, pictures, and parts one by one
_DEEPEST = 100  # elements within elements; MusicXML has less than 20
_MOST_SPINES = 500  # of a Humdrum file: columns; they can double line by line
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ABC = re.compile(r"(?:\s*%[^\n]*\n|\s*\n|[A-Za-z]:[^\n]*\n)*?X:\s*\d+[^\n]*(?:\n.*)*?\nK:", re.ASCII)
_HUMDRUM = re.compile(r"(?:\s*!!+[^\n]*\n|\s*\n)*\s*(?:\*\*[a-z]|!!!)", re.ASCII)


def read(path: Path, data: bytes) -> Score:
    """Reads a notation file as it sounds; see `from_music21` for what is played how.

    Args:
        path: the file, for error messages.
        data: its content.

    Raises:
        ScoreFileError: it is no music, damaged, unsafe (entities), or over a limit.
    """
    try:
        kind, text = _recognised(data)
        return _read_apart(kind, text)
    except ScoreFileError:
        raise
    except InputError as error:
        raise ScoreFileError(path, str(error)) from error


def _recognised(data: bytes) -> tuple[str, bytes]:
    """Tells what a file is, and returns its name with the bytes to read; compressed MusicXML is unpacked."""
    if data.startswith(b"PK\x03\x04"):
        data = _unpacked(data)
        if not _looks_like_xml(data):
            raise InputError("is a zip archive without MusicXML in it")
    if _looks_like_xml(data):
        _check_xml(data)
        return "MusicXML", data
    text = _decoded(data)
    if _HUMDRUM.match(text):
        if max(line.count("\t") for line in text.splitlines()) >= _MOST_SPINES:
            raise InputError(f"has more than {_MOST_SPINES:,} spines")
        return "Humdrum", text.encode()
    if _ABC.match(text):
        if wrong := _ABC_LENGTH.search(text):
            raise InputError(f"has a note of length {wrong[0].strip()[-12:]}, which is no music")
        return "ABC", text.encode()
    raise InputError(_NOT_MUSIC)


def _decoded(data: bytes) -> str:
    for encoding in ("utf-16",) if data.startswith(_BOMS[1:]) else ("utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
    raise InputError(_NOT_MUSIC)


def _looks_like_xml(data: bytes) -> bool:
    start = data[:400]
    for mark in _BOMS:
        start = start.removeprefix(mark)
    return start.replace(b"\0", b"").lstrip().startswith((b"<?xml", b"<!DOCTYPE", b"<!--", b"<score-"))


def _check_xml(data: bytes) -> None:
    """Reads XML once without keeping it.

    Raises:
        InputError: it is cut off or damaged, is not MusicXML, declares entities, or is nested too deep.
    """
    parser = expat.ParserCreate()
    depth, root = 0, ""

    def start(name: str, _: object) -> None:
        nonlocal depth, root
        root = root or name
        depth += 1
        if depth == 1 and name not in _ROOTS:
            raise InputError(
                f"is XML but not MusicXML: it begins with <{name[:40]}>, allowed are {' and '.join(_ROOTS)}"
            )
        if depth > _DEEPEST:
            raise InputError(f"has elements nested more than {_DEEPEST} deep")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(name: str, *_: object) -> None:
        raise InputError(f"declares the XML entity {name[:40]!r}; a score needs none, and entities can be an attack")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        if not root:
            raise InputError(f"is XML but not MusicXML ({error})") from error
        raise InputError(f"is damaged or cut off: {error}") from error
    except InputError:
        raise
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise InputError(f"is XML in an encoding that cannot be read: {error}") from error


def _unpacked(data: bytes) -> bytes:
    """Returns the score in an .mxl archive: what its container names, else its first MusicXML file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise InputError(f"is a zip archive of {len(members):,} files, allowed are {_MOST_MEMBERS:,}")
            named = {member.filename: member for member in members if not member.is_dir()}
            if "META-INF/container.xml" in named:
                root = _root_file(_content(archive, named["META-INF/container.xml"]))
                if root not in named:
                    raise InputError(f"is damaged: its container names {root[:80]!r}, which is not in it")
                return _content(archive, named[root])
            for name, member in named.items():
                if not name.startswith(("META-INF/", "__MACOSX/")) and name.lower().endswith((".xml", ".musicxml")):
                    return _content(archive, member)
    # All that zipfile was seen to raise for damaged, encrypted and unknown archives.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"is a damaged zip archive ({error})") from error
    raise InputError("is a zip archive without MusicXML in it")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpacks a member, whatever size it claims to have, no further than the limit."""
    most = limits.current().unpacked_bytes
    with archive.open(member) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"unpacks to more than {most:,} bytes ({limits.how_to_raise('unpacked_bytes')})")
    return content


def _root_file(container: bytes) -> str:
    """Returns the path that an archive's container gives for the score."""
    found: list[str] = []

    def start(_: str, attributes: dict[str, str]) -> None:
        if "full-path" in attributes:
            found.append(attributes["full-path"])

    def entity(*_: object) -> None:
        raise InputError("declares an XML entity in its container")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, entity
    try:
        parser.Parse(container, True)
    except (expat.ExpatError, LookupError) as error:
        raise InputError(f"is damaged: its META-INF/container.xml cannot be read ({error})") from error
    if not found:
        raise InputError("is damaged: its META-INF/container.xml names no score")
    return found[0]


def _read_apart(kind: str, text: bytes) -> Score:
    """Reads a file in a process of its own.

    Raises:
        InputError: with the reason that it gives, or because it ran out of time or died.
    """
    seconds = limits.current().read_seconds
    # A session of its own: an interrupt from the keyboard comes to this process, which ends the other.
    with subprocess.Popen(
        [sys.executable, *_WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    ) as process:
        try:
            answer, _ = process.communicate(kind.encode() + b"\n" + text, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            reason = f"takes longer than {seconds} seconds to read ({limits.how_to_raise('read_seconds')})"
            raise InputError(reason) from error
        finally:
            process.kill()
            process.wait()
    return _answered(kind, answer, process.returncode)


def _environment() -> dict[str, str]:
    """The same modules are found as here, and NumPy reserves no memory for threads that have nothing to do."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"} | threads


def _answered(kind: str, answer: bytes, code: int) -> Score:
    from musegen.midi.notation.transfer import from_npz

    if answer.startswith(b"{"):
        raise InputError(json.loads(answer)["reason"])
    if not answer or code:
        raise InputError(
            f"cannot be read as {kind}: its reader died (code {code}), perhaps for lack of memory "
            f"({limits.how_to_raise('read_bytes')})"
        )
    return from_npz(answer)
