"""What dvc.lock knows of the stages that ran: their params, and the hashes of what they read and wrote."""

import functools
import json
from typing import Any

from pipeline import paths

ABSENT = object()


def training_inputs(lock: dict[str, Any]) -> str:
    """The hashes of what a student's training reads of earlier stages, as dvc.lock has them."""
    hashes = _hashes(lock)
    return json.dumps({str(path): hashes.get(str(path)) for path in (paths.DATASET, paths.LOGITS, paths.BACKBONE)})


def stale(params: dict[str, Any], lock: dict[str, Any]) -> str:
    """What differs between the params and what DVC ran with, or between what two stages ran with; "" if nothing does.

    Params that were edited after the scores, and runs that were interrupted between two stages, have scores of others.

    Args:
        lock: content of dvc.lock; a stage that it does not have is not compared.
    """
    stages = {name: stage for name, stage in lock.get("stages", {}).items() if not _is_of_removed(name, params)}
    for name, stage in stages.items():
        for key, ran in stage.get("params", {}).get(str(paths.PARAMS), {}).items():
            now = functools.reduce(_value, key.split("."), params)
            if now is ABSENT:
                return f"there is no {key}, and {name} ran with {ran}"
            if now != ran:
                return f"{key} is {now}, and {name} ran with {ran}"
    hashes = _hashes(lock)
    for name, stage in stages.items():
        for dep in stage.get("deps", []):
            if hashes.get(dep["path"], dep.get("md5")) != dep.get("md5"):
                return f"{dep['path']} changed after {name} ran"
    return ""


def _is_of_removed(stage: str, params: dict[str, Any]) -> bool:
    """Whether a stage belongs to a teacher that the params no longer have; dvc.lock keeps it."""
    name, _, teacher = stage.partition("@")
    models = functools.reduce(_value, ("teacher", "models"), params)
    return name == "teacher" and not (isinstance(models, dict) and teacher in models)


def _hashes(lock: dict[str, Any]) -> dict[str, str | None]:
    """The hash of each output by its path."""
    return {out["path"]: out.get("md5") for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])}


def _value(values: Any, key: str) -> Any:
    return values.get(key, ABSENT) if isinstance(values, dict) else ABSENT
