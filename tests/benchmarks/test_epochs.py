from types import SimpleNamespace

import pytest
import vl_convert

from benchmarks import epochs
from pipeline.errors import InputError

CURVE = b"step\tminutes\texact_match\tf1\n20\t1.0\t10.0\t20.0\n50\t2.5\t20.0\t30.0\n"


def run(alpha: float, **train):
    params = {"distill": {"alpha": alpha}, "train": {"epochs": 5, "keep": "last", **train}}
    return SimpleNamespace(name="exp", params=params, metrics={"f1": 30.0, "f1_error": 0.5}, read=lambda path: CURVE)


def test_an_evaluation_is_at_its_epoch_and_the_last_has_the_interval_of_the_score():
    first, last = epochs.evaluations(run(1))
    assert first == {"run": "exp", "from": "logits", "epochs": 2.0, "minutes": 1.0, "f1": 20.0}
    assert (last["epochs"], last["minutes"]) == (5.0, 2.5)
    assert (last["low"], last["high"]) == pytest.approx((29.02, 30.98))


@pytest.mark.parametrize(
    ("alpha", "train"), [(0.5, {}), (0, {"max_steps": 3}), (1, {"time_limit_minutes": 1.0}), (1, {"keep": "best"})]
)
def test_other_trainings_are_refused(alpha, train):
    with pytest.raises(InputError, match="exp has"):
        epochs.evaluations(run(alpha, **train))


@pytest.mark.slow
def test_the_picture_has_a_line_for_each_run_and_names_both_kinds():
    rows = epochs.evaluations(run(0)) + [{**row, "run": "other"} for row in epochs.evaluations(run(1))]
    svg = vl_convert.vegalite_to_svg(epochs.chart(rows))
    assert svg.count('aria-roledescription="line mark"') == 4  # two runs in two panels
    assert all(text in svg for text in (">labels<", ">logits<", ">epochs<", ">F1<"))
