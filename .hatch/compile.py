"""Compiles the reader of MIDI bytes for a wheel, where there is a C compiler; without one it stays plain Python.

MUSEGEN_PURE_PYTHON=1 leaves it plain Python on purpose. An editable install is never compiled: edits count at once.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FOLDER = Path("musegen/midi/smf")


class CompileHook(BuildHookInterface):
    """Adds the compiled `scan` beside `scan.py`, which Python then prefers."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into a temporary folder and tell the builder what to include."""
        if version == "editable" or os.environ.get("MUSEGEN_PURE_PYTHON") == "1":
            return
        self._temporary = Path(tempfile.mkdtemp(prefix="musegen-"))
        try:
            module = _compiled(Path(self.root), self._temporary)
        except BaseException as error:  # a compiler's failure comes in many types, SystemExit among them
            if isinstance(error, KeyboardInterrupt):
                raise
            self.app.display_warning(f"musegen's MIDI reader is not compiled and will be slower: {error}")
            return
        build_data["force_include"][str(module)] = str(_FOLDER / module.name)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if hasattr(self, "_temporary"):
            shutil.rmtree(self._temporary, ignore_errors=True)


def _compiled(root: Path, temporary: Path) -> Path:
    """Returns the compiled module, made in a temporary folder."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    folder = temporary / _FOLDER
    folder.mkdir(parents=True)
    for part in (_FOLDER, *list(_FOLDER.parents)[:-1]):
        (temporary / part / "__init__.py").touch()
    for name in ("scan.py", "scan.pxd"):
        shutil.copy(root / _FOLDER / name, folder)
    before = Path.cwd()
    os.chdir(temporary)
    try:
        no_debugging = ["-g0"] if os.name == "posix" else []  # its tables are four fifths of the file
        extension = Extension("musegen.midi.smf.scan", [str(_FOLDER / "scan.py")], extra_compile_args=no_debugging)
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
