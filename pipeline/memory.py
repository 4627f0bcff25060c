"""How a process keeps the memory that it freed, where the C library is glibc."""

import ctypes
import sys
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_memory() -> None:
    """Keep freed memory for the next allocation, from now on.

    By default glibc returns large blocks to the system at once, and each training step pays for getting and clearing
    the memory of its activations again.
    """
    library = _glibc()
    if library:
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def release_memory() -> None:
    """Give freed memory back to the system, once.

    glibc keeps the activations of each batch for later. Batches of many shapes leave holes between them that fit none,
    so that a process grows for hours.
    """
    library = _glibc()
    if library:
        library.malloc_trim(0)


def _glibc() -> Any:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
