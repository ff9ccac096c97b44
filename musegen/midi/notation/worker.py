"""The process that reads a notation file for `notation.read`: bytes come in, a score or a reason goes out.

Run as `python -m musegen.midi.notation.worker`. music21 is large, slow and made for files that mean well: here it can
run out of time, memory or stack without harm to the caller.
"""

import contextlib
import io
import json
import re
import sys
import warnings
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from musegen.errors import InputError
from musegen.midi import limits
from musegen.midi.notation.midi_instruments import name_drums, name_players, name_programs

try:
    import resource
except ImportError:  # Windows has no limits of this kind: there the clock of the caller must do
    resource = None


def main() -> None:
    """Reads a line with the kind and then the file from standard input; writes a score, or JSON with a reason."""
    answers, sys.stdout = sys.stdout.buffer, io.StringIO()
    kind = sys.stdin.buffer.readline().decode().strip()
    data = sys.stdin.buffer.read()
    try:
        answer = _answer(kind, data)
    except InputError as error:
        answer = _refusal(str(error))
    except MemoryError:
        most = limits.current().read_bytes
        answer = _refusal(f"needs more than {most:,} bytes of memory to read ({limits.how_to_raise('read_bytes')})")
    except RecursionError:
        answer = _refusal("is nested too deep")
    except Exception as error:  # music21 raises whatever its code runs into: a file that it cannot read
        detail = " ".join(str(error).split())[:160]
        answer = _refusal(f"is damaged: it cannot be read as {kind} ({type(error).__name__}: {detail})")
    answers.write(answer)
    answers.flush()


def _refusal(reason: str) -> bytes:
    return json.dumps({"reason": reason}).encode()


def _answer(kind: str, data: bytes) -> bytes:
    warnings.simplefilter("ignore")
    now = limits.current()
    _lower("RLIMIT_AS", now.read_bytes)
    _lower("RLIMIT_CPU", now.read_seconds + 5)  # the caller watches the clock; this is for one that is gone
    import music21.converter  # noqa: F401  (its byte code may be written to disk; nothing is after this)

    from musegen.midi.notation.streams import from_music21
    from musegen.midi.notation.transfer import to_npz

    _lower("RLIMIT_FSIZE", 0)
    stream, left_out = _READERS[kind](data)
    score = from_music21(stream)
    return to_npz(replace(score, left_out=dict(score.left_out) | left_out))


def _lower(name: str, value: int) -> None:
    if resource is None:
        return
    kind = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # a system that has the name but not the limit
        resource.setrlimit(kind, (value, hard))


def _musicxml(data: bytes) -> tuple[Any, dict[str, int]]:
    from music21.musicxml.xmlToM21 import MeasureParser, MusicXMLImporter

    root = ElementTree.fromstring(data)
    if root.tag == "score-timewise":
        root = _partwise(root)
    name_drums(MeasureParser, root)
    importer = MusicXMLImporter()
    importer.xmlRootToScore(root, importer.stream)
    name_programs(importer.stream, root)
    name_players(importer.stream, root)
    return importer.stream, {}


def _partwise(timewise: ElementTree.Element) -> ElementTree.Element:
    """Turns bars of parts into parts of bars."""
    root = ElementTree.Element("score-partwise", timewise.attrib)
    parts: dict[str, ElementTree.Element] = {}
    for child in timewise:
        if child.tag != "measure":
            root.append(child)
            continue
        for part in child.findall("part"):
            name = part.get("id", "")
            if name not in parts:
                parts[name] = ElementTree.Element("part", {"id": name})
            measure = ElementTree.SubElement(parts[name], "measure", child.attrib)
            measure.extend(list(part))
    root.extend(parts.values())
    return root


def _abc(data: bytes) -> tuple[Any, dict[str, int]]:
    """Reads the first tune of a file; the others are counted."""
    from music21 import converter

    head, *tunes = re.split(r"(?m)^(?=X:)", data.decode())
    left_out = {"tunes": len(tunes) - 1} if len(tunes) > 1 else {}
    tune = head + tunes[0]
    if not re.search(r"(?m)^[LM]:", tune):  # then ABC means eighths, which music21 does not know
        tune = re.sub(r"(?m)^(X:.*\n)", r"\1L:1/8\n", tune, count=1)
    return converter.parseData(tune, format="abc"), left_out


def _humdrum(data: bytes) -> tuple[Any, dict[str, int]]:
    from music21 import converter

    return converter.parseData(data.decode(), format="humdrum"), {}


_READERS = {"MusicXML": _musicxml, "ABC": _abc, "Humdrum": _humdrum}

if __name__ == "__main__":
    main()
