"""The training loop for teachers and students, on one device or several, with checkpoints to resume from.

The order of windows and the random numbers of a step depend only on the seed, the step number and `run_environment`.
A resumed run therefore takes the same steps as an uninterrupted one.
"""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.errors import InputError, is_lost_process
from pipeline.log import log
from pipeline.memory import keep_memory, release_memory
from pipeline.models import hardware
from pipeline.models.batching import SHUFFLED_AS_ONE, Batch
from pipeline.models.encoders import checkpoint_activations
from pipeline.models.hardware import float32_matmul_precision, is_out_of_memory
from pipeline.models.inference import model_inputs
from pipeline.models.workers import Workers, assigned_attributes
from pipeline.params import Train
from pipeline.processes import processes
from pipeline.progress import Progress
from pipeline.questions.features import Features, SpanLogits
from pipeline.training.attention import attention, training_attention
from pipeline.training.checkpoints import Checkpoint, State
from pipeline.training.cpu_dropout import DropoutMode
from pipeline.training.curve import Curve
from pipeline.training.loading import Parts, StepLoader
from pipeline.training.optimizer import new_optimizer
from pipeline.training.plan import Plan
from pipeline.training.run import Row, Run, is_evaluation_due, reason_to_stop
from pipeline.training.signals import DeferSignals
from pipeline.training.state import load_state, save_state

Losses = dict[str, Tensor]
# steps on a CPU between two releases of freed memory; more often costs time, less often memory
RELEASE_STEPS = 25


@dataclass
class Trainer:
    """Trains `model` in place, on one device or several.

    Training ends at the first of epochs, max_steps and time_limit_minutes. With `evaluate`, the model is scored every
    evaluate_minutes of training time, or else after each epoch, and at the end. With settings.keep `best`, the model
    ends with the weights of the highest F1, the earliest in case of a tie. Several processes started by `accelerate
    launch` share the windows of each step; a step gives the same result up to rounding for any number of processes.

    Attributes:
        loss: start and end logits of a batch -> mean losses by name; `loss` is minimized.
        evaluate: model -> scores, among them `f1`.
        after_step: called after each optimizer step.
        checkpoint: resumed from if it exists; saved every checkpoint_minutes, on an interrupt and at the end. The
            caller removes it after saving the result.
        report: called in the main process after each new row of the curve or the evaluations.
        questions: the question id of each window of `features`, for errors.
        windows: indices of the windows to train on; None for all.
        parameters: of the model, those that are trained.
        wrapped: the model as it is called, prepared for several processes.
        workers: compute the parts of a step on a CPU at the same time; None where they are computed one by one.
        run: how far the training is; restored from the checkpoint.
        best: the weights of the highest F1 so far.
        between_steps: False while an optimizer step changes weights.
        workers_are_checked: whether workers have computed a step that no thread could change for another one.
        checkpoint_seconds: training time at the last checkpoint.

    Raises:
        InputError: the model does not support a setting.
    """

    model: PreTrainedModel
    features: Features
    pad_token_id: int
    settings: Train
    seed: int
    loss: Callable[[SpanLogits[Tensor], Batch], Losses]
    evaluate: Callable[[PreTrainedModel], Row] | None = None
    after_step: Callable[[], None] = lambda: None
    checkpoint: Checkpoint | None = None
    report: Callable[[Run], None] = lambda run: None
    questions: Sequence[str] | None = None
    windows: np.ndarray | None = None

    plan: Plan = field(init=False)
    accelerator: Accelerator = field(init=False)
    bfloat16: bool = field(init=False)
    threads: int = field(init=False)
    attention: str = field(init=False)
    dropout: Callable[[int], AbstractContextManager] = field(init=False)
    workers: Workers | None = field(init=False)
    parameters: list[nn.Parameter] = field(init=False)
    wrapped: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    loader: StepLoader = field(init=False)
    curve: Curve = field(init=False)
    run: Run = field(init=False, default_factory=Run)
    best: State | None = field(init=False, default=None)
    between_steps: bool = field(init=False, default=True)
    workers_are_checked: bool = field(init=False, default=False)
    checkpoint_seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        settings = self.settings
        self.plan = Plan(self.features, settings, self.seed, self.windows)
        processes()
        # some encoders have weights that a batch does not use: poolers, other experts; precision as in the params
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[unused])
        self.model = self.model.to(self.accelerator.device)
        precision, reason = hardware.training_precision(self.model, settings.precision)
        self.bfloat16 = precision == "bfloat16"
        self.threads = hardware.training_threads(self.model)
        self.workers = self.new_workers()
        self.attention, note = training_attention(self.model, precision)
        if self.accelerator.is_main_process:
            workers = self.workers.count if self.workers else 1
            how = hardware.description(self.model, precision, reason, self.attention + note, self.threads, workers)
            log.info("training on %s", how)
            if self.plan.in_blocks:
                log.info(
                    f"{self.plan.size:,} windows are more than {SHUFFLED_AS_ONE:,}, so they are shuffled in blocks"
                )
        if settings.gradient_checkpointing:
            checkpoint_activations(self.model)
        on_cpu = self.accelerator.device.type == "cpu"
        self.dropout = DropoutMode if on_cpu and not settings.gradient_checkpointing else lambda seed: nullcontext()
        if on_cpu:
            keep_memory()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, new_optimizer(self.model, settings))
        self.loader = StepLoader(self.features, self.pad_token_id, settings.micro_batch_size, self.model, precision)
        self.resume()
        self.curve = Curve(self.run, self.questions)

    def train(self) -> Run:
        """Train until a limit is reached.

        Raises:
            InputError: a loss, a gradient or a weight is not finite, the device is out of memory, or another process of
                the run was lost.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the message says which checkpoint was saved.
        """
        try:
            with self.workers or nullcontext():
                return self.run_until_stopped()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self.save_checkpoint_uninterrupted()) from None
        except OSError as error:
            with suppress(OSError, InputError):
                error.add_note(f"{self.save_checkpoint_uninterrupted()}; the same command resumes")
            raise
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise InputError(
                    f"out of memory on {self.accelerator.device} at step {self.run.steps + 1}; set "
                    f"train.micro_batch_size (windows at a time on a device; a step stays {self.settings.batch_size} "
                    "windows) or train.gradient_checkpointing"
                ) from None
            if not is_lost_process(error):
                raise
            signal.signal(
                signal.SIGTERM, signal.SIG_IGN
            )  # torch's launcher sends SIGTERM now; this process ends anyway
            raise InputError(
                f"the run's processes lost each other at step {self.run.steps + 1} "
                f"({str(error).splitlines()[0]}); {self.save_checkpoint_uninterrupted()}; the same command resumes"
            ) from None

    def run_until_stopped(self) -> Run:
        run, main = self.run, self.accelerator.is_main_process
        steps = self.loader.prefetch(self.plan.batches(run.steps))
        with Progress("training", "step", self.plan.steps, run.steps, shown=main) as progress:
            while True:
                stopped_by = reason_to_stop(run, self.settings, self.plan.steps)
                if stopped_by or self.curve.is_row_due():
                    self.log(progress)
                if stopped_by:
                    self.check_weights_are_finite()
                if self.evaluate and (stopped_by or is_evaluation_due(run, self.settings, self.plan.epoch_ends)):
                    self.score()
                if stopped_by:
                    break
                if run.seconds - self.checkpoint_seconds >= 60 * self.settings.checkpoint_minutes:
                    self.timed(self.curve.synchronize)
                    self.save_checkpoint()
                began = time.perf_counter()
                indices, parts = next(steps)
                precision = float32_matmul_precision(self.float32_precision())
                with DeferSignals(), precision, hardware.cpu_threads(self.threads):
                    self.step(indices, parts, began)
                progress.update()
                if self.accelerator.device.type == "cpu" and run.steps % RELEASE_STEPS == 0:
                    release_memory()
        run.stopped_by = stopped_by
        if main and stopped_by == "time_limit" and self.settings.schedule == "linear":
            self.warn_of_unfinished_schedule()
        try:
            self.save_checkpoint()  # in case the caller fails to save the result
        except (OSError, InputError) as error:
            log.warning("%s; no newer checkpoint was saved", error)
        if self.best is None:
            run.saved_step = run.steps
        else:
            self.model.load_state_dict(self.best)
        return run

    def warn_of_unfinished_schedule(self) -> None:
        steps, rate = self.run.steps, self.plan.learning_rate_factor(self.run.steps - 1)
        log.warning(
            f"train.time_limit_minutes ended the training at step {steps} of the schedule's "
            f"{self.plan.steps}, at {rate:.0%} of learning_rate; set train.max_steps to the steps that the time "
            "allows, or train.schedule to constant or exponential"
        )

    def float32_precision(self) -> str:
        """torch's float32 matmul precision; `high` is TF32."""
        return "high" if self.accelerator.device.type == "cuda" else "highest"

    def step(self, indices: np.ndarray, parts: Parts, began: float) -> None:
        """Take one optimizer step.

        Args:
            indices: of the step's windows, in all processes.
            parts: this process's micro-batches, each with its share of the step's weight.
            began: `time.perf_counter` before the windows were loaded; loading counts as training time.
        """
        if not self.model.training:
            self.model.train()
        rate = self.settings.learning_rate * self.plan.learning_rate_factor(self.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with attention(self.model, self.attention):
            sums = self.add_gradients(parts)
        if self.accelerator.num_processes > 1:
            sums = dict(zip(sums, self.accelerator.reduce(torch.stack([*sums.values()])).unbind(), strict=True))
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm or torch.inf)
        self.between_steps = False
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.after_step()
        self.run.steps += 1
        self.run.windows += len(indices)
        self.between_steps = True
        self.curve.add(indices, rate, {**sums, "gradient_norm": norm})
        if self.accelerator.device.type == "cpu":
            self.curve.synchronize()
        self.run.seconds = self.synchronized(self.run.seconds + time.perf_counter() - began)

    def new_workers(self) -> Workers | None:
        """Workers where parts may be computed at the same time.

        Several processes synchronize their gradients part by part, and gradient checkpointing sets the random numbers
        of the whole process.
        """
        count, threads = hardware.training_workers(self.model)
        alone = self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1
        return Workers(count, threads) if alone and count > 1 and not self.settings.gradient_checkpointing else None

    def add_gradients(self, parts: Parts) -> dict[str, Tensor]:
        """Compute the gradients of a step, and return its mean losses.

        With and without workers they are the same, since the dropout of each part has its own random numbers. If a
        module draws from torch's own generator, or keeps something of its batch, threads would change each other's
        results: the step is computed again without workers, and later ones too.
        """
        torch.manual_seed(self.step_seed())
        before = torch.get_rng_state()
        if self.workers is None or len(parts) == 1:
            return self.add_one_by_one(parts)
        with nullcontext(set()) if self.workers_are_checked else assigned_attributes() as kept:
            sums = self.add_by_workers(parts)
        if not kept and torch.equal(torch.get_rng_state(), before):
            self.workers_are_checked = True
            return sums
        why = f"keeps {min(kept)} of its batch" if kept else "draws random numbers of its own"
        log.info("the model %s, so the parts of a step are computed one by one", why)
        self.workers = None
        self.optimizer.zero_grad()
        return self.add_gradients(parts)

    def add_one_by_one(self, parts: Parts) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for number, (weight, batch) in enumerate(parts):
            with nullcontext() if number == len(parts) - 1 else self.accelerator.no_sync(self.wrapped):
                losses = self.losses(number, batch.to(self.accelerator.device))
                # gradients are averaged over processes
                (losses["loss"] * weight * self.accelerator.num_processes).backward()
            _add_losses(sums, weight, losses)
        return sums

    def add_by_workers(self, parts: Parts) -> dict[str, Tensor]:
        def compute(number: int) -> tuple[Losses, tuple[Tensor | None, ...]]:
            weight, batch = parts[number]
            losses = self.losses(number, batch)
            return losses, torch.autograd.grad(losses["loss"] * weight, self.parameters, allow_unused=True)

        assert self.workers
        sums: dict[str, Tensor] = {}
        for (weight, _), (losses, gradients) in zip(parts, self.workers.map(compute, range(len(parts))), strict=True):
            _add_losses(sums, weight, losses)
            _add_gradients(self.parameters, gradients)
        return sums

    def losses(self, number: int, batch: Batch) -> Losses:
        """The losses of a step's part.

        Args:
            number: of the part, for its random numbers.
        """
        autocast = torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.bfloat16)
        with self.dropout(self.step_seed(number)), autocast:
            output = self.wrapped(**model_inputs(self.model, batch))
        return self.loss(SpanLogits(output.start_logits, output.end_logits), batch)

    def step_seed(self, *part: int) -> int:
        """The seed of the random numbers of this process's step, or of a part of it."""
        return _combined_seed(self.seed, self.run.steps, self.accelerator.process_index, *part)

    def synchronized(self, seconds: float) -> float:
        """The main process's seconds if a time limit or interval depends on them, else this process's."""
        timed = self.settings.time_limit_minutes or self.settings.evaluate_minutes
        if self.accelerator.num_processes == 1 or not timed:
            return seconds
        return broadcast(torch.tensor(seconds, dtype=torch.float64, device=self.accelerator.device)).item()

    def check_weights_are_finite(self) -> None:
        for name, weight in self.model.named_parameters():
            if not weight.isfinite().all():
                raise InputError(f"{name} is not finite after step {self.run.steps}; lower learning_rate")

    def log(self, progress: Progress) -> None:
        """Add a row to the curve and show it with the progress."""
        self.timed(self.curve.synchronize)
        means = self.curve.append_row()
        if means:
            shown = {"loss": f"{means['loss']:.3f}", "windows/s": f"{self.run.windows / self.run.seconds:.1f}"}
            if self.settings.time_limit_minutes:
                shown["minutes remaining"] = f"{self.settings.time_limit_minutes - self.run.seconds / 60:.1f}"
            progress.show(shown)
            self.report_progress()

    def score(self) -> None:
        """Evaluate the model in float32 and copy its weights if they are the best so far."""
        self.timed(self.curve.synchronize)
        run = self.run
        if run.evaluations and run.evaluations[-1]["step"] == run.steps:
            return
        assert self.evaluate is not None
        row = {"step": run.steps, "minutes": run.seconds / 60, **self.evaluate(self.model)}
        with DeferSignals():
            if self.settings.keep == "best" and (run.best_f1 is None or row["f1"] > run.best_f1):
                self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
                run.best_f1, run.saved_step = row["f1"], run.steps
            run.evaluations.append(row)
        self.report_progress()

    def report_progress(self) -> None:
        if self.accelerator.is_main_process:
            self.report(self.run)

    def timed(self, work: Callable[[], None]) -> None:
        """Run work that waits for the device; the wait counts as training time."""
        began = time.perf_counter()
        work()
        self.run.seconds = self.synchronized(self.run.seconds + time.perf_counter() - began)

    def save_checkpoint(self) -> str:
        """Save a checkpoint if the run has one; returns a message that says what was saved."""
        if self.checkpoint is None or not self.between_steps:
            return "no newer checkpoint was saved"
        self.curve.synchronize()
        self.checkpoint_seconds = self.run.seconds
        if self.accelerator.is_main_process:
            save_state(self.checkpoint, self.run, self.model, self.optimizer, self.best)
        return f"saved a checkpoint of step {self.run.steps}"

    def save_checkpoint_uninterrupted(self) -> str:
        """Like `save_checkpoint`, with signals deferred; a run that is ending may receive several."""
        message = ""
        with suppress(KeyboardInterrupt), DeferSignals():
            message = self.save_checkpoint()
        return message

    def resume(self) -> None:
        """Load the checkpoint if there is one."""
        state = load_state(self.checkpoint, self.model, self.optimizer) if self.checkpoint else None
        if state is None:
            return
        self.run, self.best = state
        self.checkpoint_seconds = self.run.seconds
        if self.accelerator.is_main_process:
            log.info("resuming from a checkpoint of step %d of %d", self.run.steps, self.plan.steps)


def _add_losses(sums: dict[str, Tensor], weight: float, losses: Losses) -> None:
    for name, value in losses.items():
        sums[name] = sums.get(name, 0) + weight * value.detach()


def _add_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those of the parameters, in place.

    `torch.autograd.grad` returns one tensor for parameters that are added to each other, which must not be changed
    twice, and transposed ones, which torch's fused optimizers read in the wrong order. Both are copied, as `backward`
    does.
    """
    seen = set()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is not None:
            parameter.grad.add_(gradient)
        else:
            usable = gradient.stride() == parameter.stride() and gradient.data_ptr() not in seen
            parameter.grad = gradient if usable else torch.empty_like(parameter).copy_(gradient)
        seen.add(gradient.data_ptr())


def _combined_seed(*numbers: int) -> int:
    """A seed derived from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
