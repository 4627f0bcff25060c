"""A few invented records, a tokenizer trained on them, and their windows. No test needs the network."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# with tiny tensors a second thread costs more than it saves
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[1])}

import pytest

from pipeline import paths
from pipeline.log import show_log
from tests.browser import CHROMIUM, Browser
from tests.forks import Forks

# fixtures import what they need of torch and transformers: the controller of pytest-xdist reads this file and runs no
# test

FORKS = pytest.StashKey[Forks]()
show_log()


def pytest_configure(config):
    """Start the server of forks, while this process has one thread."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the controller
    from tests import tiny  # noqa: F401

    config.stash[FORKS] = forks = Forks(tempfile.mkdtemp(prefix="forks-"))
    os.environ["PATH"] = os.pathsep.join([forks.folder, str(Path(sys.executable).parent), os.environ["PATH"]])


def pytest_unconfigure(config):
    if FORKS in config.stash:
        config.stash[FORKS].close()
        shutil.rmtree(config.stash[FORKS].folder)


TEA = "The café on Oak Lane opened in 1899. Its owner, Zoë Grün, sold tea and 12-inch cakes to the quiet people there."
MILL = "An old mill stands by the river; in winter the mill and the river sleep. Two millers keep it warm."


def _record(identifier, context, question, answer):
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {
        "id": identifier,
        "title": "Town",
        "context": context,
        "question": question,
        "answers": answers,
        "is_impossible": False,
    }


@pytest.fixture
def records():
    return [
        _record("tea-1", TEA, "When did the café open?", "1899"),
        _record("tea-2", TEA, "Who owned the café?", "Zoë Grün"),
        _record("mill-1", MILL, "Where does the old mill stand?", "by the river"),
        _record("mill-2", MILL, "How many millers keep the mill warm?", "Two"),
    ]


@pytest.fixture(scope="session")
def tokenizer():
    from pipeline.questions import tokenization

    questions = "When did it open? Who owned it? Where does it stand? How many?"
    return tokenization.train([TEA, MILL, questions], vocab_size=200)


@pytest.fixture
def features(records, tokenizer):
    """Several windows per record, of different lengths."""
    from pipeline.questions.windows import pack, windows

    return pack(windows(records, tokenizer, max_length=26, stride=6))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` brings one")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A small hub, empty, with an empty cache of its files."""
    from tests import hub as hubs

    with hubs.running(monkeypatch, tmp_path / "hub cache") as hub:
        yield hub


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty working directory with its own cache and params.yaml."""
    from tests import tiny

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    tiny.write_params()
    return tmp_path


@pytest.fixture(scope="session")
def data_stages(tmp_path_factory):
    """A workspace in which the data stages have run. Tests must not change it."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("data stages")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(folder / "cache"))
        tiny.write_params()
        tiny.run_all(*tiny.DATA_STAGES)
    return folder


@pytest.fixture
def with_logits(workspace, data_stages):
    """A copy of `data_stages` as the working directory."""
    shutil.copytree(data_stages, workspace, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def forks(pytestconfig):
    """Processes that start at once, see `Forks`."""
    return pytestconfig.stash[FORKS]


@pytest.fixture
def stopped(forks):
    """Run a module that stops when it changes a file, see `tests.stopping`, until it has ended or paused.

    Its stderr goes to stderr.txt.
    """
    paused = []

    def stopped(action, number, pattern, module, *arguments):
        given = [action, str(number), pattern, module, *arguments]
        reader, writer = os.pipe()
        with open(os.devnull) as stdin, open("stderr.txt", "w") as stderr:
            process = forks.start("tests.stopping", *given, stdin=stdin.fileno(), stdout=writer, stderr=stderr.fileno())
        os.close(writer)
        with open(reader) as output:
            if any(line == "paused\n" for line in output):
                paused.append(process)
            else:
                process.wait()
        return process

    yield stopped
    for process in paused:
        process.kill()
