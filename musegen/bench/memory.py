"""How much memory a library takes to go through files.

`python -m musegen.bench.memory KIND NAME` is the process that is measured: it takes paths, a line each, on its standard
input, and prints a number.
"""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    return rise_of_child("musegen.bench.memory", kind, peer.name, told="\n".join(paths))


def rise_of_child(module: str, *arguments: str, told: str = "") -> float | None:
    """Returns the MiB that a module run as a process of its own prints, as `print_rise` does.

    Args:
        module: what is run.
        arguments: for it.
        told: its standard input.

    Returns:
        None where the system does not tell, or the process dies.
    """
    command = [sys.executable, "-m", module, *arguments]
    child = subprocess.run(command, input=told, capture_output=True, encoding="utf-8", check=False)
    return json.loads(child.stdout.splitlines()[-1]) if child.returncode == 0 and child.stdout else None


def print_rise(run: Callable[[], object]) -> None:
    """Prints how far a function raises the memory of this process above all that it has taken before, in MiB."""
    gc.collect()
    before = peak_bytes()
    run()
    after = peak_bytes()
    print(json.dumps(None if before is None or after is None else round((after - before) / _MEBIBYTE, 2)))


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

    def read_all() -> None:
        for path in paths:
            with suppress(Exception):  # what it refuses takes memory too
                read(path)

    print_rise(read_all)


if __name__ == "__main__":
    main()
