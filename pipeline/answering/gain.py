"""What a student gains over its teachers, in one sentence: size, speed, and what F1 it keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_CPU_SHARE = 0.9  # of a thread that has a CPU to itself
LARGEST_SPREAD = 1.25  # of the latencies of a machine that does nothing else


@dataclass(frozen=True)
class Figures:
    """What is known of a model.

    Attributes:
        bytes: of its weights; None if it has none, or they are not here.
        cost: what `span-distill cost` measured; None if it did not.
    """

    bytes: int | None
    cost: Mapping[str, Any] | None


def busy(cost: Mapping[str, Any]) -> bool:
    """Whether other programs used the machine while a cost was measured.

    Then the calling thread had less CPU time than the calls took, or the blocks of calls differ.
    """
    spread = cost["latency_ms_high"] / cost["latency_ms_low"]
    return cost["cpu_share"] < LEAST_CPU_SHARE or spread > LARGEST_SPREAD


def gain(student: Figures, f1: float, teachers: Sequence[Figures], teacher_f1: float | None) -> str:
    """Such as `12.4x smaller, 5.1x faster, keeps 96 % of the teacher's F1`; "" if nothing is known.

    What is not known is left out. Several teachers count together: their bytes and latencies are added.

    Args:
        f1: of the student, 0-100.
        teacher_f1: of the teacher, or of the mean of the teachers.
    """
    parts = []
    sizes = [teacher.bytes for teacher in teachers if teacher.bytes]
    if student.bytes and sizes and len(sizes) == len(teachers):
        parts.append(_times(sum(sizes) / student.bytes, "smaller", "larger", "as large"))
    costs = [model.cost for model in (student, *teachers) if model.cost]
    comparable = len(costs) > 1 and len(costs) == 1 + len(teachers)
    comparable &= len({(cost["device"], cost["threads"]) for cost in costs}) == 1
    if comparable and not any(map(busy, costs)):
        parts.append(_faster(costs[0], costs[1:]))
    if teacher_f1:
        whose = "teacher's" if len(teachers) == 1 else "teachers'"
        parts.append(f"keeps {100 * f1 / teacher_f1:.0f} % of the {whose} F1")
    if comparable and any(map(busy, costs)):
        return f"{', '.join(parts)}; speed not measured: the machine was busy"
    return ", ".join(parts)


def _faster(student: Mapping[str, Any], teachers: Sequence[Mapping[str, Any]]) -> str:
    """The ratio of the median latencies, unless their intervals overlap."""
    low, median, high = (sum(cost[f"latency_ms_{end}"] for cost in teachers) for end in ("low", "median", "high"))
    if low <= student["latency_ms_high"] and student["latency_ms_low"] <= high:
        return "as fast"
    return _times(median / student["latency_ms_median"], "faster", "slower", "as fast")


def _times(ratio: float, more: str, less: str, equal: str) -> str:
    factor = f"{max(ratio, 1 / ratio):.1f}"
    return equal if factor == "1.0" else f"{factor}x {more if ratio > 1 else less}"
