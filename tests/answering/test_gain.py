import pytest

from pipeline.answering.gain import Figures, busy, gain


def cost(low, median=None, high=None, share=1.0, device="cpu", threads=1):
    ends = {"latency_ms_low": low, "latency_ms_median": median or low, "latency_ms_high": high or low}
    return {**ends, "cpu_share": share, "device": device, "threads": threads}


STUDENT = Figures(100, cost(9, 10, 11))
TEACHER = Figures(1240, cost(49, 51, 53))


def test_the_sentence():
    assert gain(STUDENT, 67.2, [TEACHER], 70.0) == "12.4x smaller, 5.1x faster, keeps 96 % of the teacher's F1"


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (Figures(100, None), TEACHER, "12.4x smaller, keeps"),
        (STUDENT, Figures(1240, None), "12.4x smaller, keeps"),
        (STUDENT, Figures(None, None), "keeps"),
        (Figures(200, cost(102)), Figures(100, cost(51)), "2.0x larger, 2.0x slower, keeps"),
        (Figures(100, cost(9)), Figures(101, cost(900)), "as large, 100.0x faster, keeps"),
    ],
)
def test_what_is_not_known_is_left_out(student, teacher, expected):
    assert gain(student, 50.0, [teacher], 100.0) == f"{expected} 50 % of the teacher's F1"


def test_latencies_that_differ_by_less_than_their_noise_are_equal():
    slower = Figures(1240, cost(10.5, 12, 13))  # from 10.5, where the student's interval ends at 11
    assert "smaller, as fast, keeps" in gain(STUDENT, 1.0, [slower], 1.0)
    assert "1.2x faster" in gain(STUDENT, 1.0, [Figures(1240, cost(11.5, 12, 13))], 1.0)


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"threads": 2}])
def test_latencies_of_other_devices_are_not_compared(other):
    assert "faster" not in gain(STUDENT, 1.0, [Figures(1240, cost(51, **other))], 1.0)


@pytest.mark.parametrize("disturbed", [cost(51, share=0.6), cost(40, 51, 60)])
def test_a_busy_machine_has_no_figure_of_speed(disturbed):
    assert busy(disturbed) and not busy(TEACHER.cost)
    text = gain(STUDENT, 67.2, [Figures(1240, disturbed)], 70.0)
    assert text == "12.4x smaller, keeps 96 % of the teacher's F1; speed not measured: the machine was busy"


def test_several_teachers_count_together():
    text = gain(STUDENT, 60.0, [TEACHER, Figures(760, cost(49))], 75.0)
    assert text == "20.0x smaller, 10.0x faster, keeps 80 % of the teachers' F1"
    assert gain(STUDENT, 60.0, [TEACHER, Figures(None, None)], 75.0) == "keeps 80 % of the teachers' F1"


def test_without_a_teachers_score_there_is_no_share_of_it():
    assert gain(STUDENT, 60.0, [TEACHER], None) == "12.4x smaller, 5.1x faster"
    assert gain(STUDENT, 60.0, [], None) == ""
