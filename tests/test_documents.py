"""README.md, docs/ and the other documents: what they repeat of the code, and their links."""

import re
from pathlib import Path

import pytest

from pipeline import params
from pipeline.names import METRICS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "data/raw/*.md") for path in ROOT.glob(pattern)
)
README = ROOT / "README.md"


def read(path):
    return path.read_text(encoding="utf-8")


def prose(path):
    """A document without its code blocks, which are fenced or indented."""
    return re.sub(r"^```[\s\S]*?^```$|^    .*$", "", read(path), flags=re.MULTILINE)


def anchors(path):
    """The anchors of a document's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path):
    """The targets of a document's links and images: inline, and by reference."""
    text = re.sub(r"`[^`]*`", "", prose(path))
    names = set(re.findall(r"(?<!\])\[([^\]]+)\](?![(:])", text))
    targets = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, re.MULTILINE))
    return re.findall(r"\]\(([^)\s]+)\)", text) + [targets.get(name, name) for name in names if name in targets]


def broken(path):
    """The relative links of a document whose file or heading does not exist."""
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not link.startswith("https://") and not (
            target.exists() and (not anchor or (target.suffix == ".md" and anchor in anchors(target)))
        ):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    assert list(broken(path)) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `b` c, d\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n[a](other.md#a-b-c-d) [b](#here) [c](none.md) [d](other.md#here)\n[e] [f][g] `[h](i)`\n\n"
        "    [j](k)\n\n[e]: none/e.md\n"
    )
    assert list(broken(page)) == ["none.md", "other.md#here", "none/e.md"]


def test_every_page_of_docs_is_linked_in_the_readme():
    linked = {README.parent / link.partition("#")[0] for link in links(README)}
    assert {path for path in DOCUMENTS if path.parent.name == "docs"} <= linked


def test_every_measurement_is_linked_in_a_page():
    results = {path for path in DOCUMENTS if path.parent.name == "results"}
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in DOCUMENTS
        if path not in results
        for link in links(path)
    }
    assert results and results <= linked


def test_the_readme_is_short():
    assert len(read(README).split()) <= 1400


def test_the_page_of_parameters_is_the_output_of_params():
    assert read(ROOT / "docs/parameters.md") == params.page()


def test_every_preset_has_a_row():
    names = re.findall(r"^\| `(\w+)` \|", read(README), re.MULTILINE)
    assert sorted(names) == sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


def test_every_metric_has_a_row():
    section = read(ROOT / "docs/scores.md").partition("| `evaluate.metric` |")[2].partition("\n\n")[0]
    names = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)))
    assert names == list(METRICS)


def test_every_make_target_of_a_document_exists():
    targets = re.findall(r"^(\w+):", read(ROOT / "Makefile"), re.MULTILINE)
    for path in DOCUMENTS:
        assert set(re.findall(r"(?:^    |`)make (\w+)", read(path), re.MULTILINE)) <= set(targets), path
