"""How much each feed-forward unit of an encoder matters to its answers, and the statistics of the units.

Fisher information (Kwon et al. 2022, A Fast Post-Training Pruning Framework for Transformers): each unit is multiplied
by a mask of one, and its importance is the mean over windows of the squared derivative of -log q(y) by this mask. q is
the distribution of the model that is measured, y is drawn from the teacher's, which is cached: no label is needed.
Where the model is the teacher, the derivative of the divergence from its own distribution is zero, and this is not.

Without a head there is no q: the importance is the magnitude of the unit's weights, those that it reads with times
those that read it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from pipeline.models.batching import Batch, pad, to_device, token_budget_batches
from pipeline.models.encoders import SavedHead, qa_class
from pipeline.models.hardware import batch_tokens, cpu_threads, on_device, training_threads
from pipeline.models.heads import HEADS
from pipeline.models.inference import model_inputs
from pipeline.models.student import Student
from pipeline.progress import Progress
from pipeline.questions.features import Features, SpanLogits
from pipeline.shrinking.units import input_weights, output_layers

WINDOWS = 2048  # on which units are measured, at most
# of them, for the products of activations: 100,000 tokens determine a matrix of 3,072 units well
PRODUCT_WINDOWS = 512
METHODS = ("fisher", "activation", "magnitude", "random")


class Units(NamedTuple):
    """What was measured of the n units of each of N layers.

    Attributes:
        scores: (N, n) float32, importance; comparable within a layer and, of `fisher`, between layers.
        mean: (N, n) float32, mean of the activation over tokens.
        products: (N, n, n) float32, mean over tokens of the product of two activations.
    """

    scores: Tensor
    mean: Tensor
    products: Tensor


class Sample(NamedTuple):
    """Windows on which an encoder is measured.

    Attributes:
        features: the windows, in random order.
        spans: (W, 2) int64, for each window a first and a last answer position, drawn from the teacher's distribution.
        pad_token_id: of the tokenizer.
    """

    features: Features
    spans: np.ndarray
    pad_token_id: int


def chosen_windows(count: int, seed: int) -> np.ndarray:
    """Indices of the windows to measure on, in random order: at most `WINDOWS` of `count`."""
    return np.random.default_rng(seed).permutation(count)[:WINDOWS]


def drawn_spans(features: Features, logits: SpanLogits[np.ndarray], seed: int) -> np.ndarray:
    """(W, 2) int64: for each window, a start and an end drawn from the distributions over its answer positions.

    Args:
        logits: start and end of the windows' tokens, each (T,).
    """
    rng, mask = np.random.default_rng(seed), features.answer_mask
    spans = np.empty((len(features), 2), dtype=np.int64)
    for i in range(len(features)):
        tokens = features.tokens(i)
        places = np.flatnonzero(mask[tokens])
        for side, values in enumerate(logits):
            scores = values[tokens][places].astype(np.float64)
            weights = np.exp(scores - scores.max())
            spans[i, side] = rng.choice(places, p=weights / weights.sum())
    return spans


def with_head(encoder: PreTrainedModel, head: SavedHead) -> PreTrainedModel:
    """The question-answering model of an encoder and the head that was saved beside it."""
    if head.name in HEADS:
        return Student.from_encoder(encoder, head.name, 0, head)
    model = qa_class(encoder.config)(encoder.config)
    prefix = model.base_model_prefix
    model.load_state_dict({**{f"{prefix}.{name}": w for name, w in encoder.state_dict().items()}, **head.weights})
    return model


def measure(encoder: PreTrainedModel, head: SavedHead | None, sample: Sample, method: str, seed: int) -> Units:
    """Measure the units of an encoder on the windows of a sample.

    Args:
        head: of the model that the encoder is from; `fisher` needs one.
        method: one of `METHODS`: `fisher` and `magnitude` as above; `random` and `activation`, the mean magnitude of
            the activation (Muralidharan et al. 2024, Compact Language Models via Pruning and Knowledge Distillation),
            are there to compare with.
        seed: of `random`.
    """
    model = on_device(with_head(encoder, head) if method == "fisher" and head else encoder).eval()
    model.requires_grad_(False)
    inside: Any = model.base_model
    layers = output_layers(inside)
    where = next(model.parameters()).device
    sums = _Sums(len(layers), layers[0].in_features, where)
    fisher = torch.zeros_like(sums.magnitude)
    with cpu_threads(training_threads(model)):
        for batch, with_products in _batches(model, sample):
            batch = batch.to(where)
            sums.begin(batch, with_products)
            if method == "fisher":
                fisher += _squared_gradients(model, layers, batch, sample.spans, sums.add)
            else:
                with torch.no_grad(), _hooks(layers, sums.add):
                    model(**model_inputs(model, batch))
    scores = {
        "fisher": lambda: fisher / len(sample.features),
        "activation": lambda: sums.magnitude / sums.tokens,
        "magnitude": lambda: _magnitudes(inside),
        "random": lambda: torch.rand(fisher.shape, generator=torch.Generator().manual_seed(seed)),
    }[method]()
    mean, products = sums.mean / sums.product_tokens, sums.products / sums.product_tokens
    return Units(*(values.float().cpu() for values in (scores, mean, products)))


class _Sums:
    """Sums over tokens of what units compute.

    Attributes:
        magnitude, mean: (N, n) float64, of the absolute activations over all tokens, and of the activations.
        products: (N, n, n) float32.
        tokens, product_tokens: the numbers of tokens in `magnitude`, and in `mean` and `products`.
    """

    def __init__(self, layers: int, units: int, device: torch.device):
        self.magnitude = torch.zeros(layers, units, dtype=torch.float64, device=device)
        self.mean, self.products = torch.zeros_like(self.magnitude), torch.zeros(layers, units, units, device=device)
        self.tokens = self.product_tokens = 0

    def begin(self, batch: Batch, with_products: bool) -> None:
        """From now on, `add` gets the activations of this batch."""
        self.is_token, self.with_products = batch.attention_mask.bool(), with_products
        tokens = int(self.is_token.sum())
        self.tokens += tokens
        self.product_tokens += tokens * with_products

    def add(self, i: int, active: Tensor) -> None:
        """Add the (B, L, n) activations of a layer, without those of padding."""
        rows = active.detach()[self.is_token]
        self.magnitude[i] += rows.abs().sum(0)
        if self.with_products:
            self.mean[i] += rows.sum(0)
            self.products[i].addmm_(rows.T, rows)


def _magnitudes(encoder: PreTrainedModel) -> Tensor:
    """(N, n): the norm of the weights with which a unit reads, times the norm of those that read it."""
    pairs = zip(input_weights(encoder), output_layers(encoder), strict=True)
    return torch.stack([rows.norm(dim=1) * layer.weight.norm(dim=0) for rows, layer in pairs])


def _batches(model: PreTrainedModel, sample: Sample) -> Iterator[tuple[Batch, bool]]:
    """The windows of a sample in batches, and whether the products of their activations are measured."""
    budget = batch_tokens(model)
    if next(model.parameters()).device.type == "cpu":
        budget *= torch.get_num_threads()
    everything = np.arange(len(sample.features))
    with Progress("measuring the units", "window", len(everything)) as progress:
        for part, with_products in ((everything[:PRODUCT_WINDOWS], True), (everything[PRODUCT_WINDOWS:], False)):
            for places in token_budget_batches(sample.features.lengths[part], budget):
                yield pad(sample.features, part[places], sample.pad_token_id), with_products
                progress.update(len(places))


def _squared_gradients(
    model: PreTrainedModel, layers: list[nn.Linear], batch: Batch, spans: np.ndarray, add: Callable[[int, Tensor], None]
) -> Tensor:
    """(N, n) float64, sums over the batch's windows of the squared derivatives of -log q(span) by a mask of each unit.

    Args:
        spans: of all windows.
        add: gets the number and the activations of each layer.
    """
    where = batch.labels.device
    drawn = to_device(torch.from_numpy(spans[batch.indices]), where)
    masks = torch.ones(len(layers), len(drawn), 1, layers[0].in_features, device=where, requires_grad=True)

    def masked(i: int, active: Tensor) -> Tensor:
        add(i, active)
        return active * masks[i]

    with _hooks(layers, masked):
        output = model(**model_inputs(model, batch))
    allowed = [
        logits.float().masked_fill(~batch.answer_mask, -torch.inf)
        for logits in (output.start_logits, output.end_logits)
    ]
    losses = [cross_entropy(side, drawn[:, i], reduction="sum") for i, side in enumerate(allowed)]
    (gradients,) = torch.autograd.grad(losses, masks)
    return gradients.squeeze(2).double().square().sum(1)


@contextmanager
def _hooks(layers: list[nn.Linear], read: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Within it, `read` gets the number and the (B, L, n) input of each layer; what it returns replaces the input."""
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, i=i: read(i, inputs[0])) for i, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
