import json

import pytest
import yaml

from pipeline import paths
from pipeline.commands import show
from tests.commands import scored
from tests.words import mentions

pytestmark = pytest.mark.usefixtures("repository")


def test_scores_of_other_params_are_shown_as_such(capsys):
    row = {"exact_match": 40.0, "f1": 50.0, "span_accuracy": 30.0, "questions": 24}
    paths.TEACHER_METRICS.write_text(json.dumps({"large": row}))
    paths.EVAL_METRICS.write_text(json.dumps(row))
    paths.LOCK.write_text(json.dumps(scored.LOCK))
    paths.PARAMS.write_text(yaml.safe_dump(scored.params()))
    show.main()
    fresh = capsys.readouterr()
    assert fresh.err == "" and "50.00" in fresh.out
    paths.PARAMS.write_text(yaml.safe_dump(scored.params("cnn3")))
    show.main()
    stale = capsys.readouterr()
    assert stale.out == fresh.out
    mentions(stale.err, "earlier", "head", "cnn3", "train", "linear")


def test_what_the_student_gains_is_printed_last(capsys):
    f1 = json.loads(paths.EVAL_METRICS.read_text())["f1"]
    row = {"exact_match": 40.0, "f1": 2 * f1, "span_accuracy": 30.0, "questions": 24}
    paths.TEACHER_METRICS.write_text(json.dumps({"large": row}))
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    paths.EVAL_METRICS.write_text(json.dumps({**row, **metrics}))
    (paths.TEACHER / "large").mkdir(parents=True)
    (paths.TEACHER / "large/model.safetensors").write_bytes(bytes(124 * metrics["bytes"] // 10))
    show.main()
    assert capsys.readouterr().out.endswith("\n\n12.4x smaller, keeps 50 % of the teacher's F1\n")
