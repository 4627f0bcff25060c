"""Vega-Lite specifications of the report's charts.

Vega-Lite by vl-convert, which carries its JavaScript (0.9 MB), so that the page needs no network. Specifications are
plain JSON; Altair would add a layer and four packages. Colors are CSS variables of the page, so dark mode needs no
second rendering. Color never tells ten students apart, but four roles: the chosen student, the baseline, the others,
the teachers.
Each role has a shape or a width of its own too.
"""

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]
Values = list[dict[str, Any]]

ROLES = ["chosen", "baseline", "other", "teacher"]
COLOR = {"field": "role", "type": "nominal", "legend": None}
COLOR |= {"scale": {"domain": ROLES, "range": [f"var(--{role})" for role in ROLES]}}
SHAPE = {"field": "role", "type": "nominal", "legend": None}
SHAPE |= {"scale": {"domain": ROLES, "range": ["circle", "square", "triangle-up", "diamond"]}}
CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--text)",
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 160,
    },
}
F1 = {"title": "F1", "scale": {"zero": False, "nice": True}}


def front(points: Sequence[tuple[float, float, float]]) -> list[bool]:
    """Whether each point (lowest cost, highest cost, score) is on the Pareto front.

    There, no other point has a score as high at a lower cost, or a higher score at the same cost. Costs are the same if
    their intervals overlap.
    """
    return [
        not any((other < low and best >= score) or (least <= high and best > score) for least, other, best in points)
        for low, high, score in points
    ]


def against(values: Values, x: str, title: str, baseline: str) -> Spec:
    """F1 with its interval against a cost on a logarithmic scale, and the Pareto front as a stepped line.

    Args:
        values: for each model `student`, `label`, `number` (None of a teacher), `teacher` (whether it is one),
            `exported` (whether it is a student's export), `f1`, `f1_low`, `f1_high`, the cost `x`, and the ends of its
            interval, such as `latency_low`, if it has one.
    """
    ends = [(value.get(f"{x}_low") or value[x], value.get(f"{x}_high") or value[x]) for value in values]
    on_front = front([(*cost, value["f1"]) for cost, value in zip(ends, values, strict=True)])
    rows = [
        {**value, f"{x}_low": low, f"{x}_high": high, "front": on}
        for value, (low, high), on in zip(values, ends, on_front, strict=True)
    ]
    at = {"field": x, "type": "quantitative", "title": title, "scale": {"type": "log", "nice": False, "padding": 24}}
    at |= {"axis": {"tickCount": 5, "format": "~r", "labelOverlap": True, "labelBound": True}}
    stepped = {"type": "line", "interpolate": "step-after", "color": "var(--muted)", "strokeDash": [4, 3]}
    between = {"x": {**at, "field": f"{x}_low"}, "x2": {"field": f"{x}_high"}, "y": _f1("f1"), "color": COLOR}
    tooltip = [_tooltip(x, title, format=".3~g")]
    if any(low < high for low, high in ends):
        tooltip += [_tooltip(f"{x}_{end}", name, format=".3~g") for end, name in (("low", "from"), ("high", "to"))]
    layers = [
        {"transform": [{"filter": "datum.front"}], "mark": stepped, "encoding": {"x": at, "y": _f1("f1")}},
        {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": between},
        *_interval_layers(at, [_tooltip("label", "point"), *tooltip]),
        *_number_layers(at, "label"),
    ]
    return _chart(rows, baseline, f"F1 against {title}", layers, 340)


def effect(values: Values, key: str, baseline: str) -> Spec:
    """F1 with its interval against the values of one parameter; a line joins students that differ in nothing else.

    Args:
        values: for each student `student`, `number`, `group`, `value`, `f1`, `f1_low`, `f1_high`.
    """
    at = {"field": "value", "type": "ordinal", "title": key, "axis": {"labelAngle": 0}}
    line = {"type": "line", "color": "var(--other)"}
    joined = {"mark": line, "encoding": {"x": at, "y": _f1("f1"), "detail": {"field": "group"}}}
    layers = [joined, *_interval_layers(at, [_tooltip("value", key)]), *_number_layers(at)]
    return _chart(values, baseline, f"F1 by {key}", layers, 240)


def slices(values: Values, kind: str, baseline: str) -> Spec:
    """F1 with its interval in each slice of a kind, of the chosen student and the baseline.

    Args:
        values: for each student and slice `student`, `label`, `questions`, `f1`, `f1_low`, `f1_high`; the last two are
            None where a slice has no interval.
    """
    labels = list(dict.fromkeys(value["label"] for value in values))
    y = {"field": "label", "type": "nominal", "sort": labels, "title": None, "axis": {"grid": True, "labelLimit": 150}}
    y = {"y": y, "yOffset": {"field": "role", "type": "nominal", "sort": ROLES, "scale": {"domain": ROLES[:2]}}}
    x = {"field": "f1", "type": "quantitative", **F1}
    tooltip = [_tooltip("student", "student"), _tooltip("label", kind), _tooltip("questions", "questions"), *_SCORES]
    interval = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {**y, "x": {**x, "field": "f1_low"}, "x2": {"field": "f1_high"}, "color": COLOR},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {**y, "x": x, "color": COLOR, "shape": SHAPE, "tooltip": tooltip},
    }
    spec = _chart(values, baseline, f"F1 by {kind}", [interval, point], 40 + 36 * len(labels))
    spec["transform"].append({"filter": "datum.role !== 'other'"})
    return spec


def curves(values: Values, baseline: str) -> Spec:
    """A training curve of each run; the signals `measure` and `axis` choose the columns.

    Args:
        values: rows of all runs' curves, with `student`, `run`, `step`, `minutes` and the measures.
    """
    encoding = {
        "x": {"field": "at", "type": "quantitative", "title": None, "scale": {"nice": False}, "axis": {"tickCount": 6}},
        "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
        "detail": {"field": "run"},
        "color": COLOR,
        "strokeDash": {
            "field": "role",
            "type": "nominal",
            "legend": None,
            "scale": {"domain": ROLES, "range": [[1, 0], [6, 3], [1, 0], [1, 0]]},
        },
    }
    tooltip = [_tooltip("student", "student"), _tooltip("run", "run"), *_AT]
    layers = [
        {
            "transform": [{"filter": f"{'!' if thick else ''}(datum.role === 'other')"}],
            "mark": {"type": "line", "strokeWidth": 2.2 if thick else 1, "point": {"size": 18} if thick else False},
            "encoding": encoding | ({"tooltip": tooltip} if thick else {}),
        }
        for thick in (False, True)
    ]
    spec = _chart(values, baseline, "training curves", layers, 300)
    spec["params"] += [{"name": "measure", "value": "f1"}, {"name": "axis", "value": "step"}]
    spec["transform"] += [
        {"filter": "isValid(datum[measure])"},
        {"calculate": "datum[measure]", "as": "value"},
        {"calculate": "datum[axis]", "as": "at"},
    ]
    return spec


def _chart(values: Values, baseline: str, description: str, layers: list[Spec], height: int) -> Spec:
    """A chart as wide as its container; each row gets the `role` of its model."""
    of_student = "datum.student === chosen ? 'chosen' : datum.student === baseline ? 'baseline' : 'other'"
    role = f"datum.teacher ? 'teacher' : {of_student}"
    return {
        "description": description,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": values},
        "params": [{"name": "chosen", "value": baseline}, {"name": "baseline", "value": baseline}],
        "transform": [{"calculate": role, "as": "role"}],
        "layer": layers,
    }


def _f1(field: str) -> Spec:
    return {"field": field, "type": "quantitative", **F1}


def _interval_layers(x: Spec, tooltip: list[Spec]) -> list[Spec]:
    """F1 of each model with its interval; the point of an export is hollow."""
    interval = {"x": x, "y": _f1("f1_low"), "y2": {"field": "f1_high"}, "color": COLOR}
    point = {"x": x, "y": _f1("f1"), "color": COLOR, "shape": SHAPE}
    points = [
        {
            "transform": [{"filter": where}],
            "mark": {"type": "point", "size": 80, "opacity": 1, **mark},
            "encoding": {**point, "tooltip": [_tooltip("student", "student"), *tooltip, *_SCORES]},
        }
        for where, mark in (
            ("!datum.exported", {"filled": True}),
            ("datum.exported", {"filled": False, "fill": "var(--card)"}),
        )
    ]
    return [{"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": interval}, *points]


def _number_layers(x: Spec, field: str = "number") -> list[Spec]:
    """The students' numbers, left and right of the points in turn, so that neighbours in F1 do not cover each other.

    A teacher's label is left of its point, which may be the last of all.
    """
    encoding = {"x": x, "y": _f1("f1"), "text": {"field": field}}
    return [
        {
            "transform": [{"filter": where}],
            "mark": {"type": "text", "align": align, "dx": dx, "dy": -7, "fontSize": 12, "color": "var(--text)"},
            "encoding": encoding,
        }
        for where, align, dx in (
            ("datum.teacher || datum.number % 2 === 1", "right", -8),
            ("!datum.teacher && datum.number % 2 === 0", "left", 8),
        )
    ]


def _tooltip(field: str, title: str, **more: Any) -> Spec:
    return {"field": field, "title": title, **more}


_SCORES = [
    _tooltip("f1", "F1", format=".2f"),
    _tooltip("f1_low", "from", format=".2f"),
    _tooltip("f1_high", "to", format=".2f"),
]
_AT = [_tooltip("at", "at", format=".4~g"), _tooltip("value", "value", format=".4~g")]
