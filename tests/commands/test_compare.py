import dataclasses
import io
import json
import re

import pandas as pd
import pytest

from pipeline.commands import compare, cost
from pipeline.commands.compare import group
from pipeline.comparison import frames
from pipeline.experiments.run import Run
from pipeline.names import HEADS
from tests.commands import scored
from tests.commands.command_line import options
from tests.words import mentions, refused

COST = {
    "parameters": 1000,
    "nonzero_parameters": 700,
    "bytes": 265_000_000,
    "compressed_bytes": 245_000_000,
    "gflops_per_window": 12.3456,
    "latency_ms_median": 123.45,
    "latency_ms_p95": 234.56,
    "windows_per_second": 12345.67,
    "peak_memory_mb": 1234.5,
    "threads": 16,
    "device": "cuda",
}
QUESTIONS = scored.records()


def run(name, head="linear", seed=0, share=0.5, sample=0, **sections):
    table = scored.scores(QUESTIONS, share, sample or seed)
    return Run(name, scored.params(head, seed, **sections), scored.metrics(table), table)


@pytest.fixture
def command(repository, capsys):
    def command(*arguments):
        compare.main(**options("compare", *arguments))
        return capsys.readouterr().out

    return command


def test_runs_that_differ_in_the_seed_alone_are_one_student():
    runs = [run("a"), run("b", seed=1), run("c", "cnn3"), run("d", seed=2), run("e", train={"epochs": 9})]
    candidates = group(runs)
    assert [candidate.runs for candidate in candidates] == [["a", "b", "d"], ["c"], ["e"]]
    assert [candidate.by_run("f1").shape for candidate in candidates] == [(3, 24), (1, 24), (1, 24)]
    assert candidates[0].by_run("f1")[1].tolist() == runs[1].scores["f1"].to_pylist()


def test_students_are_named_by_what_tells_them_apart():
    assert [student.name for student in group([run("a"), run("b", "cnn3")])] == ["linear", "cnn3"]
    runs = [run("a"), run("b", distill={"temperature": 4.0}), run("c", "cnn3", distill={"temperature": 4.0})]
    clipped = [run("a"), run("b", train={"max_grad_norm": None})]  # 1.0 without the key
    assert [student.name for student in group(clipped)] == ["linear max_grad_norm=1.0", "linear max_grad_norm=null"]
    assert [student.name for student in group(runs)] == [
        "linear temperature=2.0",
        "linear temperature=4.0",
        "cnn3 temperature=4.0",
    ]


def test_of_runs_with_equal_params_the_first_is_taken_and_other_scores_are_named(capsys):
    (student,) = group([run("a"), run("b"), run("c", sample=9), run("d", seed=1)])
    assert student.runs == ["a", "d"]
    (line,) = capsys.readouterr().err.splitlines()
    mentions(line, "left out: c", "params as a", "scores")


@pytest.mark.parametrize("head", ["linear", "cnn3"])
def test_a_run_of_other_data_with_the_same_params_of_it_is_named(head, capsys):
    runs = [run("a"), run("b", seed=1)]
    other = dataclasses.replace(run("c", head, seed=2), inputs="other")
    group(runs)
    assert capsys.readouterr().err == ""
    group([*runs, other, dataclasses.replace(run("e", head, seed=3), inputs="other")])
    (line,) = capsys.readouterr().err.splitlines()  # for all such runs
    mentions(line, "warning", "c, e", "than a", "questions", "logits", "encoder")
    group([*runs, dataclasses.replace(run("d", dataset={"train_size": 5}), inputs="other")])
    assert capsys.readouterr().err == ""


def test_the_default_is_head_and_every_experiment(command):
    with refused("other-questions", "other questions", "HEAD"):
        command()
    scored.git("update-ref", "-d", scored.git("for-each-ref", "--format=%(refname)", "refs/exps/*/*/other*").strip())
    out = command()
    assert re.findall(r"^\| (\w+) +\| +(\d) \|", out, re.M) == [("cnn3", "2"), ("linear", "2")]
    assert "baseline (linear):" in out
    assert re.search(r"^\| cnn3 .* \|", out.split("(linear):")[1], re.M)


def test_a_baseline_and_runs_can_be_named(command):
    out = command("HEAD", "cnn3-seed0", "--baseline", "cnn3-seed0")
    assert "baseline (cnn3):" in out
    assert re.search(r"^\| linear .* worse \(these models\) \|$", out, re.M)
    assert "baseline (linear):" in command("HEAD", "cnn3-seed0")


def test_a_single_run_has_scores_and_no_differences(command):
    out = command("HEAD")
    assert "| linear  |" in out and "verdict" not in out and "McNemar" not in out


@pytest.mark.slow
def test_the_deviation_is_shown_for_several_seeds_and_the_notes_say_what_they_are_about(command):
    single = command("HEAD", "cnn3-seed0")
    assert " sd |" not in single and "about these trained models" in single and "minimum detectable" in single
    two = command("HEAD", "linear-seed1", "cnn3-seed0", "cnn3-seed1")
    assert " sd |" in two and "use three or more" in two and "(these models)" not in two and "No MDE" in two
    unequal = command("HEAD", "linear-seed1", "cnn3-seed0")
    assert "borrows" in unequal and "No MDE" in unequal
    for text in (single, two, unequal):
        assert "for this article only" in text and "before the scores were seen" in text


SIZES = ["parameters", "nonzero_parameters", "bytes"]


@pytest.mark.slow
def test_csv_and_json_hold_the_same_rows(command, tmp_path):
    rows = json.loads(command("HEAD", "cnn3-seed0", "cnn3-seed1", "--format", "json"))
    assert [(row["name"], row["runs"]) for row in rows] == [("cnn3", "cnn3-seed0 cnn3-seed1"), ("linear", "HEAD")]
    best, base = rows
    assert best["verdict"] == "better" and base["verdict"] is None
    assert best["f1_low"] < best["f1"] < best["f1_high"]
    assert best["f1_difference"] == pytest.approx(best["f1"] - base["f1"])
    assert [best[size] for size in SIZES] == [1000, 700, 4000]
    assert command("HEAD", "cnn3-seed0", "cnn3-seed1", "--format", "csv", "--out", str(tmp_path / "rows.csv")) == ""
    read = pd.read_csv(tmp_path / "rows.csv")
    assert frames.records(read) == rows


@pytest.mark.slow
def test_csv_and_json_are_read_with_their_types(command, monkeypatch):
    monkeypatch.setattr(cost, "read", lambda run: COST if run.name == "cnn3-seed1" else None)
    names = ("HEAD", "cnn3-seed0", "cnn3-seed1")
    as_csv, as_json = (io.StringIO(command(*names, "--format", format)) for format in ("csv", "json"))
    read = [pd.read_csv(as_csv, dtype_backend="numpy_nullable"), pd.read_json(as_json, dtype_backend="numpy_nullable")]
    for rows in read:
        assert (rows.dtypes[["seeds", *SIZES, "compressed_bytes", "threads"]] == "Int64").all()
        assert (rows.dtypes[["f1", "f1_difference", "f1_p", "latency_ms_median"]] == "Float64").all()
        assert (rows.dtypes[["name", "runs", "verdict", "device"]] == "string").all()


def test_fewer_than_two_paragraphs_are_refused(command):
    one = scored.records(1)
    scored.write_run(scored.params(), one, scored.scores(one, 0.5))
    with refused("compared", "two paragraphs"):
        command("workspace")


def test_an_unknown_revision_and_a_run_without_scores_are_refused(command):
    with refused("experiment 'nobody'"):
        command("HEAD", "nobody")
    with refused("unscored", "no scores"):
        command("HEAD", "unscored")


@pytest.mark.slow
def test_slices_are_printed_for_each_student_with_the_largest_differences(command):
    out = command("HEAD", "cnn3-seed0", "--slices")
    linear, cnn3 = out.split("## ")[1:]
    for text in (linear, cnn3):
        assert re.findall(r"^\| (.*): ", text, re.M) == [
            "question word", "context length", "answer position", "windows",
        ]  # fmt: skip
        assert re.search(r"^\| how many +\| +8 \|", text, re.M)
    assert " difference |" in cnn3 and " difference |" not in linear
    most = re.findall(r"^- (.*), p (\.\d{4}|1), (better|worse|undecided)\b", cnn3, re.M)
    assert len(most) == 3 and most == sorted(most, key=lambda line: float(line[1]))
    rows = json.loads(command("HEAD", "cnn3-seed0", "--slices", "--format", "json"))
    assert {row["student"] for row in rows} == {"linear", "cnn3"}
    assert sum(row["questions"] for row in rows if row["kind"] == "windows") == 2 * 24


@pytest.mark.slow
@pytest.mark.parametrize("slices", [[], ["--slices"]])
@pytest.mark.parametrize("sections", [{}, {"distill": {"temperature": 4.0}, "train": {"epochs": 30}}])
def test_nine_heads_fit_100_columns(monkeypatch, command, slices, sections):
    """Also with names that settings make long, with costs, and with differences of two digits."""
    runs = [run(head, head, share=0.9 - i / 16, sample=i) for i, head in enumerate(HEADS)]
    runs += [run("other", "cnn357_stacked", **sections)] if sections else []
    monkeypatch.setattr(compare, "read_runs", lambda names, baseline: runs)
    monkeypatch.setattr(compare, "read_questions", lambda run: QUESTIONS)
    monkeypatch.setattr(cost, "read", lambda run: COST)
    text = command(*slices)
    assert max(map(len, text.splitlines())) <= 100
    for name in HEADS:
        assert name in text


@pytest.mark.slow
def test_costs_are_shown_for_students_with_a_known_cost(command, monkeypatch):
    assert "GFLOP" not in command("HEAD", "cnn3-seed0")
    monkeypatch.setattr(cost, "read", lambda run: COST if run.name == "cnn3-seed1" else None)
    names = ("HEAD", "cnn3-seed0", "cnn3-seed1")
    (line,) = re.findall(r"^\|.*cuda x16 \|$", command(*names), re.M)
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "cnn3", "12.3", "0.004", "245", "123.5", "234.6", "12346", "1234", "cuda x16",
    ]  # fmt: skip
    best, base = json.loads(command(*names, "--format", "json"))
    assert best["latency_ms_median"] == 123.45 and base["latency_ms_median"] is None
