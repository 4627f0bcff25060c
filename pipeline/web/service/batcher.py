"""Batches requests: those that arrive within a few milliseconds share one call of a student. One thread computes."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipeline.memory import release_memory
from pipeline.web.service.served import Pair, Served


@dataclass(eq=False)
class Job:
    """A request that waits or is computed.

    Attributes:
        windows: of each question.
        arrived: in the event loop's time.
        answered: resolves to the replies and the seconds they took; cancelled if nobody waits any more.
        replies: to the first questions, as far as computed.
    """

    student: str
    questions: list[Pair]
    windows: list[int]
    n_best: int
    arrived: float
    answered: asyncio.Future
    replies: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0

    def next_part(self, room: int) -> int:
        """How many of the questions still to be answered have at most `room` windows together."""
        begin = count = len(self.replies)
        while count < len(self.questions) and (room := room - self.windows[count]) >= 0:
            count += 1
        return count - begin


class Batcher:
    """Answers requests in batches.

    Args:
        wait: seconds that a request waits for others.
        windows: of a batch. A request with more is computed in parts, and other requests in between; only a single
            question may exceed it.
    """

    def __init__(self, students: Mapping[str, Served], wait: float, windows: int):
        self.students, self.wait, self.windows = students, wait, windows
        self.jobs: list[Job] = []
        self.arrived = asyncio.Event()

    async def answer(
        self, student: str, questions: list[Pair], windows: list[int], n_best: int
    ) -> tuple[list[list[Any]], float]:
        """The replies to each question, and the seconds of the calls that computed them.

        If the caller is cancelled, what has not been computed never is.

        Raises:
            Exception: what the student raised for these questions.
        """
        loop = asyncio.get_running_loop()
        job = Job(student, questions, windows, n_best, loop.time(), loop.create_future())
        self.jobs.append(job)
        self.arrived.set()
        try:
            return await job.answered
        finally:
            self.jobs.remove(job)

    async def run(self) -> None:
        """Compute what arrives, until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "student") as thread:
            while True:
                await self.arrived.wait()
                if self.jobs:
                    await asyncio.sleep(self.jobs[0].arrived + self.wait - loop.time())
                if parts := self._take():
                    await self._compute(thread, parts)
                    self.jobs.sort(key=lambda job: job in parts)  # other requests first
                else:
                    self.arrived.clear()

    def _take(self) -> dict[Job, int]:
        """The requests of a batch, all for the student of the first, and how many questions of each."""
        parts, room = {}, self.windows
        waiting = [job for job in self.jobs if not job.answered.done()]
        for job in waiting:
            if job.student == waiting[0].student and (count := job.next_part(room) or int(not parts)):
                parts[job] = count
                room -= sum(job.windows[len(job.replies) :][:count])
        return parts

    async def _compute(self, thread: ThreadPoolExecutor, parts: dict[Job, int]) -> None:
        """Answer parts of requests in one call; if that fails, each by itself, so that only the culprit fails."""
        questions = [pair for job, count in parts.items() for pair in job.questions[len(job.replies) :][:count]]
        n_best = max(job.n_best for job in parts)
        student = self.students[next(iter(parts)).student]
        try:
            replies, seconds = await asyncio.get_running_loop().run_in_executor(
                thread, _timed, student, questions, n_best
            )
        except Exception as error:
            if len(parts) > 1:
                for job, count in parts.items():
                    await self._compute(thread, {job: count})
            else:
                (job,) = parts
                if not job.answered.done():
                    job.answered.set_exception(error)
            return
        rest = iter(replies)
        for job, count in parts.items():
            job.replies += [next(rest)[: job.n_best] for _ in range(count)]
            job.seconds += seconds
            if len(job.replies) == len(job.questions) and not job.answered.done():
                job.answered.set_result((job.replies, job.seconds))


def _timed(student: Served, questions: list[Pair], n_best: int) -> tuple[list[list[Any]], float]:
    begin = time.perf_counter()
    replies, seconds = student.answerer.answers(questions, n_best), time.perf_counter() - begin
    release_memory()
    return replies, seconds
