import pytest

from pipeline.logits.manifest import MANIFEST, stores
from pipeline.logits.store import LogitStore
from pipeline.logits.verify import problems
from tests.words import mentions, refused


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"format": 3', '"format": 2'),
        lambda text: text.replace('"shards"', '"chards"'),
        lambda text: text.replace('"rows": 3', '"rows": "3"', 1),
        lambda text: text.replace(".safetensors", "/../x.safetensors", 1),
        lambda text: text.replace("teacher", "t\ud800", 1),
        lambda text: "[1]",
        lambda text: "",
    ],
)
def test_a_damaged_manifest_is_one_problem_and_is_rejected(store, change):
    manifest = store / MANIFEST
    manifest.write_text(change(manifest.read_text()), errors="surrogatepass")
    (line,) = problems(store)
    assert str(manifest) in line
    with refused(manifest, "`dvc repro logits`"):
        LogitStore(store, "k" * 64)


def test_stores_includes_a_folder_without_logits(store):
    (store.parent / "logits of all").mkdir()
    store.rename(store.parent / "logits of all" / "large")
    (store.parent / "logits of all" / "other").mkdir()
    found = [line for folder in stores(store.parent / "logits of all") for line in problems(folder)]
    (line,) = found
    mentions(line, store.parent / "logits of all" / "other", "manifest.json")
