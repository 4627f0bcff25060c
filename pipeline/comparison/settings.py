"""Settings of students side by side: what tells one from another, and which differ in a single parameter."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "absent"  # the value of a key that other settings have


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each setting from the others: its head, and the params other than head and seed in which they differ.

    Args:
        settings: values of params.yaml, nested.
    """
    flat = [flatten(params) for params in settings]
    keys = sorted({key for params in flat for key in params} - {"head", "seed"})
    differing = [key for key in keys if len({json.dumps(params.get(key, ABSENT)) for params in flat}) > 1]
    last = {key: key.rpartition(".")[2] for key in differing}
    uses = Counter([*last.values(), "seed"])
    names = {key: last[key] if uses[last[key]] == 1 else key for key in differing}
    return [
        " ".join([str(params.get("head")), *(f"{names[key]}={_text(params.get(key, ABSENT))}" for key in differing)])
        for params in flat
    ]


def _text(value: Any) -> str:
    """As in params.yaml: null, true, and text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def differing_in(key: str, settings: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Groups of two settings or more that differ in `key`, and in nothing else but the seed, ordered by its values.

    Args:
        key: dotted, such as `distill.alpha`; its values are numbers.
        settings: values of params.yaml, nested.

    Returns:
        Indices of the settings of each group. A setting is in one group at most.
    """
    flat = [flatten(params) for params in settings]
    groups: dict[str, list[int]] = {}
    for i, params in enumerate(flat):
        rest = {name: value for name, value in params.items() if name not in (key, "seed")}
        if params.get(key) is not None:
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(i)
    return [sorted(group, key=lambda i: flat[i][key]) for group in groups.values() if len(group) > 1]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
