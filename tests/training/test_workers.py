import math
import threading

import numpy as np
import pytest
import torch

from pipeline.models import hardware
from pipeline.models import workers as workers_module
from pipeline.models.batching import parts_of_step
from pipeline.models.student import Student
from pipeline.models.workers import Workers
from pipeline.names import HEADS
from tests.training.small import SETTINGS, losses, model, run, weights, without_dropout
from tests.words import mentions


def test_results_are_in_the_order_of_the_items_and_few_are_kept():
    finished, second = [], threading.Event()

    def compute(item):
        if item == 0:
            assert second.wait(60)  # the first item ends after the second
        finished.append(item)
        if item == 1:
            second.set()
        return 10 * item

    with Workers(2, threads=1) as workers:
        results = workers.map(compute, range(5))
        assert next(results) == 0
        assert finished == [1, 0]  # two are begun before the first result is taken
        assert list(results) == [10, 20, 30, 40]


def test_an_error_is_raised_after_the_work_that_was_begun():
    ended, other = [], threading.Event()

    def compute(item):
        if item == 0:
            other.set()
            raise ValueError("part 0")
        assert other.wait(60)
        ended.append(item)

    with Workers(2, threads=1) as workers:
        with pytest.raises(ValueError, match="part 0"):
            list(workers.map(compute, range(4)))
        assert ended == [1]


def test_each_worker_has_its_own_number_of_threads():
    before = torch.get_num_threads()
    with Workers(1, threads=1) as workers:
        assert list(workers.map(lambda item: torch.get_num_threads(), [0])) == [1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("lengths", "tokens", "parts"),
    [
        ([5, 9, 7, 3], 100, [[1, 2], [0, 3]]),  # two at least, longest first
        ([5, 9, 7, 3], 18, [[1, 2], [0, 3]]),
        ([5, 9, 7, 3], 17, [[1], [2], [0], [3]]),
        ([5, 9, 7, 3, 4], 10, [[1], [2], [0], [4], [3]]),  # a window that is alone may have more
        ([5], 2, [[0]]),
    ],
)
def test_a_step_has_parts_of_as_many_windows_each(lengths, tokens, parts):
    assert [part.tolist() for part in parts_of_step(np.array(lengths), tokens)] == parts


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
def test_any_number_of_workers_trains_the_same_model(features, monkeypatch, capsys):
    monkeypatch.setenv(hardware.BATCH_TOKENS_VARIABLE, "35")  # four parts
    found = {}
    for workers in (1, 2, 3):
        monkeypatch.setattr(hardware, "training_workers", lambda model, count=workers: (count, 1))
        found[workers], result = run(features, SETTINGS.model_copy(update={"max_steps": 6}))  # with dropout
        assert f"{workers} parts" in capsys.readouterr().out or workers == 1
    assert torch.equal(weights(found[1]), weights(found[2])) and torch.equal(weights(found[1]), weights(found[3]))
    assert len(losses(result)) == 1


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
@pytest.mark.parametrize("head", HEADS)
def test_workers_train_each_head_as_one_does(features, monkeypatch, head):
    found = {}
    for workers in (1, 2):
        monkeypatch.setattr(hardware, "training_workers", lambda model, count=workers: (count, 1))
        network = Student.from_encoder(without_dropout().bert, head, seed=0)
        found[workers], _ = run(features, SETTINGS.model_copy(update={"max_steps": 3}), network=network)
    assert torch.equal(weights(found[1]), weights(found[2]))


def _with_added(module, inputs):
    return (inputs[0] + (module.added[0] + module.added[1]),)  # both have one gradient


def _with_transposed(module, inputs):
    return (inputs[0] + (module.added[0].t() * module.added[1]).sum(0),)  # the gradient of the first is transposed


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
@pytest.mark.parametrize("use", [_with_added, _with_transposed])
def test_gradients_that_have_no_memory_of_their_own_train_as_without_workers(features, monkeypatch, use):
    found = {}
    for workers in (1, 2):
        network = without_dropout()
        sizes = (16,) if use is _with_added else (16, 16)
        added = [torch.nn.Parameter(torch.linspace(-1, 1, math.prod(sizes)).view(sizes)) for _ in range(2)]
        network.qa_outputs.added = torch.nn.ParameterList(added)
        network.qa_outputs.register_forward_pre_hook(use)
        monkeypatch.setattr(hardware, "training_workers", lambda model, count=workers: (count, 1))
        found[workers], _ = run(features, SETTINGS.model_copy(update={"max_steps": 3}), network=network)
    assert torch.equal(weights(found[1]), weights(found[2]))


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
def test_a_model_that_keeps_something_of_its_batch_is_trained_one_by_one(features, monkeypatch, capsys):
    def keep(module, inputs):
        module.length = inputs[0].shape[1]

    network = model()
    network.qa_outputs.register_forward_pre_hook(keep)
    monkeypatch.setattr(hardware, "training_workers", lambda model: (2, 1))
    kept, _ = run(features, SETTINGS.model_copy(update={"max_steps": 3}), network=network)
    mentions(capsys.readouterr().out, "Linear.length", "one by one")
    assert torch.nn.Module.__setattr__ is workers_module._ASSIGN
    other, _ = run(features, SETTINGS.model_copy(update={"max_steps": 3}))
    assert torch.equal(weights(kept), weights(other))


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
def test_random_numbers_of_the_model_itself_are_the_same_with_workers(features, monkeypatch, capsys):
    found = {}
    for workers in (1, 2):
        network = model()
        network.qa_outputs.register_forward_pre_hook(lambda module, inputs: (inputs[0] * torch.rand(1),))
        monkeypatch.setattr(hardware, "training_workers", lambda model, count=workers: (count, 1))
        found[workers], _ = run(features, SETTINGS.model_copy(update={"max_steps": 6}), network=network)
        assert ("one by one" in capsys.readouterr().out) == (workers == 2)
    assert torch.equal(weights(found[1]), weights(found[2]))
