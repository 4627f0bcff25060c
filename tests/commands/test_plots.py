"""DVC's plots in one page, without a network."""

import time
from pathlib import Path

import pytest
import yaml

from pipeline.commands import plots
from pipeline.errors import InputError
from tests.browser import CHROMIUM, Browser
from tests.commands import scored

OUT = Path("plots.html")


@pytest.fixture
def with_curves(repository):
    """The repository, with a curve in HEAD, another in the workspace, and a plot of it in dvc.yaml."""
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())
    plot = {"validation F1": {"x": "step", "y": {"data/curves/validation.tsv": "f1"}}}
    Path("dvc.yaml").write_text(yaml.safe_dump({**pipeline, "plots": [plot]}))
    curve = Path("data/curves/validation.tsv")
    curve.parent.mkdir()
    curve.write_text("step\tf1\n5\t50.0\n9\t60.0\n")
    scored.git("add", "-A")
    scored.git("commit", "-qm", "curves")
    curve.write_text("step\tf1\n5\t55.0\n9\t65.0\n")
    return repository


@pytest.mark.slow
def test_the_plots_of_two_runs_are_drawn_without_a_network(with_curves, tmp_path):
    plots.main([], OUT)
    page = OUT.read_text(encoding="utf-8")
    assert '"rev": "HEAD"' in page and '"rev": "workspace"' in page
    assert "src=" not in page.replace(plots.vega(), "")
    assert not Path("dvc_plots").exists()
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` brings one")
    browser = Browser(tmp_path / "profile")
    try:
        browser("Page.navigate", url=OUT.resolve().as_uri())
        end = time.monotonic() + 30
        while not browser.run('document.querySelectorAll(".vega-embed canvas, .vega-embed svg.marks").length'):
            assert time.monotonic() < end, browser.complaints
            time.sleep(0.05)
        assert browser.run('performance.getEntriesByType("resource").length') == 0
    finally:
        browser.close()


def test_an_unknown_revision_is_one_line(with_curves):
    with pytest.raises(InputError, match=r"^`dvc plots diff nope` failed"):
        plots.main(["nope"], OUT)
    assert not OUT.exists()
