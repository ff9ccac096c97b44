import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "lightning", "pretty_midi", "music21", "matplotlib", "PIL", "rich.progress")


def loaded_by(code: str, names: tuple[str, ...], *arguments: str) -> list[str]:
    """Which of the modules a fresh interpreter has loaded at the end of `code`."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    code += f"print('loaded', *(n for n in {names!r} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import musegen", HEAVY) == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["compose", "--help"], ["compose", "-o", "no.txt"]], ids=" ".join
)
def test_help_and_version_load_nothing_heavy(arguments: list[str]):
    heavy = tuple(name for name in HEAVY if name != "rich.progress")
    assert loaded_by("from musegen.cli.main import main; main()", heavy, *arguments) == []


def test_composing_loads_neither_lightning_nor_music21(tmp_path):
    out = tmp_path / "x.mid"
    arguments = ("compose", "--instruments", "piano", "--bars", "1", "--seed", "1", "-o", str(out))
    names = ("torch", "lightning", "symusic", "mido", "pretty_midi", "music21", "matplotlib", "PIL", "tensorboard")
    assert loaded_by("from musegen.cli.main import main; main()", names, *arguments) == ["torch"]
    assert out.exists()


def test_every_public_name_is_there():
    import musegen

    for name in musegen.__all__:
        assert getattr(musegen, name) is not None
        assert name in dir(musegen)
    with pytest.raises(AttributeError, match="no attribute 'sonata'"):
        _ = musegen.sonata  # pyright: ignore[reportAttributeAccessIssue]
