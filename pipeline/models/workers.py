"""Threads that compute batches, or parts of a training step, on a CPU at the same time.

Threads that share each operation wait for each other after it; where other processes take a core, all of them wait for
the thread that has none. These threads share nothing but the model.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import torch
from torch import nn

# torch's assignment of an attribute, for `assigned_attributes`
_ASSIGN = nn.Module.__setattr__
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads that each compute whole batches.

    Args:
        count: how many there are.
        threads: of OpenMP, for the operations of each of them.
    """

    def __init__(self, count: int, threads: int):
        self.count = count
        self.own_threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,))

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results for the items, in their order. No more than `count` are computed or waiting to be yielded.

        If one raises, the exception is raised when the others that were begun have ended.
        """
        begun = deque[Future[Result]]()
        try:
            for item in items:
                if len(begun) == self.count:
                    yield begun.popleft().result()
                begun.append(self.pool.submit(function, item))
            while begun:
                yield begun.popleft().result()
        finally:
            wait(begun)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.pool.shutdown()
        torch.set_num_threads(self.own_threads)  # new threads take the number that was set last, in any thread


@contextmanager
def assigned_attributes() -> Iterator[set[str]]:
    """The attributes that modules are given within the block, such as `Encoder.length`.

    What a module keeps of its batch while it computes is overwritten by the batch of another thread.
    """
    found = set()

    def assign(self: nn.Module, name: str, value: Any) -> None:
        found.add(f"{type(self).__name__}.{name}")
        _ASSIGN(self, name, value)

    nn.Module.__setattr__ = assign
    try:
        yield found
    finally:
        nn.Module.__setattr__ = _ASSIGN
