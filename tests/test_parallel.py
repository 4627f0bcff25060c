import multiprocessing
import os
import signal
from itertools import count, islice

import pytest

from pipeline import parallel
from pipeline.errors import InputError
from pipeline.parallel import PROCESSES_VARIABLE, cpu_quota, map_in_processes, process_count


@pytest.mark.parametrize(
    ("units", "cpus", "expected"),
    [(0, 4, 1), (199, 4, 1), (200, 4, 2), (399, 4, 3), (4000, 4, 4), (4000, 64, 8), (4000, 1, 1)],
)
def test_there_is_a_process_for_each_cpu_and_share_of_the_work(monkeypatch, units, cpus, expected):
    monkeypatch.delenv(PROCESSES_VARIABLE, raising=False)
    monkeypatch.setattr(parallel, "usable_cpus", lambda: cpus)
    assert process_count(units, 100) == expected


def test_the_variable_sets_the_number_of_processes(monkeypatch):
    monkeypatch.setenv(PROCESSES_VARIABLE, " 12 ")
    assert process_count(1, 100) == 12
    for value in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv(PROCESSES_VARIABLE, value)
        with pytest.raises(InputError, match=f"{PROCESSES_VARIABLE} is '{value}'"):
            process_count(1, 100)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path, monkeypatch, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == expected
    monkeypatch.setattr(parallel, "QUOTAS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(3), raising=False)
    assert parallel.usable_cpus() == (3 if expected is None else max(1, min(3, int(expected))))


def adder(term):
    if term is None:
        raise InputError("no term")
    return lambda number: os.kill(os.getpid(), signal.SIGKILL) if number < 0 else 1 // number + term


@pytest.mark.slow
def test_results_have_the_order_of_the_items(monkeypatch):
    assert list(map_in_processes(adder, (10,), [1, 2, 1, 3, 1], count=2)) == [11, 10, 11, 10, 11]
    assert list(map_in_processes(adder, (10,), [1], count=3)) == [11]
    assert list(map_in_processes(adder, (10,), [], count=2)) == []
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_items_are_taken_as_they_are_needed_and_no_process_remains():
    taken = []
    items = (taken.append(i) or i for i in count(1))
    results = map_in_processes(adder, (0,), items, count=2)
    assert list(islice(results, 3)) == [1, 0, 0] and len(taken) <= 5
    assert len(multiprocessing.active_children()) == 2
    results.close()  # as after Ctrl-C
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("term", "items", "error", "message"),
    [
        (None, [1], InputError, "no term"),
        (0, [1, 0, 1], ZeroDivisionError, "zero"),
        (0, [1, -1, 1, 1, 1], InputError, f"exit code -9.*{PROCESSES_VARIABLE}"),
    ],
)
def test_an_error_in_a_process_is_raised(term, items, error, message):
    with pytest.raises(error, match=message):
        list(map_in_processes(adder, (term,), items, count=2))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_error_before_the_first_item_is_raised():
    def items():
        for process in multiprocessing.active_children():
            process.join()
        yield 1

    with pytest.raises(InputError, match="no term"):
        list(map_in_processes(adder, (None,), items(), count=2))
