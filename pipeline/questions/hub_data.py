"""Read the questions of a hub data set: which files of a commit belong to a split, and the records in them.

The card (README.md) names the files of each config and split under `configs`. Without it, names of folders and files
decide, by the rules of the `datasets` library.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath
from typing import Any

import yaml
from fsspec.utils import glob_translate
from huggingface_hub import metadata_load

from pipeline import hub
from pipeline.errors import InputError
from pipeline.questions import tables
from pipeline.questions.squad import Record

CARD = "README.md"
NOT_DATA = {"config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json"}
SUFFIXES = {*tables.SUFFIXES, ".json", ".jsonl"}
# the only config of a data set whose card names none
DEFAULT = "default"
SHARD = re.compile(r"data/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*")
# in the branch refs/convert/parquet, which the hub makes of a data set
CONVERTED = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
WORDS = {
    "train": "train|training",
    "validation": "validation|valid|dev|val",
    "test": "test|testing|eval|evaluation",
}
SEPARATOR = "[-._ 0-9]"

# the files of each split
Splits = dict[str, list[str]]


def read_hub(source: str, commit: str, config: str | None, split: str) -> Iterator[Record]:
    """Yield the records, unchecked, of a split of a hub data set at a commit.

    Args:
        config: None for the only config, or the default one.

    Raises:
        InputError: the commit cannot be downloaded or is damaged; it has no such config or split; its files have
            another format or layout.
    """
    where = f"hub data set {source}, commit {commit}"
    files = list(hub.list_files(source, commit, "dataset"))
    card = _metadata(hub.download(source, commit, "dataset", [CARD]) / CARD) if CARD in files else {}
    configs = configs_of(files, card, where)
    if not any(configs.values()):
        raise InputError(f"{where} {_without_data(source, files)}")
    name = _chosen(configs, config, _default(card), where)
    if split not in configs[name]:
        raise InputError(
            f"{where}: config '{name}' has no split '{split}'; dataset.train_split and dataset.validation_split can be "
            f"{_listed(configs[name])}"
        )
    paths = configs[name][split]
    _check_format(paths, f"{where}: split '{split}' of config '{name}'")
    folder = hub.download(source, commit, "dataset", paths)
    # rows without an id are named by their number, which is unique in its file only
    prefixes = {path: f"{path}: " if len(paths) > 1 else "" for path in paths}
    return (record for path, prefix in prefixes.items() for record in tables.read_file(folder / path, prefix))


def configs_of(files: list[str], card: dict[str, Any], where: str) -> dict[str, Splits]:
    """The files of each split of each config of a data set.

    Args:
        files: all paths in the repository.
        card: the metadata of its card.
        where: its name, for errors.

    Raises:
        InputError: `configs` in the card is malformed, or names files outside of the repository.
    """
    files = sorted(path for path in files if _may_be_data(path))
    declared = card.get("configs")
    if declared:
        where = f"{where}: {CARD}: configs"
        try:
            return {str(config["config_name"]): _declared(config, files, where) for config in declared}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{where} is malformed: {type(error).__name__}: {error}") from None
    data = [path for path in files if Path(path).suffix.lower() in SUFFIXES]
    converted = [CONVERTED.fullmatch(path) for path in data]
    if not all(converted):
        return {DEFAULT: _by_names(data)}
    found: dict[str, Splits] = {}
    for match in filter(None, converted):
        found.setdefault(match[1], {}).setdefault(match[2], []).append(match[0])
    return found


def _may_be_data(path: str) -> bool:
    hidden = any(part.startswith((".", "__")) for part in path.split("/"))
    return not hidden and path != CARD and Path(path).name not in NOT_DATA


def _declared(config: dict[str, Any], files: list[str], where: str) -> Splits:
    """The files of each split of an entry of `configs`: `data_files` are patterns, relative to `data_dir`."""
    prefix = f"{normpath(config['data_dir'])}/" if config.get("data_dir") else ""
    inside = [path.removeprefix(prefix) for path in files if path.startswith(prefix)]
    declared = config.get("data_files")
    if declared is None:
        splits = _by_names([path for path in inside if Path(path).suffix.lower() in SUFFIXES])
    else:
        splits = {split: _matching(patterns, inside, where) for split, patterns in _patterns(declared).items()}
    return {split: [prefix + path for path in paths] for split, paths in splits.items() if paths}


def _patterns(declared: Any) -> dict[str, list[str]]:
    """The patterns of each split: a pattern or a list of them is `train`, and a list of `split` and `path` has more."""
    declared = declared if isinstance(declared, list) else [declared]
    if all(isinstance(pattern, str) for pattern in declared):
        return {"train": declared}
    found: dict[str, list[str]] = {}
    for entry in declared:
        found.setdefault(str(entry["split"]), []).extend(_as_list(entry["path"]))
    return found


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matching(patterns: list[str], files: list[str], where: str) -> list[str]:
    """The files that match a pattern, each once, in the patterns' order."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if "://" in pattern:
            raise InputError(f"{where} names {pattern}; files outside of the commit can change, and are not read")
        expression = re.compile(glob_translate(normpath(pattern)))
        found |= dict.fromkeys(path for path in files if expression.match(path))
    return list(found)


def _by_names(files: list[str]) -> Splits:
    """The files of each split by the names of the files or, first, of their folders."""
    splits: Splits = {}
    for match in filter(None, map(SHARD.fullmatch, files)):
        splits.setdefault(match[1], []).append(match[0])
    folders = {path: path.split("/")[:-1] for path in files}
    names = {path: path.split("/")[-1:] for path in files}
    return splits or _by_words(folders) or _by_words(names) or ({"train": files} if files else {})


def _by_words(parts: dict[str, list[str]]) -> Splits:
    """The files of each split by the words in parts of their paths."""
    splits: Splits = {}
    for split, words in WORDS.items():
        word = re.compile(f"(?:^|{SEPARATOR})(?:{words})(?:$|{SEPARATOR})")
        for path in parts:
            if any(word.search(part) for part in parts[path]):
                splits.setdefault(split, []).append(path)
    return splits


def _metadata(card: Path) -> dict[str, Any]:
    try:
        return metadata_load(card) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{card}: the metadata is not YAML: {' '.join(str(error).split())}") from None


def _default(card: dict[str, Any]) -> str:
    """The name of the config that is used if none is chosen."""
    marked = [str(config["config_name"]) for config in card.get("configs") or [] if config.get("default")]
    return marked[0] if marked else DEFAULT


def _chosen(configs: dict[str, Splits], config: str | None, default: str, where: str) -> str:
    if config is None and len(configs) == 1:
        return next(iter(configs))
    name = default if config is None else config
    if name not in configs:
        problem = "several configs" if config is None else f"no config '{config}'"
        raise InputError(f"{where} has {problem}; dataset.config can be {_listed(configs)}")
    return name


def _check_format(paths: list[str], where: str) -> None:
    suffixes = {Path(path).suffix.lower() for path in paths}
    if len(suffixes) > 1 or not suffixes <= SUFFIXES:
        raise InputError(
            f"{where} is in {_listed(paths)}; files of one of the formats {', '.join(sorted(SUFFIXES))} are read; "
            "download them to data/raw, and set dataset.source to files"
        )


def _without_data(source: str, files: list[str]) -> str:
    if f"{source.split('/')[-1]}.py" not in files:
        return f"has no file of the formats {', '.join(sorted(SUFFIXES))}; its files are {_listed(files)}"
    return (
        "has only a loading script, which is never run; the hub keeps it as Parquet in another commit, which "
        f"""python -c "import huggingface_hub as h; print(h.HfApi().dataset_info('{source}', """
        """revision='refs/convert/parquet').sha)" prints: set dataset.revision to that"""
    )


def _listed(names: Any) -> str:
    """The first 20 names, and how many there are."""
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
