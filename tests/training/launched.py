"""Stages for several processes, in conditions that are rare: `python -m tests.training.launched CONDITION`."""

import sys
import time

from torch import nn

from pipeline.cli import report_errors
from pipeline.logits.cache import RowCache
from pipeline.models import cpu, hardware
from pipeline.models.student import Student
from pipeline.processes import processes
from pipeline.stages import logits, train


def unused_layer() -> None:
    """Train an encoder with a layer that no batch uses, as XLNet and SqueezeBERT have."""
    from_encoder = Student.from_encoder

    def with_unused_layer(*arguments):
        student = from_encoder(*arguments)
        student.encoder.unused = nn.Linear(4, 4)
        return student

    Student.from_encoder = with_unused_layer
    train.main()


def late_cache() -> None:
    """Compute logits; the second process opens the cache late, when the first could have added shards to it."""
    on_time = RowCache.__init__

    def late(self, *arguments):
        time.sleep(0 if processes().is_main_process else 0.5)
        on_time(self, *arguments)

    RowCache.__init__ = late
    logits.main()


def different_cpus() -> None:
    """Compute logits; only the second process measures that bfloat16 is faster."""
    hardware.WIDE, cpu._measured_speed = 1, lambda: 1.0 if processes().is_main_process else 4.0
    logits.main()


if __name__ == "__main__":
    report_errors(
        {"unused_layer": unused_layer, "late_cache": late_cache, "different_cpus": different_cpus}[sys.argv[1]]
    )
