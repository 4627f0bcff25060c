"""Questions that cannot be used as they are, and the file that lists them."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.checksums import seal

FAULTS = "faulty.jsonl"
MAX_LISTED = 20


@dataclass(frozen=True)
class Fault:
    """A question that cannot be used as it is.

    Attributes:
        id: of the question; its number if it has no id.
        reason: what is wrong, with the value.
        action: what was done about it, such as `left out`.
    """

    id: str
    reason: str
    action: str


def listing(faults: list[Fault], where: str = "") -> str:
    """The end of an error's message: the first `MAX_LISTED` faults, each in a line.

    Args:
        where: before each question, such as the file.
    """
    more = f"; the first {MAX_LISTED}" if len(faults) > MAX_LISTED else ""
    return f"{more}:" + "".join(f"\n  {where}question {fault.id}: {fault.reason}" for fault in faults[:MAX_LISTED])


def write_faults(faults: dict[str, list[Fault]], path: Path) -> None:
    """Write the faults of splits as JSON Lines with a checksum; equal faults give equal bytes. No file without any."""
    rows = [{"split": split, **vars(fault)} for split, found in faults.items() for fault in found]
    if rows:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(lines, encoding="utf-8", errors="backslashreplace")  # an unpaired surrogate becomes its escape
        seal(path)
