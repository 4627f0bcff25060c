import contextlib
import threading
from types import SimpleNamespace

import pytest

from pipeline.answering.answerer import Reply
from pipeline.web.service import server
from pipeline.web.service.limits import Limits
from pipeline.web.service.served import Served


class FirstWords:
    """Answers with the first words of the context, the question's number of letters as score; counts its calls.

    Attributes:
        calls: the questions of each call.
        blocked: while set, a call waits; `entered` is set when one does.
    """

    def __init__(self, tokenizer, max_length=32, stride=8):
        self.tokenizer, self.question_tokens = tokenizer, max_length - 3 - stride - 1
        self.settings = SimpleNamespace(max_length=max_length, stride=stride, null_threshold=None)
        self.calls, self.entered, self.free = [], threading.Event(), threading.Event()
        self.free.set()

    def answers(self, questions, n_best=1, tokens=None):
        self.calls.append([question for question, _ in questions])
        self.entered.set()
        assert self.free.wait(10)
        if any("poison" in question for question, _ in questions):
            raise RuntimeError("poisoned")
        return [[self._reply(question, context, n) for n in range(n_best)] for question, context in questions]

    def steps(self, questions, n_best, size, progress=lambda characters: None, tokens=None):
        """A step for each half of the words, whatever the size."""
        ((_, context),) = questions
        replies = self.answers(questions, n_best)
        progress(len(context) // 2)
        yield
        self.calls.append("second step")
        progress(len(context) - len(context) // 2)
        return replies

    def _reply(self, question, context, n):
        words = context.split()[: 1 + n]
        return Reply(" ".join(words), 0, len(" ".join(words)), float(len(question)), 1 / (2 + n))


@pytest.fixture
def answerer(tokenizer):
    return FirstWords(tokenizer)


@pytest.fixture
def students(answerer, tokenizer):
    return [
        Served("first", answerer),
        Served("second", FirstWords(tokenizer)),
        Served("large", FirstWords(tokenizer), True),
    ]


@contextlib.contextmanager
def serving(students, limits):
    """The address of uvicorn in a thread."""
    with server.listen(server.LOOPBACK, 0) as socket:
        running = server.configure(students, limits, server.LOOPBACK)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield socket.getsockname()
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture
def serve(students):
    """Start the service with the given limits; stopped at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda students=students, **limits: stack.enter_context(serving(students, Limits(**limits)))
