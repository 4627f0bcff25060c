import numpy as np
import pytest

from pipeline.comparison.leaderboard import leaderboard
from pipeline.comparison.statistics import compare, holm, mcnemar, score_interval
from tests.comparison.candidates import candidate

PARAGRAPHS = np.repeat(np.arange(40), 5)


def student(name, share, seeds=1, first_seed=0):
    rng = np.random.default_rng(first_seed)
    right = 100.0 * (rng.random((seeds, len(PARAGRAPHS))) < share)
    return candidate(name, right / 2 + 25, right, sizes=(200, 150, 800))


def test_rows_are_ordered_by_f1_and_hold_the_statistics():
    students = [student("low", 0.2), student("base", 0.5, first_seed=1), student("high", 0.9, first_seed=2)]
    rows = leaderboard(students, PARAGRAPHS, "base")
    assert rows["name"].tolist() == ["high", "base", "low"]
    assert rows["verdict"].fillna("").tolist() == ["better", "", "worse"]

    high, base, low = (row for _, row in rows.iterrows())
    f1, base_f1 = students[2].by_run("f1"), students[1].by_run("f1")
    interval = score_interval(f1, PARAGRAPHS)
    assert (high["f1"], high["f1_low"], high["f1_high"]) == (interval.mean, interval.low, interval.high)
    found = [compare(students[i].by_run("f1"), base_f1, PARAGRAPHS) for i in (0, 2)]
    assert [low["f1_difference"], high["f1_difference"]] == [each.difference.mean for each in found]
    assert [low["f1_p"], high["f1_p"]] == holm([each.p_value for each in found])
    assert high["mde"] == found[1].mde
    assert high["verdict_scope"] == "these models"
    assert high["mcnemar_p"] == mcnemar(*(students[i].by_run("exact_match")[0] for i in (2, 1)))
    assert high["zeros"] == 0.25 and high["agreement"] == students[2].by_run("agreement").mean()
    assert base[["f1_p", "f1_difference", "mde", "mcnemar_p", "verdict_scope"]].isna().all()


def test_agreement_is_that_of_the_questions_that_the_teacher_answers():
    one, none = student("one", 0.5), student("none", 0.5)
    one.scores["one0"]["agreement"] = [100.0, 0.0, *[None] * (len(PARAGRAPHS) - 2)]
    none.scores["none0"]["agreement"] = None
    rows = leaderboard([one, none], PARAGRAPHS, "one").set_index("name")
    assert rows["agreement"].fillna(-1).to_dict() == {"one": 50, "none": -1}


def test_equal_students_are_undecided():
    rows = leaderboard([student("a", 0.5), student("b", 0.5)], PARAGRAPHS, "a")
    assert rows[["f1_difference", "f1_p", "mcnemar_p", "verdict"]].iloc[1].tolist() == [0, 1, 1, "undecided"]


def test_several_seeds_have_a_deviation_and_no_mcnemar():
    several, one = student("several", 0.5, seeds=3), student("one", 0.5, first_seed=5)
    rows = leaderboard([several, one], PARAGRAPHS, "one").set_index("name")
    assert rows.loc["several", "seed_deviation"] == pytest.approx(np.std(several.by_run("f1").mean(axis=1), ddof=1))
    assert np.isnan(rows.loc["several", "mcnemar_p"])
    assert np.isnan(rows.loc["one", "seed_deviation"])
    assert rows.loc["several", "runs"] == "several0 several1 several2"
    assert rows["seeds"].to_dict() == {"several": 3, "one": 1}
    assert rows.loc["several", "verdict_scope"] == "settings"
    assert np.isnan(rows.loc["several", "mde"])


def test_a_single_student_has_a_row_without_differences():
    rows = leaderboard([student("a", 0.5)], PARAGRAPHS, "a")
    assert rows["name"].tolist() == ["a"] and rows["verdict"].isna().all() and rows["f1_difference"].isna().all()


def test_two_students_of_one_name_raise():
    with pytest.raises(ValueError, match="one name"):
        leaderboard([student("a", 0.5), student("a", 0.6), student("b", 0.5)], PARAGRAPHS, "b")


def test_one_paragraph_raises():
    with pytest.raises(ValueError, match="two paragraphs"):
        leaderboard([student("a", 0.5)], np.zeros(len(PARAGRAPHS)), "a")
