import dataclasses

import pandas as pd
import pytest

from pipeline.comparison.statistics import score_interval
from pipeline.report import content
from tests.report import generated


@pytest.fixture(scope="module")
def built(entries, costs, records, clusters, teacher):
    return content.build(entries, costs, "linear alpha=1.0", clusters, records, {"large": teacher})


def test_students_come_in_the_order_of_the_leaderboard(built):
    view, data = built
    assert data["students"] == [row["name"] for row in view["rows"]]
    assert data["students"][0] == "cnn3 alpha=1.0"
    sizes = {point["student"]: point["size"] for point in data["charts"]["size"]["data"]["values"]}
    assert sizes == {
        "cnn3 alpha=1.0": 320.0, "linear alpha=1.0": 280.0, "linear alpha=0.5": 280.0, "teacher large": 1600.0,
    }  # fmt: skip


def test_the_answers_of_each_student_are_its_own(built, entries):
    _, data = built
    by_name = {entry.candidate.name: entry for entry in entries}
    for name, seeds in zip(data["students"], data["examples"]["students"], strict=True):
        exact = by_name[name].candidate.by_run("exact_match")
        assert [seed["exact"] for seed in seeds] == (exact == 100).astype(int).tolist()


def test_the_teacher_has_an_interval(built, clusters, teacher):
    (row,) = built[0]["teachers"]
    expected = score_interval(teacher["f1"], clusters.labels)
    assert (row["f1"], row["f1_low"], row["f1_high"]) == (expected.mean, expected.low, min(expected.high, 100))
    assert (row["name"], row["parameters"], row["bytes"]) == ("teacher large", 400_000_000, 1_600_000_000)


def test_latency_is_shown_of_the_models_that_have_it(built):
    view, data = built
    assert view["latency"] == {
        "linear alpha=0.5": {"median": 12.5, "low": 12.0, "high": 13.0},
        "teacher large": {"median": 50.0, "low": 49.0, "high": 51.0},
    }
    student, teacher = data["charts"]["latency"]["data"]["values"]
    assert (student["student"], student["latency"], student["teacher"]) == ("linear alpha=0.5", 12.5, False)
    assert (teacher["student"], teacher["latency"], teacher["teacher"]) == ("teacher large", 50.0, True)
    assert (teacher["latency_low"], teacher["latency_high"], teacher["number"]) == (49.0, 51.0, None)


def test_a_teacher_without_weights_or_answers_has_no_point(entries, costs, records, clusters, teacher):
    teachers = {"silent": teacher.assign(prediction=None, f1=0.0, exact_match=0.0), "large": teacher}
    without = costs.drop(index="teacher large")
    view, data = content.build(entries, without, "linear alpha=1.0", clusters, records, teachers)
    assert [row["name"] for row in view["teachers"]] == ["teacher large"]
    for chart in ("size", "latency"):
        assert not any(point["teacher"] for point in data["charts"][chart]["data"]["values"])


@pytest.mark.parametrize(("device", "latencies"), [("cpu", [9.0]), ("cuda", [])])
def test_an_int8_export_is_a_point_beside_its_student(entries, costs, records, clusters, teacher, device, latencies):
    scores = {"f1": 70.0, "f1_low": 60.0, "f1_high": 80.0, "bytes": 20_000_000, "device": device, "threads": 2}
    int8 = {**scores, "latency_ms_median": 9.0, "latency_ms_low": 8.5, "latency_ms_high": 9.5}
    students = [*entries[:2], dataclasses.replace(entries[2], int8=int8)]
    view, data = content.build(students, costs, "linear alpha=1.0", clusters, records, {"large": teacher})
    (point,) = (each for each in data["charts"]["size"]["data"]["values"] if each["exported"])
    assert (point["student"], point["label"], point["size"], point["f1"]) == ("cnn3 alpha=1.0", "1 int8", 20.0, 70.0)
    timed = [each["latency"] for each in data["charts"]["latency"]["data"]["values"] if each["exported"]]
    assert timed == latencies and view["exported"]


def test_a_teachers_latency_alone_makes_no_chart(entries, costs, records, clusters, teacher):
    alone = costs.drop(index="linear alpha=0.5")
    view, _ = content.build(entries, alone, "linear alpha=1.0", clusters, records, {"large": teacher})
    assert view["costs"] == ["size"]


def test_each_student_has_its_gain(built):
    view, data = built
    assert data["gains"] == [f"{name} gains" for name in data["students"]]
    assert view["gain"] == {"student": "cnn3 alpha=1.0", "text": "cnn3 alpha=1.0 gains"}


def test_latencies_of_other_devices_are_left_out():
    measured = (("a", 40, "cpu", 1), ("b", 2, "cuda", 16), ("c", 30, "cpu", 1), ("d", 9, "cpu", 2))
    costs = {name: {"latency_ms_median": ms, "device": on, "threads": threads} for name, ms, on, threads in measured}

    def comparable(costs, baseline):
        timed, device = content.latencies(generated.costs(**costs), baseline)
        return timed["latency_ms_median"].to_dict(), device

    assert comparable(costs, "c") == ({"a": 40, "c": 30}, "cpu x1")
    assert comparable(costs, "b") == ({"b": 2}, "cuda x16")
    assert comparable(costs, "unmeasured") == ({"a": 40, "c": 30}, "cpu x1")
    assert comparable({}, "a") == ({}, "")


def test_without_costs_there_is_no_latency(entries, records, clusters, teacher):
    view, _ = content.build(entries, generated.costs(), "linear alpha=1.0", clusters, records, {"large": teacher})
    assert "latency" not in view["costs"]


def test_an_effect_is_shown_where_students_differ_in_it_alone(built):
    view, data = built
    assert view["effects"] == ["distill.alpha"]
    values = data["charts"]["distill.alpha"]["data"]["values"]
    assert [(value["value"], value["student"]) for value in values] == [
        (0.5, "linear alpha=0.5"),
        (1.0, "linear alpha=1.0"),
    ]


def test_a_long_curve_keeps_its_ends_and_is_thinned(entries):
    long = pd.DataFrame({"step": range(1000), "minutes": 0.0, "loss": 1.0})
    (entry,) = [dataclasses.replace(entries[1], curves=[(long, long)])]
    steps = [row["step"] for row in content.curve_values([entry])]
    assert len(steps) == 2 * content.CURVE_POINTS
    assert (steps[0], steps[content.CURVE_POINTS - 1]) == (0, 999)


@pytest.mark.parametrize(("length", "expected"), [(0, []), (1, [0]), (3, [0, 1, 2]), (9, [0, 4, 8])])
def test_evenly_spaced(length, expected):
    assert content.evenly_spaced(length, 3) == expected
