import io
import sys

from rich.console import Console

from musegen.train.log import Log, read_log


def write(folder, step, rows, **options):
    console = Console(file=io.StringIO(), **options)
    log = Log(folder, step, 10, console)
    for at, values in rows:
        log.row(at, values)
        log.advance(at)
    log.close()
    return console.file.getvalue()


def test_rows_are_lines_for_people_and_for_programs(tmp_path):
    text = write(tmp_path, 0, [(1, {"loss": 0.123456}), (2, {"loss": 1.0, "elapsed_seconds": 3.0})])
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.123456}, {"step": 2, "loss": 1.0, "elapsed_seconds": 3.0}]
    assert text.splitlines()[-2:] == ["step 1  loss 0.1235", "step 2  loss 1"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_terminal_gets_a_bar(tmp_path):
    text = write(tmp_path, 0, [(5, {"loss": 0.5})], force_terminal=True, width=120)
    assert "━" in text
    assert "5/10" in text
    assert "step 5" not in text


def test_rows_past_the_state_and_a_cut_line_are_dropped(tmp_path):
    write(tmp_path, 0, [(1, {"loss": 1.0}), (2, {"loss": 2.0}), (3, {"loss": 3.0})])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    write(tmp_path, 2, [(3, {"loss": 3.5})])
    assert [row["loss"] for row in read_log(tmp_path)] == [1.0, 2.0, 3.5]


def test_without_tensorboard_it_says_so_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "tensorboard is not installed" in write(tmp_path, 0, [(1, {"loss": 1.0})])
    assert len(read_log(tmp_path)) == 1


def test_no_log_yet(tmp_path):
    assert read_log(tmp_path) == []
