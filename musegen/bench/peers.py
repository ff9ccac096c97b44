"""What musegen is measured beside: how each library reads a file, and makes token ids of it."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OURS = "musegen"
INSTALL = "pip install 'musegen[bench]'"
_TOKENIZERS = ("REMI", "TSD", "MIDILike", "Structured", "CPWord", "Octuple", "MuMIDI", "MMM")


@dataclass(frozen=True)
class Peer:
    """A way to read files, or to make tokens of them.

    Args:
        name: as it is printed.
        package: which has to be installed.
        load: imports the package and returns a function of a path.
        is_slow: whether it takes a tenth of a second a file, so that it gets fewer files.
    """

    name: str
    package: str
    load: Callable[[], Callable[[str], Any]]
    is_slow: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """The version of its package."""
        if self.package == OURS:
            from musegen.version import __version__

            return __version__
        return importlib.metadata.version(self.package)


def readers() -> list[Peer]:
    """Returns the ways to read a file, musegen's first."""
    return [
        Peer(OURS, OURS, _own_reader),
        Peer("symusic", "symusic", lambda: importlib.import_module("symusic").Score),
        Peer("miditoolkit", "miditoolkit", lambda: importlib.import_module("miditoolkit").MidiFile, is_slow=True),
        Peer("pretty_midi", "pretty_midi", lambda: importlib.import_module("pretty_midi").PrettyMIDI, is_slow=True),
        Peer("mido", "mido", lambda: importlib.import_module("mido").MidiFile, is_slow=True),
    ]


def tokenizers() -> list[Peer]:
    """Returns the ways to make token ids of a file, musegen's first.

    MidiTok's are as they come, but with programs in one stream of tokens, as files with several tracks need it.
    """
    peers = [Peer(f"MidiTok {name}", "miditok", lambda name=name: _miditok(name), is_slow=True) for name in _TOKENIZERS]
    return [Peer(OURS, OURS, _own_tokenizer), *peers]


def _own_reader() -> Callable[[str], Any]:
    from musegen.midi.score import Score

    return Score.read


def _own_tokenizer() -> Callable[[str], Any]:
    from musegen.midi.score import Score
    from musegen.music.grid import quantise
    from musegen.music.tokenizer import encode

    return lambda path: encode(quantise(Score.read(path))[0]).tokens


def _miditok(name: str) -> Callable[[str], Any]:
    miditok = importlib.import_module("miditok")
    base = {"base_tokenizer": "TSD"} if name == "MMM" else {}
    config = miditok.TokenizerConfig(use_programs=True, one_token_stream_for_programs=True, **base)
    return getattr(miditok, name)(config)
