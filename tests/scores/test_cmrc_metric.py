# ruff: noqa: RUF001
"""Values of CMRC 2018's `cmrc2018_evaluate.py` (github.com/ymcui/cmrc2018, c0eb1b6), with NLTK 3.10 for its words."""

import pytest

from pipeline.scores.cmrc_metric import exact_match, f1, segments


@pytest.mark.parametrize(
    "prediction, reference, exact, overlap",
    [
        ("《战国无双3》", "战国无双3", 1, 1),
        ("光荣和ω-force开发", "光荣和ω-force", 0, 0.8),
        ("1998年5月", "1998年", 0, 0.666667),
        ("约有30,000种", "30,000种", 0, 0.666667),
        ("投票率55.64%。", "55.64%", 0, 0.571429),
        ("水深350~500公尺", "350-500公尺", 0, 0.75),
        ("搭配人工皮膜(underwrap)使用", "人工皮膜(Underwrap)", 0, 0.777778),
        ("姚明的iPhone 7", "iPhone 8", 0, 0.285714),
        ("Don't Panic!", "don't panic", 0, 0.857143),
        ("The cat", "cat", 0, 0.666667),  # articles count
        ("北京、上海", "上海、北京", 0, 0.5),  # a run of segments, not a bag
        ("北京 大学", "北京大学", 0, 1),
        ("……", "。", 0, 0),  # the ellipsis is not removed
        ("。", "，", 1, 0),  # both empty
        ("马克·吐温", "“马克吐温”", 1, 1),
        ("他说『好』", "好", 0, 0.5),
        ("R.E.M. 乐队", "R.E.M.", 0, 0.666667),
        ("AT&T公司", "AT&T", 0, 0.75),
    ],
)
def test_the_scores_are_those_of_the_published_script(prediction, reference, exact, overlap):
    assert exact_match(prediction, reference) == exact
    assert f1(prediction, reference) == pytest.approx(overlap, abs=1e-6)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("它是No.1，对吧?", ["它", "是", "no.1", "对", "吧", "?"]),
        ("it's 5's 'quoted' text.", ["it", "'s", "5", "'s", "'", "quoted", "'", "text", "."]),
        ("$3.88 (3,36), etc...", ["$", "3.88", "(", "3,36", ")", ",", "etc", "..."]),
    ],
)
def test_segments_are_chinese_characters_and_the_words_of_nltk(text, expected):
    assert segments(text) == expected
