from pathlib import Path

import yaml

from pipeline import names, params

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_parameter_table_is_the_output_of_params_py():
    assert f"\n{params.table()}\n" in README


def test_every_head_and_preset_has_a_row():
    for name in (*names.HEADS, *(path.stem for path in (ROOT / "presets").glob("*.yaml"))):
        assert f"\n| `{name}` | " in README


def test_every_metric_has_a_row():
    """In the table of metrics, wherever it is; the row of the parameter lists them all."""
    texts = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    rows = [line for text in texts for line in text.splitlines() if line.startswith("| `")]
    for name in names.METRICS:
        assert any(f"`{name}`" in row for row in rows if not row.startswith("| `evaluate.metric`")), name


def test_the_committed_parameters_are_the_default_preset():
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == (ROOT / "presets/default.yaml").read_text(
        encoding="utf-8"
    )
    assert params.load(ROOT / "params.yaml").dataset.source == "synthetic"


def test_every_preset_has_all_sections():
    for path in (ROOT / "presets").glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")).keys() == params.Params.model_fields.keys(), path
