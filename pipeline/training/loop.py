"""The training loop, for teachers and students alike: on one device or several, and able to go on where it was killed.

The order of windows and the random numbers of a step depend on the seed, the number of the step and `run_environment`
alone. So a run that goes on from a checkpoint takes the steps that the uninterrupted one would have taken.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.errors import InputError, is_lost_process
from pipeline.models.batching import Batch
from pipeline.models.encoders import checkpoint_activations
from pipeline.models.hardware import in_bfloat16, is_out_of_memory, matrix_products
from pipeline.models.inference import model_inputs
from pipeline.params import Train
from pipeline.processes import processes
from pipeline.questions.features import Features
from pipeline.training.checkpoints import Checkpoint, State
from pipeline.training.loading import StepLoader
from pipeline.training.optimizer import load_optimizer_tensors, new_optimizer, optimizer_tensors
from pipeline.training.plan import Plan
from pipeline.training.run import Row, Run, is_evaluation_due, reason_to_stop
from pipeline.training.signals import DeferSignals

LOG_STEPS = 10
Losses = dict[str, Tensor]


def train(
    model: nn.Module,
    features: Features,
    pad_token_id: int,
    settings: Train,
    seed: int,
    loss: Callable[[tuple[Tensor, Tensor], Batch], Losses],
    evaluate: Callable[[nn.Module], Row] | None = None,
    after_step: Callable[[], None] = lambda: None,
    checkpoint: Checkpoint | None = None,
    report: Callable[[Run], None] = lambda run: None,
    names: list[str] | None = None,
) -> Run:
    """Train `model` in place, until the first of epochs, max_steps and time_limit_minutes is reached.

    With `evaluate`, which returns scores with an `f1`, the model is scored each evaluate_minutes of training time, or
    after each epoch, and at the end; with settings.keep `best` it ends with the weights of the highest F1, the
    earliest of equals. Several processes started by `accelerate launch` share each step's windows; the step is the
    same up to rounding, whatever their number.

    Args:
        loss: start and end logits of a batch -> mean losses by name; `loss` is the one that is minimised.
        after_step: called after each optimiser step.
        checkpoint: where the state is kept every checkpoint_minutes and when the run is interrupted, and where an
            earlier run's state is taken up. The caller removes it when the result is safe.
        report: called in the main process whenever the curve or the evaluations have grown.
        names: of each window, for errors.

    Raises:
        InputError: a loss, a gradient or a weight is not finite, the device is out of memory, the model cannot do what
            the settings ask for, or another process of the run was lost.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the message says what is kept.
    """
    loop = _Loop(model, features, pad_token_id, settings, seed, loss, evaluate, after_step, checkpoint, report, names)
    try:
        return loop.run_until_stopped()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(loop.save_checkpoint_shielded()) from None
    except OSError:
        with suppress(OSError, InputError):
            loop.save_checkpoint_shielded()
        raise
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise InputError(
                f"out of memory on {loop.accelerator.device} at step {loop.run.steps + 1}; set train.micro_batch_size "
                f"(windows at a time on a device; a step stays {settings.batch_size} windows) or "
                "train.gradient_checkpointing"
            ) from None
        if not is_lost_process(error):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torch's launcher sends one now, and this process ends anyway
        raise InputError(
            f"the run's processes lost each other at step {loop.run.steps + 1} "
            f"({str(error).splitlines()[0]}); {loop.save_checkpoint_shielded()}, the same command goes on from there"
        ) from None


class _Loop:
    """One call of `train`."""

    def __init__(
        self, model, features, pad_token_id, settings, seed, loss, evaluate, after_step, checkpoint, report, names
    ):
        self.plan = Plan(features, settings, seed)
        self.settings, self.seed = settings, seed
        self.loss, self.evaluate, self.after_step = loss, evaluate, after_step
        self.checkpoint, self.report, self.names = checkpoint, report, names
        processes()
        self.accelerator = Accelerator(mixed_precision="no")  # what a launcher is set to does not decide it
        self.bfloat16 = in_bfloat16(settings.precision)
        self.float32 = "high" if self.accelerator.device.type == "cuda" else "highest"  # TF32 for what stays float32
        self.plain = model.to(self.accelerator.device)
        if settings.gradient_checkpointing:
            checkpoint_activations(self.plain)
        compiled = torch.compile(self.plain, dynamic=True) if settings.compile else self.plain
        self.model, self.optimizer = self.accelerator.prepare(compiled, new_optimizer(self.plain, settings))
        self.loader = StepLoader(features, pad_token_id, settings.micro_batch_size, self.plain)
        self.run, self.best = Run(), None
        # steps whose losses are still on the device
        self.pending: list[tuple[np.ndarray, Row, dict[str, Tensor]]] = []
        self.between_steps = True  # false while an optimiser step changes weights
        self.checkpoint_seconds = 0.0
        self.resume()

    def run_until_stopped(self) -> Run:
        run, main = self.run, self.accelerator.is_main_process
        steps = self.loader.prefetched(self.plan.batches(run.steps))
        with tqdm(total=self.plan.steps, initial=run.steps, unit="step", smoothing=0.05, disable=not main) as progress:
            while True:
                stopped_by = reason_to_stop(run, self.settings, self.plan.steps)
                if stopped_by or len(run.recent) + len(self.pending) >= LOG_STEPS:
                    self.log(progress, flush=bool(stopped_by))
                if stopped_by:
                    self.refuse_weights_not_finite()
                if self.evaluate and (stopped_by or is_evaluation_due(run, self.settings, self.plan.ends)):
                    self.score()
                if stopped_by:
                    break
                if run.seconds - self.checkpoint_seconds >= 60 * self.settings.checkpoint_minutes:
                    self.timed(self.check)
                    self.save_checkpoint()
                began = time.perf_counter()
                indices, parts = next(steps)
                with DeferSignals(), matrix_products(self.float32):
                    self.step(indices, parts, began)
                progress.update()
        run.stopped_by = stopped_by
        try:
            self.save_checkpoint()  # until the caller has saved the result
        except (OSError, InputError) as error:
            print(f"warning: {error}; the result is not kept until it is saved", file=sys.stderr)
        if self.best is None:
            run.saved_step = run.steps
        else:
            self.plain.load_state_dict(self.best)
        return run

    def step(self, indices: np.ndarray, parts: list[tuple[float, Batch]], began: float) -> None:
        """One optimiser step over the windows at `indices`; `parts` are this process's, with their weights.

        Args:
            began: when the wait for the windows began, which counts as training.
        """
        torch.manual_seed(_combined_seed(self.seed, self.run.steps, self.accelerator.process_index))
        self.model.train()
        rate = self.settings.learning_rate * self.plan.rate(self.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, Tensor] = {}
        for number, (weight, batch) in enumerate(parts, 1):
            batch = batch.to(self.accelerator.device)
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(self.model):
                with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.bfloat16):
                    output = self.model(**model_inputs(self.plain, batch))
                losses = self.loss((output.start_logits, output.end_logits), batch)
                # processes' gradients are averaged
                (losses["loss"] * weight * self.accelerator.num_processes).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + weight * value.detach()
        if self.accelerator.num_processes > 1:
            sums = dict(zip(sums, self.accelerator.reduce(torch.stack([*sums.values()])).unbind(), strict=True))
        norm = nn.utils.clip_grad_norm_(self.plain.parameters(), self.settings.max_grad_norm or torch.inf)
        self.between_steps = False
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.after_step()
        self.run.steps += 1
        self.run.windows += len(indices)
        self.between_steps = True
        self.pending.append((indices, {"learning_rate": rate}, {**sums, "gradient_norm": norm}))
        if self.accelerator.device.type == "cpu":
            self.check()
        self.run.seconds = self.synchronized(self.run.seconds + time.perf_counter() - began)

    def synchronized(self, seconds: float) -> float:
        """The main process's clock, where a decision of all depends on it."""
        timed = self.settings.time_limit_minutes or self.settings.evaluate_minutes
        if self.accelerator.num_processes == 1 or not timed:
            return seconds
        return broadcast(torch.tensor(seconds, dtype=torch.float64, device=self.accelerator.device)).item()

    def check(self) -> None:
        """Read the losses of the last steps, which waits for the device.

        Raises:
            InputError: one is not finite, or its gradient.
        """
        rows = []
        for number, (indices, known, values) in enumerate(self.pending, self.run.steps - len(self.pending) + 1):
            row = {**known, **{name: value.item() for name, value in values.items()}}
            for name, what in (("loss", "loss"), ("gradient_norm", "gradient")):
                if not np.isfinite(row[name]):
                    questions = ", ".join(self.names[i] for i in indices) if self.names else "not named"
                    raise InputError(
                        f"the {what} is not finite at step {number}, learning rate {row['learning_rate']:.2e}; lower "
                        f"learning_rate, or set max_grad_norm; questions of the batch: {questions}"
                    )
            rows.append(row)
        self.run.recent += rows
        self.pending.clear()

    def refuse_weights_not_finite(self) -> None:
        for name, weight in self.plain.named_parameters():
            if not weight.isfinite().all():
                raise InputError(f"{name} is not finite after step {self.run.steps}; lower learning_rate")

    def log(self, progress: tqdm, flush: bool) -> None:
        """Add a row to the curve for the last `LOG_STEPS` steps; with `flush` for fewer, too."""
        self.timed(self.check)
        run = self.run
        if run.recent and (flush or len(run.recent) >= LOG_STEPS):
            means = {name: float(np.mean([row[name] for row in run.recent])) for name in run.recent[0]}
            run.curve.append({"step": run.steps, "minutes": run.seconds / 60, **means})
            run.recent.clear()
            shown = {"loss": f"{means['loss']:.3f}", "windows_s": f"{run.windows / run.seconds:.1f}"}
            if self.settings.time_limit_minutes:
                shown["minutes_left"] = f"{self.settings.time_limit_minutes - run.seconds / 60:.1f}"
            progress.set_postfix(shown)
            self.report_progress()

    def score(self) -> None:
        """Evaluate the model as it is, in float32; remember it if it is the best."""
        self.timed(self.check)
        run = self.run
        if run.evaluations and run.evaluations[-1]["step"] == run.steps:
            return
        row = {"step": run.steps, "minutes": run.seconds / 60, **self.evaluate(self.plain)}
        with DeferSignals():
            if self.settings.keep == "best" and (run.best_f1 is None or row["f1"] > run.best_f1):
                self.best = {name: value.detach().clone() for name, value in self.plain.state_dict().items()}
                run.best_f1, run.saved_step = row["f1"], run.steps
            run.evaluations.append(row)
        self.report_progress()

    def report_progress(self) -> None:
        if self.accelerator.is_main_process:
            self.report(self.run)

    def timed(self, work: Callable[[], None]) -> None:
        """Work that waits for the steps' results, and so counts as training."""
        began = time.perf_counter()
        work()
        self.run.seconds = self.synchronized(self.run.seconds + time.perf_counter() - began)

    def save_checkpoint(self) -> str:
        """Write a checkpoint, where one is asked for; returns what can be said about it."""
        if self.checkpoint is None or not self.between_steps:
            return "nothing more is kept of this run than before"
        self.check()
        self.checkpoint_seconds = self.run.seconds
        if self.accelerator.is_main_process:
            tensors = {
                **{f"model.{name}": value for name, value in self.plain.state_dict().items()},
                **{f"best.{name}": value for name, value in (self.best or {}).items()},
                **{f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()},
            }
            self.checkpoint.write(tensors, asdict(self.run))
        return f"a checkpoint of step {self.run.steps} is kept"

    def save_checkpoint_shielded(self) -> str:
        """As `keep`, and no signal disturbs it: an ending run gets several."""
        said = ""
        with suppress(KeyboardInterrupt), DeferSignals():
            said = self.save_checkpoint()
        return said

    def resume(self) -> None:
        """Take up the checkpoint, if there is one.

        Raises:
            InputError: the run's processes do not find the same one.
        """
        found = self.checkpoint and self.checkpoint.read()
        if self.accelerator.num_processes > 1:
            step = torch.tensor([found[1]["steps"] if found else 0], device=self.accelerator.device)
            if len(set(gather(step).tolist())) > 1:
                raise InputError(
                    f"the run's processes do not find the same checkpoint; {self.checkpoint.folder.parent} must be one "
                    "folder for all of them, which SPAN_DISTILL_CACHE can name"
                )
        if not found:
            return
        tensors, values = found
        self.run = Run(**values)
        self.checkpoint_seconds = self.run.seconds
        self.plain.load_state_dict(_with_prefix("model", tensors))
        load_optimizer_tensors(self.optimizer, _with_prefix("optimizer", tensors))
        self.best = _with_prefix("best", tensors) or None
        if self.accelerator.is_main_process:
            print(f"going on from a checkpoint of step {self.run.steps} of {self.plan.steps}", flush=True)


def _combined_seed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _with_prefix(prefix: str, tensors: State) -> State:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
