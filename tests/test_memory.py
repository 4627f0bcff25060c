import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.memory import release_memory
from tests.repositories import ROOT

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")

FAULTS = """
import resource, sys
from pipeline.memory import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(40_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_memory()
print(before, min(faults() for _ in range(5)))  # on a busy machine the system may take pages and give them back
"""


def resident() -> int:
    """Bytes of this process in memory, or swapped out by a machine that has little of it."""
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
    return sum(1024 * int(line[1]) for line in lines if line[0] in ("Rss:", "Swap:"))


@pytest.mark.slow
def test_memory_that_is_kept_is_used_again():
    command = [sys.executable, "-c", FAULTS]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before, after = map(int, printed.split())
    assert before >= 20 and after < before / 10


def test_memory_that_was_freed_goes_back_to_the_system():
    blocks = [bytearray(100_000) for _ in range(1000)]  # small enough for the heap
    last = bytearray(100_000)  # after them, so that the heap cannot shrink by itself
    del blocks
    release_memory()
    before = resident()
    blocks = [bytearray(100_000) for _ in range(1000)]
    assert resident() - before > 80e6
    last = bytearray(len(last))
    del blocks
    release_memory()
    assert resident() - before < 20e6
