"""How much memory a library takes to go through files.

`python -m musegen.bench.memory KIND NAME` is the process that is measured: it takes paths, a line each, on its standard
input, and prints a number.
"""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from musegen.bench.peers import Peer, readers, tokenizers

_MEBIBYTE = 1 << 20


def peak_mebibytes(peer: Peer, kind: str, paths: Sequence[str]) -> float | None:
    """Returns how far a process of its own rises above what it takes after importing a library.

    Args:
        peer: how files are read; one after the other, and none is kept.
        kind: "readers" or "tokenizers", where the peer comes from.
        paths: the files.

    Returns:
        The peak in MiB; None where the system does not tell, or the process dies.
    """
    command = [sys.executable, "-m", "musegen.bench.memory", kind, peer.name]
    child = subprocess.run(command, input="\n".join(paths), capture_output=True, encoding="utf-8", check=False)
    return json.loads(child.stdout.splitlines()[-1]) if child.returncode == 0 and child.stdout else None


def peak_bytes() -> int | None:
    """Returns the most memory that this process has taken so far.

    Linux counts in `ru_maxrss` what the parent took when it started this process, but not in VmHWM.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts in bytes


def main() -> None:
    """Reads the files and prints the rise in MiB."""
    kind, name = sys.argv[1:]
    known = readers() if kind == "readers" else tokenizers()
    read = next(peer for peer in known if peer.name == name).load()
    paths = sys.stdin.read().splitlines()
    warnings.simplefilter("ignore")
    gc.collect()
    before = peak_bytes()
    for path in paths:
        try:
            read(path)
        except Exception:  # what it refuses takes memory too
            continue
    after = peak_bytes()
    print(json.dumps(None if before is None or after is None else round((after - before) / _MEBIBYTE, 2)))


if __name__ == "__main__":
    main()
