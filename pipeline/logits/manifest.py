"""The metadata of a folder of shards: manifest.json in data/logits, identity.json in the cache."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import InputError
from pipeline.logits.shards import Description, parse_description

MANIFEST = "manifest.json"
IDENTITY = "identity.json"


class ManifestShard(BaseModel):
    model_config = ConfigDict(strict=True)
    file: str = Field(pattern=r"^[0-9a-f]{32}\.safetensors$")
    split: str
    rows: int
    precision: list[str]


class Manifest(Description):
    rows: int
    shards: list[ManifestShard]


def read_description(folder: Path) -> Description:
    """Read the metadata of a folder of shards: manifest.json in data/logits, identity.json in the cache.

    Raises:
        InputError: it has neither, or an invalid one.
    """
    for name, kind in ((MANIFEST, Manifest), (IDENTITY, Description)):
        if (folder / name).is_file():
            return parse_description(kind, (folder / name).read_bytes(), folder / name)
    raise InputError(f"{folder} has no {MANIFEST} or {IDENTITY}, so the teacher of its logits is unknown")


def stores(folder: Path) -> list[Path]:
    """The folders of shards in a folder such as data/logits, one per teacher; the folder itself if it has none."""
    is_store = (folder / MANIFEST).exists() or (folder / IDENTITY).exists() or not folder.is_dir()
    return ([] if is_store else sorted(path for path in folder.iterdir() if path.is_dir())) or [folder]
