import json

from pipeline.questions.faults import Fault, listing, write_faults


def test_faults_are_written_as_json_lines(tmp_path):
    faults = {"train": [Fault("q1", "it is “wrong” \ud800", "left out")], "validation": []}
    write_faults(faults, tmp_path / "faulty.jsonl")
    (line,) = (tmp_path / "faulty.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "split": "train", "id": "q1", "reason": "it is “wrong” \ud800", "action": "left out",
    }  # fmt: skip
    write_faults({"train": []}, tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_the_listing_of_an_error_has_the_first_twenty():
    faults = [Fault(f"q{i}", "it is wrong", "left out") for i in range(21)]
    assert listing(faults[:1], "a.json: ") == ":\n  a.json: question q0: it is wrong"
    lines = listing(faults).split("\n")
    assert "20" in lines[0] and lines[-1] == "  question q19: it is wrong"
