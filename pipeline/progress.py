"""Progress of long work: a bar on a terminal; elsewhere, such as in a log file, a line now and then."""

import sys
import time
from typing import Self

from tqdm import tqdm

# Without a terminal there is a line at the end, one for each tenth of the work if this many seconds have passed since
# the last line,
LEAST_SECONDS = 10
# and one whenever this many have passed.
MOST_SECONDS = 300


class Progress:
    """Shows the progress of work on stderr; use it as a context manager.

    Args:
        total: number of units of the whole work.
        done: of them, before this run.
        shown: whether to show anything.
    """

    def __init__(self, description: str, unit: str, total: int, done: int = 0, shown: bool = True):
        self.description, self.unit, self.total, self.done = description, unit, total, done
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=total, initial=done, unit=unit, desc=description, smoothing=0.05, disable=not (shown and terminal)
        )
        self.in_lines = shown and not terminal
        self.values: dict[str, str] = {}
        self.done_before = self.done_at_line = done
        self.began = self.time_of_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()
        if self.in_lines and self.done > self.done_at_line:
            self._print_line()

    def update(self, count: int = 1) -> None:
        """Count units as done."""
        self.bar.update(count)
        self.done += count
        if self.in_lines and self._is_line_due():
            self._print_line()

    def show(self, values: dict[str, str]) -> None:
        """Show values, such as the loss, behind the progress."""
        self.values = values
        self.bar.set_postfix(values)

    def _is_line_due(self) -> bool:
        seconds = time.monotonic() - self.time_of_line
        is_tenth = 10 * (self.done - self.done_at_line) >= self.total
        return seconds >= MOST_SECONDS or (is_tenth and seconds >= LEAST_SECONDS)

    def _print_line(self) -> None:
        self.time_of_line, self.done_at_line = time.monotonic(), self.done
        seconds = self.time_of_line - self.began
        left = (self.total - self.done) * seconds / (self.done - self.done_before)
        parts = [
            f"{self.description}: {self.done} of {self.total} {self.unit}s",
            f"{tqdm.format_interval(seconds)} elapsed",
            f"{tqdm.format_interval(left)} remaining",
            *(f"{name} {value}" for name, value in self.values.items()),
        ]
        print(", ".join(parts), file=sys.stderr, flush=True)
