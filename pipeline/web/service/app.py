"""The HTTP service: `POST /answer`, `/health`, and a page."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pipeline.errors import InputError
from pipeline.web.html import MARKS
from pipeline.web.service.batcher import Batcher
from pipeline.web.service.guard import ClientGone, Guard, Refused
from pipeline.web.service.limits import Limits
from pipeline.web.service.schema import About, Answer, Answered, Ask, Error, Example, Examples, Health, Progress
from pipeline.web.service.served import Pair, Served, Texts, TooLong

STATUSES = {
    400: "the body cannot be read",
    403: "the request comes from another site",
    404: "no such student or request",
    408: "the body was not complete in time",
    413: "the request is over a limit",
    422: "the request is not as documented",
    500: "the student failed",
    503: "too many requests are in progress",
    504: "not answered in time",
}
NOT_FOUND = "the service has only POST /answer, /progress/{request}, /examples, /health, /openapi.json and the page /"
FOLDER = Path(__file__).parent
PAGE = {
    "/": (FOLDER / "page.html", "text/html"),
    "/page.js": (FOLDER / "page.js", "text/javascript"),
    "/page.css": (FOLDER / "page.css", "text/css"),
    "/marks.js": (MARKS, "text/javascript"),
}


def build(students: list[Served], limits: Limits, host: str = "127.0.0.1") -> FastAPI:
    """The application; its lifespan runs the batches.

    Args:
        students: the first is the default of requests; names are unique.
        host: the host name that the service listens on.
    """
    by_name = {student.name: student for student in students}
    batcher = Batcher(by_name, limits.batch_ms / 1000, limits.batch_windows)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # a thread for each request, so that long texts do not delay other requests
        with ThreadPoolExecutor(limits.queue, "reading") as app.state.reading:
            running = asyncio.create_task(batcher.run())
            yield
            running.cancel()
            await asyncio.wait([running])

    app = FastAPI(
        title="span-distill",
        description="Students that answer a question with a span of a text.",
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from a CDN
        redoc_url=None,
        responses={status: {"model": Error, "description": text} for status, text in STATUSES.items()},
    )
    app.add_middleware(Guard, limits=limits, host=host)
    _handle_errors(app)
    _add_page(app)

    @app.get("/health")
    async def health() -> Health:
        """The names of the students and the limits."""
        return Health(
            status="ok",
            students=[_about(student) for student in students],
            in_progress=len(batcher.jobs),
            limits=asdict(limits),
        )

    @app.post("/answer")
    async def answer(request: Request, ask: Ask) -> Answered:
        """Answer questions. Requests that arrive within a few milliseconds are computed together."""
        check(ask, limits)
        student = _find(by_name, students[0].name if ask.student is None else ask.student)
        pairs = [(one.question, ask.contexts[one.context]) for one in ask.questions]

        async def replies() -> tuple[list[list[Any]], float]:
            loop, stop = asyncio.get_running_loop(), threading.Event()
            try:
                windows, texts = await loop.run_in_executor(app.state.reading, _read, student, pairs, limits, stop)
                return await batcher.answer(student.name, pairs, windows, ask.n_best, texts, ask.request)
            finally:
                stop.set()

        found, seconds = await _while_connected(request, replies(), limits.timeout)
        return Answered(
            student=student.name,
            milliseconds=1000 * seconds,
            answers=[[Answer(**vars(reply)) for reply in best] for best in found],
        )

    @app.get("/progress/{request:path}")
    async def progress(request: str) -> Progress:
        """How far the answer to a request is. 404 before it is computed, and after it was sent."""
        found = batcher.progress(request)
        if found is None:
            raise Refused(404, "no such request is computed or waiting")
        return Progress(read=found[0], characters=found[1])

    @app.get("/examples")
    async def examples() -> Examples:
        """Validation questions of the first student, if it has any."""
        return Examples(examples=[Example(**vars(example)) for example in students[0].about.examples])

    return app


def check(ask: Ask, limits: Limits) -> None:
    """Check what needs no tokenizer.

    Raises:
        Refused: 413 for a limit, 422 for a value.
    """
    if len(ask.questions) > limits.questions:
        raise Refused(
            413, f"the request has {len(ask.questions):,} questions; at most {limits.questions:,} are allowed"
        )
    characters = sum(map(len, [*ask.contexts, *(one.question for one in ask.questions)]))
    if characters > limits.characters:
        sentence = f"the texts have {characters:,} characters; at most {limits.characters:,} are allowed"
        raise Refused(413, sentence)
    for i, context in enumerate(ask.contexts):
        if not context.strip():
            raise Refused(422, f"contexts[{i}] is empty")
    for i, one in enumerate(ask.questions):
        if not one.question.strip():
            raise Refused(422, f"questions[{i}] is empty")
        if one.context >= len(ask.contexts):
            raise Refused(422, f"questions[{i}] names context {one.context}; there are {len(ask.contexts)}, from 0")


def _about(student: Served) -> About:
    return About(
        name=student.name,
        teacher=student.is_teacher,
        facts="; ".join(student.facts),
        trained_on=student.about.trained_on,
        question_characters=student.question_characters,
    )


def _find(students: dict[str, Served], name: str) -> Served:
    if name not in students:
        raise Refused(404, f"there is no student {name[:80]!r}; there are: {', '.join(students)}")
    return students[name]


def _read(student: Served, pairs: list[Pair], limits: Limits, stop: threading.Event) -> tuple[list[int], Texts]:
    """Like `Served.read`, but within the limits. Raises ClientGone once `stop` is set: nobody waits any more."""

    def check() -> None:
        if stop.is_set():
            raise ClientGone

    try:
        windows, texts = student.read(pairs, check)
    except TooLong as error:
        raise Refused(422, str(error)) from None
    if sum(windows) > limits.windows:
        raise Refused(
            413,
            f"the questions have {sum(windows):,} windows on their contexts; at most {limits.windows:,} are allowed",
        )
    return windows, texts


async def _while_connected(request: Request, work: Any, timeout: float) -> Any:
    """The result of a coroutine, which is cancelled after `timeout` seconds, or when the client has gone."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # the body has been read: the next message is the disconnection
    try:
        await asyncio.wait([working, gone], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise (
            ClientGone
            if gone.done()
            else Refused(504, f"not answered within {timeout:g} s; --timeout of the service allows more")
        )
    finally:
        working.cancel()
        gone.cancel()


def _handle_errors(app: FastAPI) -> None:
    """Every error is a status and one sentence."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> Response:
        return Refused(422, str(error).splitlines()[0]).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return Refused(422, _sentence(error.errors()[0])).response()

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        sentences = {
            404: "there are POST /answer, /progress/{request}, /examples, /health, /openapi.json and the page / only"
        }
        return Refused(error.status_code, sentences.get(error.status_code, error.detail)).response()

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return Refused(500, "the service failed; its log has the reason").response()


def _sentence(error: dict[str, Any]) -> str:
    """`questions[3].question: ...` from an error of pydantic, without the value."""
    _, *place = error["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if error["type"] == "json_invalid":
        return f"the body is not JSON: {error['ctx']['error']} at character {place[0]}"
    if not where:
        return "the body must be a JSON object, sent as application/json"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def _add_page(app: FastAPI) -> None:
    """The page's files, read once; no path of a client is opened."""

    for path, (file, media_type) in PAGE.items():
        response = Response(file.read_bytes(), media_type=media_type)
        app.add_route(path, lambda request, response=response: response)
