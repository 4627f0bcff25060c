import re
import subprocess
import sys

import pytest
import yaml

from pipeline import paths
from pipeline.commands import sweep
from pipeline.commands.sweep import experiment_name, free_name, run_interruptible
from pipeline.errors import InputError
from pipeline.experiments.run import experiments, read_run
from tests.commands import scored
from tests.commands.command_line import options
from tests.words import mentions, refused

pytestmark = pytest.mark.slow


@pytest.fixture
def command(repository):
    def command(*arguments):
        sweep.main(**options("sweep", *arguments))

    return command


@pytest.fixture
def dvc(monkeypatch):
    """A stand-in for `dvc exp run --temp`: saves an invented experiment, with its name as the key of `outcomes`.

    An outcome is an exit code; `lie` exits with 0 and leaves no experiment, `unscored` one without scores.
    """

    def run(command):
        assert command[:6] == [sys.executable, "-m", "dvc", "exp", "run", "--temp"]
        name = command[command.index("--name") + 1]
        ran.append(name)
        outcome = outcomes.get(name, 0)
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome in (0, "unscored"):
            before = paths.PARAMS.read_bytes()
            values = sweep.overridden([part for part in command[8:] if part != "-S"])
            scored.write_run(values, scored.records(), scored.scores(scored.records(), 0.7, len(ran)))
            if outcome:
                paths.question_scores(paths.PREDICTIONS).unlink()
            scored.save_experiment(name)
            paths.PARAMS.write_bytes(before)
        return outcome if isinstance(outcome, int) else 0

    ran, outcomes = [], {}
    monkeypatch.setattr(sweep, "run_interruptible", run)
    run.ran, run.outcomes = ran, outcomes
    return run


def test_runs_what_is_missing_and_keeps_the_workspace(command, dvc, capsys):
    paths.PARAMS.write_text(paths.PARAMS.read_text() + "# a comment\n")
    before = paths.PARAMS.read_bytes()
    command("--heads", "linear", "cnn3", "--seeds", "0", "1", "2")
    assert dvc.ran == ["linear-seed2", "cnn3-seed2"]
    assert paths.PARAMS.read_bytes() == before
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("linear-seed0: finished before, exact match ") and out[0].endswith(" (HEAD)")
    assert [line.partition(":")[0] for line in out[1:4]] == ["linear-seed1", "cnn3-seed0", "cnn3-seed1"]
    assert out[4] == "1 of 2: linear-seed2: head=linear seed=2"
    assert re.fullmatch(r"1 of 2: linear-seed2: exact match .* after \d+\.\d minutes", out[5])
    assert out[-1] == "6 of 6 experiments are finished"
    command("--heads", "linear", "cnn3", "--seeds", "0", "1", "2")
    assert len(dvc.ran) == 2


def test_names_what_failed_and_continues(command, dvc, capsys):
    dvc.outcomes |= {"cnn357-seed0": 255, "cnn357-seed1": "lie", "cnn357-seed2": "unscored"}
    with pytest.raises(SystemExit) as exited:
        command("--heads", "cnn357", "--seeds", "0", "1", "2", "3")
    failed = "cnn357-seed0 cnn357-seed1 cnn357-seed2"
    mentions(exited.value.code, "failed", f"{failed};")
    assert dvc.ran[-1] == "cnn357-seed3"
    out = capsys.readouterr().out
    assert re.search(r"^1 of 4: cnn357-seed0: FAILED after \d+\.\d minutes$", out, re.MULTILINE)
    assert out.endswith("1 of 4 experiments are finished\n")

    dvc.outcomes.clear()
    command("--heads", "cnn357", "--seeds", "0", "1", "2", "3")
    assert dvc.ran[4:] == ["cnn357-seed0", "cnn357-seed1", "cnn357-seed2-2"]  # one without scores has that name


def test_an_interrupted_sweep_resumes(command, dvc):
    dvc.outcomes["cnn357-seed1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        command("--heads", "cnn357", "--seeds", "0", "1", "2")
    dvc.outcomes.clear()
    command("--heads", "cnn357", "--seeds", "0", "1", "2")
    assert dvc.ran == ["cnn357-seed0", "cnn357-seed1", "cnn357-seed1", "cnn357-seed2"]


def test_other_settings_are_other_experiments(command, dvc):
    command("--heads", "cnn3", "--seeds", "0", "-S", "distill.temperature=4", "-S", "+train.max_steps=7")
    assert dvc.ran == ["cnn3-temperature4-max_steps7-seed0"]
    params = read_run(dvc.ran[0]).params
    assert (params["distill"]["temperature"], params["train"]["max_steps"]) == (4, 7)
    command("--heads", "cnn3", "--seeds", "0", "-S", "distill.temperature=2")  # as in params.yaml
    assert len(dvc.ran) == 1


def test_several_values_make_a_grid_and_a_list_is_one_value(command, dvc):
    alphas, layers = "distill.alpha=0,0.5,0", "backbone.layers=[0,1]"
    command("--heads", "cnn3", "--seeds", "0", "1", "-S", alphas, "-S", layers)
    assert dvc.ran == [f"cnn3-alpha{alpha}-layers-0-1-seed{seed}" for alpha in ("0", "0.5") for seed in (0, 1)]
    params = read_run(dvc.ran[-1]).params
    assert (params["distill"]["alpha"], params["backbone"]["layers"], params["seed"]) == (0.5, [0, 1], 1)


def test_equal_values_in_other_words_are_one_experiment(command, dvc):
    command("--heads", "cnn3", "--seeds", "0", "-S", "distill.alpha=0,0.0,0.5")
    assert dvc.ran == ["cnn3-alpha0-seed0", "cnn3-alpha0.5-seed0"]


def test_settings_with_one_name_are_told_apart(command, dvc, capsys):
    files = [f"data/raw/{name}.json" for name in ("a/b", "a-b")]
    settings = ("dataset.source=files", "+dataset.validation_file=data/raw/c.json", "~dataset.validation_size")
    for file in files:
        options = [part for setting in (*settings, f"+dataset.train_file={file}") for part in ("-S", setting)]
        command("--heads", "cnn3", "--seeds", "0", *options)
    assert len(dvc.ran) == 2 and dvc.ran[1] == f"{dvc.ran[0]}-2"
    assert [read_run(name).params["dataset"]["train_file"] for name in dvc.ran] == files
    both = [part for setting in (*settings, f"+dataset.train_file={','.join(files)}") for part in ("-S", setting)]
    capsys.readouterr()
    command("--heads", "cnn3", "--seeds", "0", *both)
    assert len(dvc.ran) == 2 and capsys.readouterr().out.count("finished before") == 2


def test_changed_code_makes_new_experiments_under_new_names(command, dvc, repository):
    (repository / "pipeline/train.py").write_text("print('another training')\n")
    older = experiments()["cnn3-seed0"]
    command("--heads", "cnn3", "--seeds", "0")
    assert dvc.ran == ["cnn3-seed0-2"]
    assert experiments()["cnn3-seed0"] == older


def test_code_that_changes_during_the_sweep_stops_it(command, dvc, repository, monkeypatch):
    saved = sweep.run_experiment

    def run_and_edit(item):
        (repository / "pipeline/train.py").write_text("print('another training')\n")
        return saved(item)

    monkeypatch.setattr(sweep, "run_experiment", run_and_edit)
    monkeypatch.setattr(scored, "git", lambda *arguments: "")
    with refused("code", "data/raw", "changed"):
        command("--heads", "cnn357", "--seeds", "0", "1")
    assert dvc.ran == ["cnn357-seed0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-S", "head=cnn357"], "head=cnn357 --heads"),
        (["-S", "seed=3"], "seed=3 --seeds"),
        (["-S", "train.epoch=3"], "train.epoch epochs"),
        (["-S", "train.epochs=1,-1"], "params.yaml -S train.epochs=-1: train.epochs"),
        (["-S", "train.epochs=1,2,"], "-S train.epochs=1,2,: KEY=VALUE KEY=VALUE,VALUE"),
        (["-S", "train.epochs"], "-S train.epochs: KEY=VALUE KEY=VALUE,VALUE"),
        (["-S", "train.epochs=glob(*)"], "train.epochs=glob(*) KEY=VALUE"),
        (["-S", "train.epochs=interval(0,1)"], "train.epochs=interval(0,1) KEY=VALUE"),
        (["-S", "train.epochs=${x}"], "-S KEY=VALUE"),
        (["-S", "train.epochs=-1"], "params.yaml -S head=linear seed=0 train.epochs=-1: train.epochs"),
        (["--seeds", "-1"], "seed: greater 0"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_runs(command, dvc, arguments, words):
    with refused(*words.split()):
        command(*arguments)
    assert dvc.ran == []


def test_an_unknown_head_is_refused(command, capsys):
    with pytest.raises(SystemExit) as exited:
        command("--heads", "cnn9")
    assert exited.value.code == 2
    assert "invalid choice: 'cnn9' (choose from 'linear', 'lstm768'" in capsys.readouterr().err


def test_a_repository_without_a_commit_is_refused(workspace):
    with refused("git rev-parse --verify HEAD"):
        sweep.main(["linear"], [0], [])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], "cnn3-seed1"),
        (["train.learning_rate=1e-3", "prune.amount=0.3"], "cnn3-learning_rate1e-3-amount0.3-seed1"),
        (["backbone.layers=[0,2]"], "cnn3-layers-0-2-seed1"),
        (["backbone.model=data/raw/a..b~c"], "cnn3-modeldata-raw-a.b-c-seed1"),
    ],
)
def test_names_are_those_that_git_accepts(settings, expected):
    assert experiment_name("cnn3", 1, settings) == expected
    assert subprocess.run(["git", "check-ref-format", f"refs/exps/{expected}"]).returncode == 0


def test_a_parameter_that_has_its_default_can_be_set(repository):
    for setting in ("train.max_steps=7", "+train.max_steps=7"):
        item = sweep.experiment("linear", 0, [setting])
        assert item.overrides == ("head=linear", "seed=0", "+train.max_steps=7")
        assert item.params["train"]["max_steps"] == 7
    assert sweep.experiment("linear", 0, ["train.epochs=2"]).overrides[2] == "train.epochs=2"
    with pytest.raises(InputError, match=r"train\.steps .* max_steps"):
        sweep.experiment("linear", 0, ["train.steps=7"])


def test_a_free_name_has_the_first_free_number():
    assert free_name("a", ["b"]) == "a"
    assert free_name("a", ["a", "a-2", "a-4"]) == "a-3"


def test_a_command_runs_without_input_and_returns_its_exit_code():
    assert run_interruptible([sys.executable, "-c", "import sys; sys.exit(3 if sys.stdin.read() == '' else 4)"]) == 3


def test_the_parameters_are_not_changed_by_a_check(repository):
    before = paths.PARAMS.read_bytes()
    assert sweep.overridden(["head=cnn357", "train.learning_rate=1e-4"])["train"]["learning_rate"] == 1e-4
    assert paths.PARAMS.read_bytes() == before and yaml.safe_load(before)["head"] == "linear"
