from pipeline import cli
from pipeline.commands import page
from pipeline.web.page import runtime
from tests.commands.command_line import options
from tests.words import mentions, refused


def test_it_writes_one_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPAN_DISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "load", lambda cache: {"where": str(cache)})
    monkeypatch.setattr(page, "read", lambda folder, precision: f"{folder} {precision}")
    monkeypatch.setattr(page, "render", lambda student, engine: f"{student} {engine['where']}")
    out = tmp_path / "out.html"
    page.main(tmp_path / "student", out, None)
    assert out.read_text() == f"{tmp_path / 'student'} None {tmp_path / 'cache' / 'page'}"
    mentions(capsys.readouterr().out, out, "0.0 MB")


def test_a_missing_folder_is_one_line_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "load", None)
    arguments = options("page", tmp_path / "nowhere")
    with refused("error", tmp_path / "nowhere", "missing", "`span-distill export`", error=SystemExit):
        cli.report_errors(page.main, **arguments)
