import pytest
import vl_convert

from pipeline.report import charts

POINTS = [
    {"student": "a", "number": 1, "f1": 80.0, "f1_low": 79.0, "f1_high": 81.0, "cost": 300.0, "value": 1.0, "group": 0},
    {"student": "b", "number": 2, "f1": 78.0, "f1_low": 77.0, "f1_high": 79.0, "cost": 100.0, "value": 0.5, "group": 0},
]
SLICES = [{**point, "label": label, "questions": 5} for point in POINTS for label in ("what", "who")]
CURVES = [{"student": "a", "run": "a 0", "step": step, "minutes": step / 2, "f1": 50.0 + step} for step in range(9)]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 70), (2, 80), (3, 75)], [True, True, False]),
        ([(1, 70), (1, 80)], [False, True]),  # equal costs
        ([(1, 80), (2, 80)], [True, False]),  # equal scores
        ([(1, 80), (1, 80)], [True, True]),  # equal students
        ([(5, 1)], [True]),
    ],
)
def test_the_pareto_front_by_hand(points, expected):
    assert charts.front(points) == expected


@pytest.mark.parametrize(
    "spec",
    [
        charts.against(POINTS, "cost", "size, MB", "a"),
        charts.effect(POINTS, "distill.alpha", "a"),
        charts.slices(SLICES, "question word", "a"),
        charts.curves(CURVES, "a"),
    ],
    ids=["against", "effect", "slices", "curves"],
)
def test_vega_lite_draws_every_chart(spec):
    svg = vl_convert.vegalite_to_svg({**spec, "width": 400, "config": charts.CONFIG})
    assert "mark-symbol" in svg and "var(--chosen)" in svg
    assert "NaN" not in svg and "undefined" not in svg


def test_the_slices_keep_their_order():
    spec = charts.slices(SLICES, "question word", "a")
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["what", "who"]
