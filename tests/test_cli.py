import pytest
from safetensors import SafetensorError

from pipeline.cli import report_errors


def ended(error, capsys):
    """What is printed for an exception, as one line."""

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        report_errors(main)
    return ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err.strip()


@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_only_an_error_that_says_so_resumes(kind, capsys):
    error = kind("no space left")
    assert ended(error, capsys) == "error: no space left"
    error.add_note("saved a checkpoint of step 7; the same command resumes")
    assert ended(error, capsys) == "error: no space left; saved a checkpoint of step 7; the same command resumes"


def test_only_an_interrupt_that_says_so_resumes(capsys):
    assert ended(KeyboardInterrupt(), capsys) == "interrupted"
    assert ended(KeyboardInterrupt("3 of 9 windows are cached"), capsys) == (
        "interrupted: 3 of 9 windows are cached; the same command resumes"
    )
