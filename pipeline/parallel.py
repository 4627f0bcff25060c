"""Work of one stage in several processes of this machine, with results in the order of the work."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pipeline.errors import InputError

PROCESSES_VARIABLE = "SPAN_DISTILL_PROCESSES"
MOST_PROCESSES = 8
QUOTAS = Path("/sys/fs/cgroup")
Item = TypeVar("Item")
Result = TypeVar("Result")


def process_count(units: int, units_per_process: int) -> int:
    """The number of processes for some units of work: SPAN_DISTILL_PROCESSES, or one per CPU that may be used.

    By default at most `MOST_PROCESSES`, and one per `units_per_process`.

    Raises:
        InputError: SPAN_DISTILL_PROCESSES is not a positive whole number.
    """
    configured = os.environ.get(PROCESSES_VARIABLE, "").strip()
    if not configured:
        return max(1, min(usable_cpus(), MOST_PROCESSES, units // units_per_process))
    if not configured.isdecimal() or int(configured) == 0:
        raise InputError(f"{PROCESSES_VARIABLE} is '{configured}'; it must be a positive whole number")
    return int(configured)


def usable_cpus() -> int:
    """The CPUs that this process may use: those of its affinity, and at most the quota of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(QUOTAS)
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def cpu_quota(folder: Path) -> float | None:
    """The CPUs that a control group may use, from version 2 (cpu.max) or 1 (cpu/cpu.cfs_quota_us); None for all."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit, period = ((folder / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    return None if limit.strip() in ("max", "-1") else int(limit) / int(period)


class _Worker(NamedTuple):
    process: Any
    connection: Connection


def map_in_processes(
    setup: Callable[..., Callable[[Item], Result]], arguments: tuple, items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Yield the results for the items, in their order. Items are taken as they are needed, two for each process.

    Args:
        setup: called in each process with the arguments; returns the function of an item. Defined in a module, like
            all that is passed, since the processes are new ones and not copies of this one.

    Raises:
        InputError: a process was killed.
        Exception: what the function raised.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([setup.__module__])  # is imported once for all processes
    workers = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, setup, arguments), daemon=True)
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
        yield from _in_order(workers, items)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in workers:
            worker.process.join()


def _in_order(workers: list[_Worker], items: Iterable[Item]) -> Iterator[Any]:
    """Yield the results of the items, which the workers take in turn."""
    idle, busy = list(workers[::-1]), deque[_Worker]()
    for item in items:
        if idle:
            worker = idle.pop()
        else:
            worker = busy.popleft()
            yield _received(worker)
        busy.append(worker)
        try:
            worker.connection.send(item)
        except OSError:
            _received(worker)  # raises what the process sent before it ended
            raise _lost(worker) from None
    for worker in busy:
        yield _received(worker)


def _received(worker: _Worker) -> Any:
    try:
        result = worker.connection.recv()
    except (EOFError, OSError):
        raise _lost(worker) from None
    if isinstance(result, Exception):
        raise result
    return result


def _lost(worker: _Worker) -> InputError:
    worker.process.join()
    return InputError(
        f"one of the processes of this stage ended with exit code {worker.process.exitcode}; if it was killed because "
        f"memory ran out, set {PROCESSES_VARIABLE} to fewer processes"
    )


def _work(connection: Connection, setup: Callable[..., Callable], arguments: tuple) -> None:
    """What a process does: it answers items with results, until the process that started it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that started this one ends it
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has one thread
    try:
        function = setup(*arguments)
        while True:
            connection.send(function(connection.recv()))
    except EOFError:
        pass
    except Exception as error:  # is raised where the results are read
        connection.send(error)
