"""Each recipe of docs/design.md, followed in a copy of the tree, makes the tests pass that it says are enough."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.test_dvc import ROOT

pytestmark = pytest.mark.slow

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
METRIC_TESTS = (
    "tests/scores/test_metrics.py",
    "tests/scores/test_first_word_metric.py",
    "tests/test_dvc.py",
    "tests/test_layers.py",
    "tests/test_params.py",
    "tests/test_readme.py",
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


def insert(tree, name, before, text):
    """Insert text before the only line that starts with `before`."""
    path = tree / name
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = (i for i, line in enumerate(lines) if line.startswith(before))
    path.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


def document(tree, row):
    """The document with a table's row that starts so."""
    pages = [tree / "README.md", *(tree / "docs").glob("*.md")]
    (page,) = (page for page in pages if f"\n{row}" in page.read_text(encoding="utf-8"))
    return page.relative_to(tree)


def run(tree, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, text=True)


def test_the_recipe_for_a_metric(tree):
    (tree / "pipeline/scores/first_word_metric.py").write_text(METRIC)
    (tree / "tests/scores/test_first_word_metric.py").write_text(METRIC_TEST)
    metrics = (tree / "pipeline/scores/metrics.py").read_text()
    metrics = metrics.replace("import cmrc_metric, ", "import cmrc_metric, first_word_metric, ")
    (tree / "pipeline/scores/metrics.py").write_text(metrics)
    insert(tree, "pipeline/scores/metrics.py", '    **{f"mlqa-', '    "first-word": first_word_metric.METRIC,\n')
    insert(tree, "pipeline/names.py", '    "mlqa-ar": ', '    "first-word": "languages with spaces",\n')

    first = run(tree, "-m", "pytest", "-n", "0", "-m", "not slow", *METRIC_TESTS)
    failed = re.findall(r"^FAILED (\S+)", first.stdout, re.M)
    assert sorted(name.partition("::")[2] for name in failed) == [
        "test_every_metric_has_a_row",
        "test_the_deps_of_a_stage_are_its_imports[logits]",
        "test_the_deps_of_a_stage_are_its_imports[train]",
        "test_the_parameter_table_is_the_output_of_params_py",
    ]
    assert "pipeline/scores/first_word_metric.py" in first.stdout  # missing in dvc.yaml

    dep = "      - pipeline/scores/metrics.py\n"
    stages = (tree / "dvc.yaml").read_text()
    assert stages.count(dep) == 2  # evaluate depends on the folder
    (tree / "dvc.yaml").write_text(stages.replace(dep, dep + dep.replace("metrics", "first_word_metric")))
    insert(tree, document(tree, "| `cmrc2018` |"), "| `cmrc2018` |", "| `first-word` | any | the first word |\n")
    page = tree / document(tree, "| `evaluate.metric` |")
    table = run(tree, "-m", "pipeline.params").stdout
    (row,) = (line for line in table.splitlines() if line.startswith("| `evaluate.metric` |"))
    page.write_text(re.sub(r"^\| `evaluate\.metric` \|.*$", lambda _: row, page.read_text(), flags=re.M))

    second = run(tree, "-m", "pytest", "-n", "0", "-m", "not slow", *METRIC_TESTS)
    assert second.returncode == 0, second.stdout
