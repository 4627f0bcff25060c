import json

import pytest

from pipeline.experiments.lockfile import stale, training_inputs
from tests.commands import scored
from tests.words import mentions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, ""),
        ({"seed": 1}, "seed is 1, and train ran with 0"),
        ({"train": {"epochs": 9}}, "train is "),
        ({"evaluate": {"n_best": 6}}, "evaluate.n_best is 6, and evaluate ran with 5"),
    ],
)
def test_params_are_compared_with_those_of_the_run(values, message):
    found = stale(scored.params(**values), scored.LOCK)
    assert found.startswith(message) and bool(found) == bool(message)


def test_a_key_that_is_gone_is_a_difference_unless_it_was_a_teachers():
    lock = {
        "stages": {
            "train": {"params": {"params.yaml": {"prune.amount": 0.5}}},
            "teacher@gone": {"params": {"params.yaml": {"teacher.models.gone": {}, "teacher.config": {"a": 1}}}},
        }
    }
    mentions(stale({"prune": {}}, lock), "no prune.amount", "train", "0.5")
    assert stale({"prune": {"amount": 0.5}}, lock) == ""
    mentions(stale({"prune": None}, lock), "no prune.amount")


def test_what_a_training_reads_is_in_its_inputs():
    def lock(**hashes):
        outs = [{"path": f"data/{name}", "md5": value} for name, value in {"logits": "1", **hashes}.items()]
        return {"stages": {"a": {"outs": outs}}}

    assert training_inputs(lock()) == training_inputs(lock(student="2")) != training_inputs(lock(logits="3"))


def test_a_run_that_was_interrupted_between_two_stages_is_stale():
    lock = json.loads(json.dumps(scored.LOCK))
    lock["stages"]["train"]["outs"][0]["md5"] = "3"
    mentions(stale(scored.params(), lock), "data/student", "changed", "evaluate")
    assert stale(scored.params(), {}) == ""
