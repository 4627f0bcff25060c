"""Batches requests: those that arrive within a few milliseconds share one call of a student. One thread computes."""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.memory import release_memory
from pipeline.web.service.served import Pair, Served, Texts

Replies = list[list[Any]]  # of each question


@dataclass(eq=False)
class Job:
    """A request that waits or is computed.

    Attributes:
        windows: of each question.
        texts: tokens of long contexts.
        request: the client's name for it, by which it asks for the progress.
        arrived: in the event loop's time.
        answered: resolves to the replies and the seconds they took; cancelled if nobody waits any more.
        replies: to the first questions, as far as computed.
        steps: of the next question, if that has more windows than a batch and has been begun.
        characters_of_steps: of its context, as far as read.
    """

    student: str
    questions: list[Pair]
    windows: list[int]
    n_best: int
    texts: Texts
    request: str | None
    arrived: float
    answered: asyncio.Future
    replies: Replies = field(default_factory=list)
    steps: Generator[None, None, Replies] | None = None
    characters_of_steps: int = 0
    seconds: float = 0.0

    def next_part(self, room: int) -> int:
        """How many of the questions still to be answered have at most `room` windows together."""
        return int(np.searchsorted(np.cumsum(self.windows[len(self.replies) :]), room, side="right"))

    def progress(self) -> tuple[int, int]:
        """How many characters of its contexts were read, and how many there are."""
        lengths = [len(context) for _, context in self.questions]
        return sum(lengths[: len(self.replies)]) + self.characters_of_steps, sum(lengths)

    def add_progress(self, characters: int) -> None:
        self.characters_of_steps += characters

    def add(self, replies: Replies) -> None:
        """Add the replies to the next questions."""
        self.replies += [best[: self.n_best] for best in replies]
        if len(self.replies) == len(self.questions) and not self.answered.done():
            self.answered.set_result((self.replies, self.seconds))

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class Batcher:
    """Answers requests in batches.

    Args:
        wait: seconds that a request waits for others.
        windows: of a batch. A request with more is computed in parts, a question with more in steps, and other requests
            in between.
    """

    def __init__(self, students: Mapping[str, Served], wait: float, windows: int):
        self.students, self.wait, self.windows = students, wait, windows
        self.jobs: list[Job] = []
        self.arrived = asyncio.Event()

    async def answer(
        self,
        student: str,
        questions: list[Pair],
        windows: list[int],
        n_best: int,
        texts: Texts,
        request: str | None = None,
    ) -> tuple[Replies, float]:
        """The replies to each question, and the seconds of the calls that computed them.

        If the caller is cancelled, the rest is not computed.

        Args:
            windows, texts: as from `Served.read`.
            request: a name for `progress`.

        Raises:
            Exception: what the student raised for these questions.
        """
        loop = asyncio.get_running_loop()
        job = Job(student, questions, windows, n_best, texts, request, loop.time(), loop.create_future())
        self.jobs.append(job)
        self.arrived.set()
        try:
            return await job.answered
        finally:
            self.jobs.remove(job)

    def progress(self, request: str) -> tuple[int, int] | None:
        """`Job.progress` of the request with this name; None if there is no such request."""
        return next((job.progress() for job in self.jobs if job.request == request), None)

    async def run(self) -> None:
        """Compute what arrives, until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "student") as thread:
            while True:
                await self.arrived.wait()
                if self.jobs:
                    await asyncio.sleep(self.jobs[0].arrived + self.wait - loop.time())
                if parts := self._take():
                    first = next(iter(parts))
                    if first.windows[len(first.replies)] > self.windows:
                        await self._step(thread, first)
                    else:
                        await self._compute(thread, parts)
                    self.jobs.sort(key=lambda job: job in parts)  # other requests first
                else:
                    self.arrived.clear()

    def _take(self) -> dict[Job, int]:
        """The requests of a batch, all for the student of the first, and how many questions of each.

        A question with more windows than a batch comes alone.
        """
        parts, room = {}, self.windows
        waiting = [job for job in self.jobs if not job.answered.done()]
        for job in waiting:
            count = job.next_part(room) if job.student == waiting[0].student else 0
            if not parts:
                count = max(count, 1)
            if count:
                parts[job] = count
                room -= sum(job.windows[len(job.replies) :][:count])
        return parts

    async def _compute(self, thread: ThreadPoolExecutor, parts: dict[Job, int]) -> None:
        """Answer parts of requests in one call; if that fails, each by itself, so that only the culprit fails."""
        questions = [pair for job, count in parts.items() for pair in job.questions[len(job.replies) :][:count]]
        n_best = max(job.n_best for job in parts)
        texts = {text: tokens for job in parts for text, tokens in job.texts.items()}
        answerer = self.students[next(iter(parts)).student].answerer
        try:
            replies, seconds = await _timed(thread, lambda: answerer.answers(questions, n_best, tokens=texts))
        except Exception as error:
            if len(parts) == 1:
                next(iter(parts)).fail(error)
            else:
                for job, count in parts.items():
                    await self._compute(thread, {job: count})
            return
        rest = iter(replies)
        for job, count in parts.items():
            job.seconds += seconds
            job.add([next(rest) for _ in range(count)])

    async def _step(self, thread: ThreadPoolExecutor, job: Job) -> None:
        """Answer a part of a question that has more windows than a batch."""
        if job.steps is None:
            questions = [job.questions[len(job.replies)]]
            answerer = self.students[job.student].answerer
            job.steps = answerer.steps(questions, job.n_best, self.windows, job.add_progress, tokens=job.texts)
        steps = job.steps
        try:
            replies, seconds = await _timed(thread, lambda: _next(steps))
        except Exception as error:
            job.fail(error)
            return
        job.seconds += seconds
        if replies is not None:
            job.steps, job.characters_of_steps = None, 0
            job.add(replies)


async def _timed(thread: ThreadPoolExecutor, call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call in a thread, and its seconds."""

    def timed() -> tuple[Any, float]:
        begin = time.perf_counter()
        result, seconds = call(), time.perf_counter() - begin
        release_memory()
        return result, seconds

    return await asyncio.get_running_loop().run_in_executor(thread, timed)


def _next(steps: Generator[None, None, Replies]) -> Replies | None:
    """The next step of an answer; what it returns, at its end."""
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    return None
