"""Writing sound to a WAV file as it is made: whole or not at all, as loud as asked, in little memory."""

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.files import replacing

N_CHANNELS = 2
_SAMPLE_BYTES, _RAW_BYTES, _HEADER_BYTES = 2, 4, 44
_BLOCK_FRAMES = 1 << 16
_SILENCE = 1e-4
MAX_FRAMES = (2**32 - 1 - _HEADER_BYTES) // (N_CHANNELS * _SAMPLE_BYTES)
"""How long a WAV file can be: it writes its size in 32 bits."""


class WavWriter:
    """Takes sound of any level, and knows when all of it is there how loud it may be made.

    Until then the samples lie in the file as 32-bit numbers. At the end they are scaled and moved down within it, as
    16-bit ones, which is safe because these take half the room: nothing is ever read that was overwritten.
    """

    def __init__(self, file: BinaryIO, sample_rate: int):
        self._file, self._rate = file, sample_rate
        self.n_frames, self.peak = 0, 0.0
        file.seek(_HEADER_BYTES)

    def write(self, frames: NDArray[np.float32]) -> None:
        """Append sound of shape (n, 2)."""
        if len(frames):
            self._file.write(np.ascontiguousarray(frames, np.float32).tobytes())
            self.n_frames += len(frames)
            self.peak = max(self.peak, float(frames.max()), -float(frames.min()))

    def finish(self, peak: float) -> None:
        """Make the loudest sample `peak` of full scale, above 0 to 1, and the file a WAV file."""
        # What is as good as silent stays so: louder, it would be nothing but the noise of rounding.
        scale = 32767 * (peak / self.peak if self.peak > _SILENCE else 1.0)
        for start in range(0, self.n_frames, _BLOCK_FRAMES):
            self._file.seek(_HEADER_BYTES + start * N_CHANNELS * _RAW_BYTES)
            raw = np.frombuffer(self._file.read(_BLOCK_FRAMES * N_CHANNELS * _RAW_BYTES), np.float32)
            self._file.seek(_HEADER_BYTES + start * N_CHANNELS * _SAMPLE_BYTES)
            self._file.write(np.rint(raw * scale).astype("<i2").tobytes())
        n_bytes = self.n_frames * N_CHANNELS * _SAMPLE_BYTES
        self._file.truncate(_HEADER_BYTES + n_bytes)
        self._file.seek(0)
        frame_bytes, pcm = N_CHANNELS * _SAMPLE_BYTES, 1
        form = struct.pack("<HHIIHH", pcm, N_CHANNELS, self._rate, self._rate * frame_bytes, frame_bytes, 16)
        riff = struct.pack("<4sI4s", b"RIFF", _HEADER_BYTES - 8 + n_bytes, b"WAVE")
        self._file.write(riff + struct.pack("<4sI", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", n_bytes))


@contextlib.contextmanager
def wav_file(path: str | os.PathLike[str], sample_rate: int, peak: float) -> Iterator[WavWriter]:
    """Opens a sound file that is there when the body has ended well, and else is as it was; see `files.replacing`.

    Raises:
        ScoreFileError: the folder does not exist, the path is a folder or a device, or the system refuses.
        InputError: the name does not end in .wav.
    """
    if Path(path).suffix.lower() != ".wav":
        raise InputError(f"the name of a sound file must end in .wav, got {str(path)!r}")
    with replacing(path) as file:
        writer = WavWriter(file, sample_rate)
        yield writer
        writer.finish(peak)
