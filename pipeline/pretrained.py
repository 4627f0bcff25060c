"""Load configs, tokenizers and models from a model folder or the hub; nothing else in the package does.

A model folder is data. Its code is never run, pickles are never read, and no file outside it is read.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, AutoTokenizer, PretrainedConfig

from pipeline import hub
from pipeline.errors import InputError
from pipeline.log import log

if TYPE_CHECKING:  # its import takes two seconds, and stages without a model do not need it
    from transformers import PreTrainedModel

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# the files to download from a hub
TOKENIZER_FILES = ("*.json", "*.txt", "*.model")
MODEL_FILES = (CONFIG, WEIGHTS, INDEX, "model-*.safetensors")
STUDENT = "span_student"  # model_type of students with a head that transformers does not have
LFS_POINTER = b"version https://git-lfs.github.com/spec"
# keys of config.json with which transformers runs code, loads files or kernels from elsewhere, or returns tuples
FOREIGN = {"auto_map", "transformers_weights", "fusion_config", "return_dict"}
FOREIGN |= {f"{prefix}{kind}_implementation" for prefix in ("", "_") for kind in ("attn", "experts")}
LAYER_NUMBER = re.compile(r"\.\d+\.")

Model = TypeVar("Model", bound="PreTrainedModel")


def fetch(source: str | Path, revision: str | None, files: tuple[str, ...]) -> Path:
    """A model folder: `source` itself, or, with a revision, the hub model of this id at this commit.

    Args:
        files: patterns of the files to download and verify; subfolders are left out.

    Raises:
        InputError: there is no such folder or commit, it cannot be downloaded, a downloaded file is damaged, or the
            folder has a PEFT adapter.
    """
    if revision is None:
        folder = Path(source)
    else:
        paths = hub.list_files(str(source), revision, "model")
        wanted = [path for path in paths if "/" not in path and any(fnmatchcase(path, pattern) for pattern in files)]
        folder = hub.download(str(source), revision, "model", wanted)
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; a model folder has {CONFIG}, {WEIGHTS} and tokenizer.json")
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{folder} has a PEFT adapter; merge it into the model (merge_and_unload) and save that")
    return folder


def load_config(folder: Path) -> PretrainedConfig:
    """The config of a model folder.

    Raises:
        InputError: there is none, it is damaged, or transformers has no code for its model type.
    """
    return config_of(read_config(folder), folder / CONFIG)


def config_of(values: dict[str, Any], where: Path) -> PretrainedConfig:
    """The config from the values of a config.json.

    Raises:
        InputError: a value is invalid, or transformers has no code for the model type.
    """
    kind: Any = values.get("model_type")
    if not _is_known(kind):
        raise InputError(
            f"{where}: transformers has no architecture for model_type {kind!r}; code in a model folder is never run"
        )
    others = {key: value for key, value in values.items() if key not in FOREIGN | {"model_type"}}
    return parse_config(CONFIG_MAPPING[kind], others, where)


def student_encoder_config(folder: Path) -> PretrainedConfig | None:
    """The config of the encoder in the folder of a student with a head of this package; None for any other model.

    Raises:
        InputError: the config is damaged, or its encoder's.
    """
    values = read_config(folder)
    if values.get("model_type") != STUDENT:
        return None
    encoder = values.get("encoder_config")
    if not isinstance(encoder, dict):
        raise InputError(f"{folder / CONFIG}: `encoder_config` is {encoder!r}, and must be an object")
    return config_of(encoder, folder / CONFIG)


def _is_known(model_type: Any) -> bool:
    # a student's own type is known to transformers only where models/student.py was imported
    return isinstance(model_type, str) and model_type in CONFIG_MAPPING and model_type != STUDENT


def parse_config(kind: type[PretrainedConfig], values: dict[str, Any], where: Path | str) -> PretrainedConfig:
    """A config of this class from the values of config.json.

    Args:
        where: the source of the values, a file or a parameter, for the error.

    Raises:
        InputError: a value is invalid.
    """
    try:
        return kind.from_dict(values)
    except Exception as error:  # configs raise many types of exceptions
        raise InputError(f"{where}: {one_line(error)}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """The values of config.json, without keys that would run code or read other files.

    Raises:
        InputError: the file is missing or damaged, or its weights are quantized.
    """
    values = read_json(folder / CONFIG)
    if values.get("quantization_config"):
        raise InputError(f"{folder / CONFIG}: the weights are quantized; save the model with float weights")
    return {key: value for key, value in values.items() if key not in FOREIGN}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file is missing, a Git LFS pointer, or not a JSON object.
    """
    check_file(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {one_line(error)}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value


def check_file(path: Path) -> None:
    """Raise an InputError if a file is missing or a Git LFS pointer."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise InputError(f"{path} is a Git LFS pointer, not the file itself; `git lfs pull` downloads the file")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that transformers loads from a model folder; its class depends on the folder.

    Raises:
        InputError: it cannot be loaded.
    """
    config = _known_config(folder)  # else transformers would read config.json itself
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (folder / name).exists():
            read_json(folder / name)
    try:
        return AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    except Exception as error:  # the library raises many types of exceptions
        raise InputError(f"cannot load a tokenizer from {folder}: {one_line(error)}") from None


def _known_config(folder: Path) -> PretrainedConfig:
    """The config of a model folder; an empty one if there is none, or transformers does not know its model type."""
    if (folder / CONFIG).exists() and _is_known(read_config(folder).get("model_type")):
        return load_config(folder)
    return PretrainedConfig()


def segment_embeddings(folder: Path) -> int:
    """The number of segment embeddings of the model in a folder; 0 if it takes no segment ids, or is not known."""
    student = student_encoder_config(folder) if (folder / CONFIG).exists() else None
    return segment_count(student or _known_config(folder))


def segment_count(config: PretrainedConfig) -> int:
    """The number of segment embeddings of a model; 0 if it takes no segment ids.

    BigBird has two, but its question-answering model makes the segment ids itself.
    """
    return 0 if config.model_type == "big_bird" else getattr(config, "type_vocab_size", 0)


def load_model(
    kind: type[Model], config: PretrainedConfig, folder: Path, weights: dict[str, Any] | None = None
) -> tuple[Model, list[str]]:
    """A model with the weights of a folder as float32, and the names of the weights that the folder lacks.

    Missing weights are initialized. The names of unexpected weights are logged.

    Args:
        weights: of the folder, under the names that the model has for them; None: they have these names there.

    Raises:
        InputError: the weights are missing, damaged, not finite, have another shape than the config says, or belong to
            layers that the config does not have.
    """
    weights = read_weights(folder) if weights is None else weights
    try:
        # given the weights, transformers reads no file
        loaded: Any = kind.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype="float32",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as error:  # models raise many types of exceptions
        raise InputError(f"cannot load {folder} as a {kind.__name__}: {one_line(error)}") from None
    model, info = loaded
    model.config.name_or_path = ""  # else "None", which is saved
    if info["mismatched_keys"]:
        name, found, expected = sorted(info["mismatched_keys"])[0]
        raise InputError(f"{folder}: {name} has shape {tuple(found)}, but {CONFIG} says {tuple(expected)}")
    surplus = sorted(info["unexpected_keys"])
    prefix, own = f"{model.base_model_prefix}.", {_of_layer_0(name) for name in weights.keys() - set(surplus)}
    layers = [
        name for name in surplus if LAYER_NUMBER.search(name) and (name.startswith(prefix) or _of_layer_0(name) in own)
    ]
    if layers:
        raise InputError(f"{folder} has weights for more layers than {CONFIG} says: {listed(layers)}")
    if surplus:
        log.info("%s: %s ignores the unexpected weights %s", folder, kind.__name__, listed(surplus))
    return model, sorted(info["missing_keys"])


def _of_layer_0(name: str) -> str:
    return LAYER_NUMBER.sub(".0.", name)


def read_weights(folder: Path) -> dict[str, Any]:
    """The tensors of a model folder by name, on the CPU.

    Raises:
        InputError: a value is not finite, or as in `weight_files`.
    """
    weights = {}
    for path in sorted(set(weight_files(folder).values())):
        with open_weights(path, "pt") as file:
            weights |= {name: file.get_tensor(name) for name in file.keys()}
    bad = [name for name, weight in weights.items() if not _is_finite(weight)]
    if bad:
        raise InputError(f"{folder} has weights that are not finite: {listed(sorted(bad))}")
    return weights


def _is_finite(weight: Any) -> bool:
    """Whether all values are finite. The extremes tell, and need no memory, unlike a comparison of each value."""
    return not weight.numel() or all(extreme.isfinite() for extreme in weight.float().aminmax())


@contextmanager
def open_weights(path: Path, framework: str) -> Iterator[Any]:
    """Open a safetensors file, as `safetensors.safe_open`.

    Raises:
        InputError: it is missing, a Git LFS pointer, or damaged.
    """
    check_file(path)
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged: {one_line(error)}") from None


def weight_files(folder: Path) -> dict[str, Path]:
    """The safetensors file of each weight of a model folder: model.safetensors, or the files of its index.

    Raises:
        InputError: there are none, a file is damaged, or the index names a file outside of the folder, or weights
            that no file has.
    """
    indexed = {} if (folder / WEIGHTS).exists() else _read_index(folder)
    files = {}
    for path in sorted(set(indexed.values())) or [folder / WEIGHTS]:
        with open_weights(path, "numpy") as file:
            files |= dict.fromkeys(file.keys(), path)
    absent = sorted(indexed.keys() - files.keys())
    if absent:
        raise InputError(f"{folder / INDEX} names weights that no file has: {listed(absent)}")
    return files


def _read_index(folder: Path) -> dict[str, Path]:
    if not (folder / INDEX).exists():
        raise InputError(
            f"{folder} has no {WEIGHTS}, and other formats (pytorch_model.bin, .pt) are not read; in transformers, "
            "from_pretrained(...).save_pretrained(FOLDER) converts a model"
        )
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f"{folder / INDEX} has no weight_map")
    for name in names.values():
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\]+\.safetensors", name):
            raise InputError(f"{folder / INDEX} names {name!r}; only safetensors files in the same folder are read")
    return {weight: folder / name for weight, name in names.items()}


def listed(names: list[str]) -> str:
    """The first five names, and how many there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def one_line(error: Exception) -> str:
    """The message of an exception in one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
