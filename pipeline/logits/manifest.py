"""What a folder of shards says that it is: its manifest in data/logits, identity.json in the cache."""

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
    """What a folder of shards says that it is: its manifest in data/logits, identity.json in the cache.

    Raises:
        InputError: it has neither, or one that cannot be read.
    """
    for name, kind in ((MANIFEST, Manifest), (IDENTITY, Description)):
        if (folder / name).is_file():
            return parse_description(kind, (folder / name).read_bytes(), folder / name)
    raise InputError(f"{folder} has no {MANIFEST} and no {IDENTITY}, so that nobody knows whose logits it holds")


def stores(folder: Path) -> list[Path]:
    """The folders of shards in a folder, data/logits say, which has one a teacher; itself, if it has none."""
    here = (folder / MANIFEST).exists() or (folder / IDENTITY).exists() or not folder.is_dir()
    return ([] if here else sorted(path for path in folder.iterdir() if path.is_dir())) or [folder]
