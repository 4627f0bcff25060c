import io
import sys

import pytest

from pipeline import progress
from pipeline.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Set clock[0] to the seconds that have passed."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def work(clock, total, seconds, done=0, **options):
    """Do all units, each of which takes `seconds`."""
    with Progress("train", "step", total, done, **options) as shown:
        for i in range(done, total):
            clock[0] += seconds
            shown.update()
            shown.show({"loss": str(total - i - 1)})


def test_without_a_terminal_there_is_a_line_for_each_tenth(clock, capsys):
    work(clock, total=200, seconds=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 20 of 200 steps, 00:20 elapsed, 03:00 remaining, loss 181"
    assert lines[-1] == "train: 200 of 200 steps, 03:20 elapsed, 00:00 remaining, loss 1"
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("total", "seconds", "lines"),
    [(1000, 0.001, 1), (100, 0.2, 2), (1000, 36, 120), (5, 3600, 5)],
    ids=["a second", "twenty seconds", "ten hours", "steps of an hour"],
)
def test_short_work_has_few_lines_and_long_work_one_every_few_minutes(clock, capsys, total, seconds, lines):
    work(clock, total, seconds)
    assert capsys.readouterr().err.count("\n") == pytest.approx(lines, abs=lines // 10)


def test_work_that_resumes_counts_what_was_done_but_not_its_time(clock, capsys):
    work(clock, total=100, done=90, seconds=1)
    assert capsys.readouterr().err == "train: 100 of 100 steps, 00:10 elapsed, 00:00 remaining, loss 1\n"


def test_work_that_ends_early_says_how_far_it_came(clock, capsys):
    with pytest.raises(KeyboardInterrupt), Progress("train", "step", 100) as shown:
        shown.update(5)
        clock[0] += 1
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "train: 5 of 100 steps, 00:01 elapsed, 00:19 remaining\n"


def test_other_processes_of_a_run_show_nothing(clock, capsys):
    work(clock, total=100, seconds=60, shown=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_and_no_lines(clock, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    work(clock, total=100, seconds=60)
    assert "\rtrain: 100%|" in terminal.getvalue() and "loss=0" in terminal.getvalue()
    assert "steps," not in terminal.getvalue()
