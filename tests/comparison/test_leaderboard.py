import numpy as np
import pytest

from pipeline.comparison.leaderboard import Student, as_dict, leaderboard
from pipeline.comparison.statistics import compare, holm, mcnemar, score_interval

PARAGRAPHS = np.repeat(np.arange(40), 5)


def student(name, share, seeds=1, first_seed=0):
    rng = np.random.default_rng(first_seed)
    right = 100.0 * (rng.random((seeds, len(PARAGRAPHS))) < share)
    names = tuple(f"{name}{i}" for i in range(seeds))
    return Student(name, names, right, right / 2 + 25, right, parameters=200, nonzero_parameters=150, bytes=800)


def test_rows_are_ordered_by_f1_and_hold_the_statistics():
    students = [student("low", 0.2), student("base", 0.5, first_seed=1), student("high", 0.9, first_seed=2)]
    high, base, low = rows = leaderboard(students, PARAGRAPHS, "base")
    assert [row.name for row in rows] == ["high", "base", "low"]
    assert [row.verdict for row in rows] == ["better", None, "worse"]

    interval = score_interval(students[2].f1, PARAGRAPHS)
    assert (high.f1, high.f1_low, high.f1_high) == (interval.mean, interval.low, interval.high)
    found = [compare(students[i].f1, students[1].f1, PARAGRAPHS) for i in (0, 2)]
    assert (low.f1_difference, high.f1_difference) == tuple(each.difference.mean for each in found)
    assert [low.f1_p, high.f1_p] == holm([each.p_value for each in found])
    assert high.detectable == found[1].detectable
    assert high.mcnemar_p == mcnemar(students[2].exact_match[0], students[1].exact_match[0])
    assert high.zeros == 0.25 and high.agreement == students[2].agreement.mean()
    assert base.f1_p is None and base.f1_difference is None and base.detectable is None


def test_equal_students_are_undecided():
    first, second = student("a", 0.5), student("b", 0.5)
    row = leaderboard([first, second], PARAGRAPHS, "a")[1]
    assert (row.f1_difference, row.f1_p, row.mcnemar_p, row.verdict) == (0, 1, 1, "undecided")


def test_several_seeds_have_a_deviation_and_no_mcnemar():
    several, one = student("several", 0.5, seeds=3), student("one", 0.5, first_seed=5)
    rows = {row.name: row for row in leaderboard([several, one], PARAGRAPHS, "one")}
    assert rows["several"].seed_deviation == pytest.approx(np.std(several.f1.mean(axis=1), ddof=1))
    assert rows["several"].mcnemar_p is None
    assert rows["one"].seed_deviation is None
    assert as_dict(rows["several"])["runs"] == "several0 several1 several2"


def test_two_students_of_one_name_raise():
    with pytest.raises(ValueError, match="two students have one name"):
        leaderboard([student("a", 0.5), student("a", 0.6), student("b", 0.5)], PARAGRAPHS, "b")


def test_one_paragraph_raises():
    with pytest.raises(ValueError, match="at least two paragraphs"):
        leaderboard([student("a", 0.5)], np.zeros(len(PARAGRAPHS)), "a")
