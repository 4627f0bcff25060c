import ctypes
import os
from pathlib import Path

import pytest

from pipeline.web.service.memory import release_memory


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_memory_that_was_freed_goes_back_to_the_system():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

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
