"""A few invented records, a tokenizer trained on them, and their windows. No test needs the network."""

import multiprocessing
import os
import shutil
from pathlib import Path

# with tiny tensors a second thread costs more than it saves
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}

import pytest

from pipeline import paths
from pipeline.log import show_log
from pipeline.questions import tokenization
from pipeline.questions.windows import pack, windows
from tests import hub as hubs
from tests import tiny
from tests.browser import CHROMIUM, Browser

show_log()

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
    questions = "When did it open? Who owned it? Where does it stand? How many?"
    return tokenization.train([TEA, MILL, questions], vocab_size=200)


@pytest.fixture
def features(records, tokenizer):
    """Several windows per record, of different lengths."""
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
    with hubs.running(monkeypatch, tmp_path / "hub cache") as hub:
        yield hub


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty working directory with its own cache and params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    tiny.write_params()
    return tmp_path


@pytest.fixture(scope="module")
def data_stages(tmp_path_factory):
    """A workspace in which the data stages have run. Tests must not change it."""
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
def start():
    """Start a stage in a new process that has imported its modules already, so a kill interrupts the work itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.stages.train", "pipeline.stages.teacher", "pipeline.stages.logits"])

    def start(stage, pause=0.0):
        arguments = str(paths.cache()), stage.__name__, pause
        process = context.Process(target=tiny.run_with_cache, args=arguments, daemon=True)
        process.start()
        return process

    return start
