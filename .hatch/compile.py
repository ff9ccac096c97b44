"""Compiles, for a wheel, the reader of MIDI bytes and the steps of Muse, where there is a C compiler.

Without one both stay Python. MUSEGEN_PURE_PYTHON=1 leaves them so on purpose. An editable install compiles the steps
only, into the tree: the reader stays plain Python, so that edits count at once. `python .hatch/compile.py` does this
again after an edit of `step.c`.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_READER = Path("musegen/midi/smf")
_STEPS = Path("musegen/music")
# By the names that `musegen/music/compiled.py` looks for.
_X86 = {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mfma", *(f"-mavx512{part}" for part in ("f", "vl", "bw", "dq"))]}


class CompileHook(BuildHookInterface):
    """Adds what is compiled beside its sources, which Python then prefers."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a temporary folder and tell the builder what to include."""
        if os.environ.get("MUSEGEN_PURE_PYTHON") == "1":
            return
        root = Path(self.root)
        if version == "editable":
            self._try("steps of Muse are", lambda: compile_steps(root, root / _STEPS))
            return
        self._temporary = Path(tempfile.mkdtemp(prefix="musegen-"))
        made = [
            *((path, _READER) for path in self._try("MIDI reader is", lambda: [_reader(root, self._temporary)])),
            *((path, _STEPS) for path in self._try("steps of Muse are", lambda: compile_steps(root, self._temporary))),
        ]
        for path, folder in made:
            build_data["force_include"][str(path)] = str(folder / path.name)
        if made:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if hasattr(self, "_temporary"):
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _try(self, what: str, compiling: Any) -> list[Path]:
        """Returns what is compiled; nothing, and a warning, where that fails."""
        try:
            return compiling()
        except BaseException as error:  # a compiler's failure comes in many types, SystemExit among them
            if isinstance(error, KeyboardInterrupt):
                raise
            self.app.display_warning(f"musegen's {what} not compiled and will be slower: {error}")
            return []


def compile_steps(root: Path, folder: Path) -> list[Path]:
    """Compiles `step.c` into a folder, for each kind of processor that this machine's programs may meet."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    flags = ["-std=gnu11", "-O3", "-fPIC", "-shared", "-Wno-psabi"]
    source = root / _STEPS / "step.c"
    fingerprint = hashlib.sha256(source.read_bytes()).hexdigest()
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    made = []
    for name, target in (_X86 if is_x86 else {"plain": []}).items():
        path = folder / f"step-{name}.so"
        new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        command = [*compiler, *flags, *target, f'-DSOURCE="{fingerprint}"', str(source), "-o", str(new), "-lm"]
        subprocess.run(command, check=True)
        new.replace(path)  # whoever has the old one loaded keeps it
        made.append(path)
    return made


def _reader(root: Path, temporary: Path) -> Path:
    """Returns the compiled reader, made in a temporary folder."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    folder = temporary / _READER
    folder.mkdir(parents=True)
    for part in (_READER, *list(_READER.parents)[:-1]):
        (temporary / part / "__init__.py").touch()
    for name in ("scan.py", "scan.pxd"):
        shutil.copy(root / _READER / name, folder)
    before = Path.cwd()
    os.chdir(temporary)
    try:
        no_debugging = ["-g0"] if os.name == "posix" else []  # its tables are four fifths of the file
        extension = Extension("musegen.midi.smf.scan", [str(_READER / "scan.py")], extra_compile_args=no_debugging)
        # Every index is checked by hand before it is used; see `Scan.track`.
        directives = {"boundscheck": False, "wraparound": False, "initializedcheck": False}
        modules = cythonize([extension], language_level=3, compiler_directives=directives, quiet=True)
        command = build_ext(Distribution({"name": "musegen", "ext_modules": modules}))
        command.inplace = False
        command.build_lib = str(temporary / "lib")
        command.build_temp = str(temporary / "objects")
        command.ensure_finalized()
        command.run()
        return Path(command.get_ext_fullpath("musegen.midi.smf.scan")).resolve()
    finally:
        os.chdir(before)


if __name__ == "__main__":
    top = Path(__file__).resolve().parent.parent
    for made_path in compile_steps(top, top / _STEPS):
        print(made_path.relative_to(top))
