"""The recipes of docs/design.md for a head, a loss and a metric, followed to the letter in a copy of the tree."""

import re
import shutil
import subprocess
import sys

import pytest

from pipeline.imports import ROOT

pytestmark = pytest.mark.slow

HEAD = '''class Squared(nn.Module):
    """One linear layer over squares."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.output = nn.Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.output(hidden.square())  # (B, L, 2)


'''
LOSS = '''"""A penalty for large logits."""

from torch import Tensor

from pipeline.questions.features import SpanLogits


def penalty(logits: SpanLogits[Tensor], mask: Tensor) -> Tensor:
    """The mean square of the logits at the positions in the mask."""
    return (logits.start.square() + logits.end.square())[mask].mean() / 2
'''
LOSS_TEST = """import torch

from pipeline.params import Distill
from pipeline.questions.features import SpanLogits
from pipeline.training.penalty import penalty


def test_the_penalty_is_the_mean_square():
    logits = SpanLogits(torch.tensor([[1.0, 9.0]]), torch.tensor([[3.0, 9.0]]))
    assert penalty(logits, torch.tensor([[True, False]])) == 5
    assert Distill(alpha=1, temperature=1).penalty == 0
"""
METRIC = '''"""Exact match and F1 of first words alone."""

from pipeline.scores.squad_metric import Metric, exact_match, f1


def _of_first(function):
    return lambda prediction, reference: function(*(" ".join(text.split()[:1]) for text in (prediction, reference)))


METRIC = Metric(_of_first(exact_match), _of_first(f1))
'''
METRIC_TEST = """from pipeline.scores.metrics import score_each


def test_the_first_word_counts():
    record = {"id": "a", "answers": {"text": ["red house"], "answer_start": [0]}}
    assert score_each({"a": "red car"}, [record], "first-word") == {"exact_match": [1.0], "f1": [1.0]}
"""
TESTS = (
    "tests/models/test_heads.py",
    "tests/scores/test_metrics.py",
    "tests/scores/test_first_word_metric.py",
    "tests/training/test_losses.py",
    "tests/training/test_penalty.py",
    "tests/test_documents.py",
    "tests/test_dvc.py",
    "tests/test_layers.py",
    "tests/test_params.py",
)


@pytest.fixture
def tree(tmp_path):
    """A copy of the files that git tracks or would add."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():  # not deleted and still in the index
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def replace(path, old, new):
    """Replace a text that stands in a file once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(tree, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, text=True)


def failures(tree):
    """The names of the tests that fail, and what pytest printed."""
    done = run(tree, "-m", "pytest", "-n", "0", "-m", "not slow", *TESTS)
    return sorted(name.partition("::")[2] for name in re.findall(r"^FAILED (\S+)", done.stdout, re.M)), done.stdout


def test_the_recipes_for_a_head_a_loss_and_a_metric(tree):
    package = tree / "pipeline"
    # a head: the class, and its name in both lists
    replace(package / "models/heads.py", "HEADS = {\n", HEAD + "HEADS = {\n")
    replace(package / "models/heads.py", "dropout=0.5),\n}", 'dropout=0.5),\n    "squared": Squared,\n}')
    replace(package / "names.py", '"mlp_dropout")', '"mlp_dropout", "squared")')
    # a loss: a file, a call, a parameter
    (package / "training/penalty.py").write_text(LOSS)
    (tree / "tests/training/test_penalty.py").write_text(LOSS_TEST)
    replace(
        package / "params.py",
        "class Prune(",
        "    penalty: float = Field(0.0, ge=0, description='of logits')\n\n\nclass Prune(",
    )
    replace(package / "stages/train.py", "    return distillation(\n", "    losses = distillation(\n")
    replace(
        package / "stages/train.py",
        "        settings.no_answer_weight,\n    )\n",
        "        settings.no_answer_weight,\n    )\n"
        '    return losses | {"loss": losses["loss"] + settings.penalty * penalty(logits, batch.answer_mask)}\n',
    )
    replace(
        package / "stages/train.py",
        "from pipeline.training.pruning",
        "from pipeline.training.penalty import penalty\nfrom pipeline.training.pruning",
    )
    # a metric: a file, and its name in both lists
    (package / "scores/first_word_metric.py").write_text(METRIC)
    (tree / "tests/scores/test_first_word_metric.py").write_text(METRIC_TEST)
    replace(package / "scores/metrics.py", "import cmrc_metric, ", "import cmrc_metric, first_word_metric, ")
    replace(
        package / "scores/metrics.py",
        '    **{f"mlqa-',
        '    "first-word": first_word_metric.METRIC,\n    **{f"mlqa-',
    )
    replace(package / "names.py", '    "mlqa-ar": ', '    "first-word": "languages with spaces",\n    "mlqa-ar": ')

    failed, out = failures(tree)  # what the recipes say is missing
    assert {name.partition("[")[0] for name in failed} == {
        "test_every_metric_has_a_row",
        "test_parameter_count",
        "test_the_deps_of_a_stage_are_its_imports",
        "test_the_names_are_those_of_the_parameter",
        "test_the_page_of_parameters_is_the_output_of_params",
    }
    assert "pipeline/scores/first_word_metric.py" in out  # missing in dvc.yaml

    replace(
        tree / "tests/models/test_heads.py",
        '    "mlp_dropout": lambda h: h * 64 + 64 + 64 * 2 + 2,\n',
        '    "mlp_dropout": lambda h: h * 64 + 64 + 64 * 2 + 2,\n    "squared": lambda h: 2 * h + 2,\n',
    )
    replace(
        tree / "docs/heads.md",
        "\n`cnn357` and `cnn357_stacked` are",
        "| `squared` | Linear(hidden, 2) of squares | 1,538 |\n\n`cnn357` and `cnn357_stacked` are",
    )
    dep = "      - pipeline/scores/metrics.py\n"
    stages = (tree / "dvc.yaml").read_text()
    assert stages.count(dep) == 2  # evaluate depends on the folder
    (tree / "dvc.yaml").write_text(stages.replace(dep, dep + dep.replace("metrics", "first_word_metric")))
    replace(tree / "docs/scores.md", "| `mlqa-ar`", "| `first-word` | any | the first word |\n| `mlqa-ar`")
    page = run(tree, "-m", "pipeline.params").stdout  # make docs
    (tree / "docs/parameters.md").write_text(page, encoding="utf-8")
    assert failures(tree)[0] == []
