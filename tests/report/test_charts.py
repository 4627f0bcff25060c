import pytest
import vl_convert

from pipeline.report import charts

POINTS = [
    {"student": "a", "number": 1, "f1": 80.0, "f1_low": 79.0, "f1_high": 81.0, "cost": 300.0, "value": 1.0, "group": 0},
    {"student": "b", "number": 2, "f1": 78.0, "f1_low": 77.0, "f1_high": 79.0, "cost": 100.0, "value": 0.5, "group": 0},
]
SCORED = {"f1": 90.0, "f1_low": 89.0, "f1_high": 91.0}
TIMED = [
    {**POINTS[0], "label": "1", "cost_low": 290.0, "cost_high": 310.0},
    {**POINTS[1], "label": "2", "cost_low": None, "cost_high": None},
    {**SCORED, "student": "teacher large", "label": "teacher large", "number": None, "teacher": True}
    | {"cost": 900.0, "cost_low": 880.0, "cost_high": 950.0},
]
INT8 = {**POINTS[0], "label": "1 int8", "exported": True, "cost": 75.0, "f1": 79.0}
SLICES = [{**point, "label": label, "questions": 5} for point in POINTS for label in ("what", "who")]
CURVES = [{"student": "a", "run": "a 0", "step": step, "minutes": step / 2, "f1": 50.0 + step} for step in range(9)]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 1, 70), (2, 2, 80), (3, 3, 75)], [True, True, False]),
        ([(1, 1, 70), (1, 1, 80)], [False, True]),  # equal costs
        ([(1, 1, 80), (2, 2, 80)], [True, False]),  # equal scores
        ([(1, 1, 80), (1, 1, 80)], [True, True]),  # equal students
        ([(1, 3, 70), (2, 4, 80)], [False, True]),  # costs that cannot be told apart
        ([(1, 3, 80), (2, 4, 80)], [True, True]),
        ([(1, 2, 70), (2, 3, 75), (3, 4, 80)], [False, False, True]),  # each overlaps the next
        ([(1, 2, 70), (3, 4, 80)], [True, True]),
        ([(5, 5, 1)], [True]),
    ],
)
def test_the_pareto_front_by_hand(points, expected):
    assert charts.front(points) == expected


@pytest.mark.parametrize(
    "spec",
    [
        charts.against(TIMED[:2], "cost", "size, MB", "a"),
        charts.against(TIMED, "cost", "latency, ms", "a"),
        charts.effect(POINTS, "distill.alpha", "a"),
        charts.slices(SLICES, "question word", "a"),
        charts.curves(CURVES, "a"),
    ],
    ids=["against", "against with intervals", "effect", "slices", "curves"],
)
def test_vega_lite_draws_every_chart(spec):
    svg = vl_convert.vegalite_to_svg({**spec, "width": 400, "config": charts.CONFIG})
    assert "mark-symbol" in svg and "var(--chosen)" in svg
    assert "NaN" not in svg and "undefined" not in svg


def test_a_teacher_has_a_shape_a_color_and_a_name_of_its_own():
    svg = vl_convert.vegalite_to_svg(
        {**charts.against(TIMED, "cost", "latency, ms", "a"), "width": 400, "config": charts.CONFIG}
    )
    assert svg.count('fill="var(--teacher)"') == 1 and ">teacher large</text>" in svg
    assert 'fill="var(--teacher)"' not in vl_convert.vegalite_to_svg(
        {**charts.against(TIMED[:2], "cost", "latency, ms", "a"), "width": 400, "config": charts.CONFIG}
    )


def test_an_export_is_a_hollow_point_with_the_color_of_its_student():
    svg = vl_convert.vegalite_to_svg(
        {**charts.against([*TIMED, INT8], "cost", "latency, ms", "b"), "width": 400, "config": charts.CONFIG}
    )
    assert svg.count('fill="var(--card)"') == 1 and ">1 int8</text>" in svg
    (point,) = [part for part in svg.split("<path") if 'fill="var(--card)"' in part]
    assert 'stroke="var(--other)"' in point.split(">")[0]


def test_points_without_an_interval_of_cost_have_their_cost_as_both_ends():
    rows = charts.against(TIMED, "cost", "latency, ms", "a")["data"]["values"]
    assert [(row["cost_low"], row["cost_high"]) for row in rows] == [(290, 310), (100, 100), (880, 950)]
    assert [row["front"] for row in rows] == [True, True, True]


def test_the_slices_keep_their_order():
    spec = charts.slices(SLICES, "question word", "a")
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["what", "who"]
