"""Memory of a process that runs for days."""

import ctypes
import sys


def release_memory() -> None:
    """Give freed memory back to the system, where the C library is glibc.

    It keeps the activations of each batch for later; with batches of many shapes the process would grow for minutes.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
