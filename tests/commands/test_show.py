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
