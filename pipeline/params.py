"""The parameters: a class for each section of params.yaml, with the meaning, unit and range of every key.

`python -m pipeline.params` prints docs/parameters.md; `make docs` writes it.
"""

import json
import re
import reprlib
import unicodedata
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode

from pipeline.errors import InputError
from pipeline.names import HEADS, METRICS

RESERVED = ("student", "mean")
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
# placeholder in the table for a name that the user chooses
NAME = "NAME"
PAGE = """\
# Parameters

These are all parameters; `params.yaml` may leave out those with a default. `cp presets/NAME.yaml params.yaml` selects a
preset. `dvc exp run -S KEY=VALUE` changes a parameter for an experiment; a key that is not in the file needs `-S
+KEY=VALUE`. An error in the file stops every stage before any work starts; the message names the key and the values it
accepts.

{table}

This page is the output of `python -m pipeline.params`; `make docs` writes it.
"""
# defaults of BertConfig's max_position_embeddings and num_hidden_layers
BERT_POSITIONS = 512
BERT_LAYERS = 12
# of values in errors
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring = 1, 100


def _head(value: Any) -> Any:
    if value not in HEADS:
        raise ValueError(f"unknown head; the heads are {', '.join(HEADS)}")
    return value


def _metric(value: Any) -> Any:
    if value not in tuple(METRICS):  # a list is not hashable
        raise ValueError(f"unknown metric; the metrics are {', '.join(METRICS)}")
    return value


def _teacher_name(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_][a-z0-9_-]*", value) or value in RESERVED:
        raise ValueError(
            f"a teacher's name has lower-case letters, digits, - and _, and is not {' or '.join(RESERVED)}"
        )
    return value


Head = Annotated[str, BeforeValidator(_head)]
Metric = Annotated[str, BeforeValidator(_metric)]
TeacherName = Annotated[str, BeforeValidator(_teacher_name)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_size(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, int) and value >= 2**31 and field.field_name != "seed":
            raise ValueError("Input should be less than 2 ** 31")
        return value


def check_path(path: str) -> None:
    """Check that a path is in data/raw, where DVC tracks the inputs of a run.

    Raises:
        ValueError: it is not.
    """
    if not path.startswith("data/raw/") or ".." in Path(path).parts:
        raise ValueError(f"'{path}' is not a path in data/raw")
    if any(unicodedata.category(character) == "Cc" for character in path):
        raise ValueError(f"{path!r} has a control character")


def check_source(source: str, revision: str | None, kind: str, *keywords: str) -> None:
    """Check that a source is one of `keywords`, a path in data/raw (models only), or a hub id with its commit.

    Args:
        kind: `model` or `dataset`.

    Raises:
        ValueError: it is none of them, or has a revision and is not a hub id.
    """
    in_folder = source.startswith("data/raw/") and kind == "model"
    if revision is not None and (in_folder or source in keywords):
        raise ValueError(f"'{source}' is not a hub id, so its revision must be null")
    if source in keywords:
        return
    if in_folder:
        check_path(source)
        return
    if not HUB_ID.fullmatch(source) or Path(source).exists():
        known = [f"'{keyword}'" for keyword in keywords] + ["a path that starts with data/raw/"] * (kind == "model")
        raise ValueError(f"'{source}' is not one of: {', '.join([*known, 'a hub id'])}")
    if not revision or not COMMIT.fullmatch(revision):
        mistyped = "" if "/" in source else f"'{source}' is not {' or '.join(map(repr, keywords))}; "
        raise ValueError(
            f"{mistyped}hub id '{source}' needs revision: the 40 hexadecimal digits of a commit, which "
            f"""python -c "import huggingface_hub as h; print(h.HfApi().{kind}_info('{source}').sha)" prints"""
        )


class Dataset(Section):
    source: str = Field(description="`synthetic`, `files`, or the id of a hub data set")
    revision: str | None = Field(None, description="commit of the hub data set, 40 hexadecimal digits")
    config: str | None = Field(None, description="config of the hub data set; null: its only or default one")
    train_split: str = Field("train", description="split of the hub data set for training")
    validation_split: str = Field("validation", description="split of the hub data set for validation")
    train_file: str | None = Field(
        None, description="with `files`: training questions in data/raw, as JSON, JSON Lines, CSV, TSV or Parquet"
    )
    unlabelled_file: str | None = Field(
        None,
        description="with `files`: more training questions, after those of train_file and in the same formats; answers "
        "in it are not used",
    )
    validation_file: str | None = Field(None, description="with `files`: validation questions, in the same formats")
    train_size: int | None = Field(None, ge=1, description="number of training questions, from the first; null: all")
    validation_size: int | None = Field(
        None, ge=1, description="number of validation questions, from the first; null: all"
    )
    unanswerable: Literal["keep", "drop"] = Field(
        "keep", description="questions without an answer in their context (SQuAD 2.0): `keep` or `drop`"
    )
    faulty: Literal["error", "drop", "repair"] = Field(
        "error",
        description="invalid questions, such as one whose answer is not at its `answer_start`: `error` stops and lists "
        "them, `drop` leaves them out, `repair` moves their answers to the nearest place with the same text and leaves "
        "out the rest",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="with `synthetic`: seed of the corpus")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_source(self.source, self.revision, "dataset", "synthetic", "files")
        fields = type(self).model_fields
        for key in ("config", "train_split", "validation_split"):
            if self.source in ("synthetic", "files") and getattr(self, key) != fields[key].default:
                raise ValueError(f"{key} needs a hub data set as source, not '{self.source}'")
        if self.source == "files":
            for key in ("train_file", "validation_file"):
                if not getattr(self, key):
                    raise ValueError(f"source 'files' needs {key}, a path in data/raw")
                check_path(getattr(self, key))
            if self.unlabelled_file == "":
                raise ValueError("unlabelled_file is empty; give a path in data/raw, or null")
            if self.unlabelled_file:
                check_path(self.unlabelled_file)
        elif self.train_file or self.unlabelled_file or self.validation_file:
            raise ValueError(
                f"train_file, unlabelled_file and validation_file need source 'files', not '{self.source}'"
            )
        elif self.source == "synthetic" and not (self.train_size and self.validation_size):
            raise ValueError("source 'synthetic' needs train_size and validation_size")
        return self


class Tokenize(Section):
    max_length: int = Field(ge=16, description="maximum tokens of a window, question and special tokens included")
    stride: int = Field(ge=0, description="tokens of overlap between consecutive windows of a context")
    student_vocabulary: Literal["all", "used"] = Field(
        "all",
        description="word pieces of the student: `all` of its backbone, or those `used` in the training questions and "
        "contexts, and all single characters",
    )
    vocab_size: int = Field(
        3000, ge=100, description="with a `new` teacher: size of the vocabulary that is trained for it"
    )
    vocab_records: int = Field(
        1000, ge=1, description="with a `new` teacher: training questions the vocabulary is trained on"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride > self.max_length - 8:
            raise ValueError(
                f"stride {self.stride} leaves a window of max_length {self.max_length} no room to advance; "
                f"it must be at most {self.max_length - 8}, less the question's tokens"
            )
        return self


class Train(Section):
    """Training settings. The teacher's fine-tuning and the student's training use the same keys."""

    epochs: int = Field(ge=0, description="passes over the training windows")
    max_steps: int | None = Field(None, ge=1, description="maximum optimizer steps; null: no limit")
    time_limit_minutes: float | None = Field(
        None,
        gt=0,
        description="maximum minutes of training, evaluation not counted; the linear schedule ignores it; null: no "
        "limit",
    )
    evaluate_minutes: float | None = Field(
        None, gt=0, description="minutes of training between evaluations; null: evaluate after each epoch"
    )
    batch_size: int = Field(16, ge=1, description="windows per optimizer step")
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        description="windows per forward pass on a device; gradients are accumulated over a step; null: all of them on "
        "a GPU; on a CPU two or more parts, as small as is fast for the model, which threads compute at the same time",
    )
    shuffle: bool = Field(True, description="new order in each epoch, from the seed; false: the data set's order")
    optimizer: Literal["adam", "adamw"] = Field("adamw", description="`adam` or `adamw`")
    learning_rate: float = Field(gt=0, description="peak learning rate of the schedule")
    weight_decay: float = Field(0.0, ge=0, description="with `adamw`: decay of all weights except biases and norms")
    schedule: Literal["linear", "exponential", "constant"] = Field(
        "linear",
        description="`linear`: warm-up, then decay to 0; `exponential`: times gamma after each epoch; `constant`",
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="with `linear`: share of the steps used for warm-up")
    gamma: float = Field(0.9, gt=0, le=1, description="with `exponential`: factor after each epoch")
    max_grad_norm: float | None = Field(1.0, gt=0, description="gradients are clipped to this norm; null: no clipping")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="precision of matrix products; `auto`: bfloat16 on a GPU that supports it and on a CPU where it is "
        "measured to be faster, else float32",
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout of the encoder's hidden states; null: the model's own"
    )
    attention_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="dropout of the attention weights; null: the model's own; 0 lets a CPU use fused attention in "
        "float32",
    )
    gradient_checkpointing: bool = Field(False, description="recompute activations in the backward pass to save memory")
    checkpoint_minutes: float = Field(
        5.0, gt=0, description="minutes of training between checkpoints; a killed run loses at most this"
    )
    keep: Literal["best", "last"] = Field("best", description="the weights to save: `best` by validation F1, or `last`")


class TeacherModel(Section):
    model: str | None = Field(
        description="`new` (untrained, from teacher.config), a model folder in data/raw, or a hub id; null or left "
        "out with `answers`"
    )
    revision: str | None = Field(
        description="commit of the hub model, 40 hexadecimal digits; else null; may be left out with `answers`"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of new weights and of the fine-tuning")
    answers: str | None = Field(None, description="a file of answers in data/raw, in place of a model")

    @model_validator(mode="before")
    @classmethod
    def _without_model(cls, values: Any) -> Any:
        """A file of answers needs no other key."""
        is_file = isinstance(values, dict) and values.get("answers") is not None
        return {"model": None, "revision": None, **values} if is_file else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.model is None) == (self.answers is None):
            raise ValueError("exactly one of model and answers must be set, and the other null")
        if self.model is not None:
            check_source(self.model, self.revision, "model", "new")
        if self.answers is not None:
            check_path(self.answers)
            if self.revision is not None:
                raise ValueError("answers are a file, not a hub id, so revision must be null")
        return self


class Teacher(Section):
    models: dict[TeacherName, TeacherModel] = Field(min_length=1)
    config: dict[str, int | float | str] | None = Field(description="keys of BertConfig for a `new` model; else null")
    train: Train = Field(description="fine-tuning on the labels; `epochs: 0` uses the models as they are")

    @model_validator(mode="after")
    def _check(self) -> Self:
        new = any(model.model == "new" for model in self.models.values())
        if new != (self.config is not None):
            raise ValueError("config must be set if a model is 'new', and null otherwise")
        if new and self.train.epochs == 0:
            raise ValueError("model 'new' has random weights: train.epochs must be at least 1")
        if self.train.evaluate_minutes or self.train.keep != "last":
            raise ValueError(
                "a teacher is not evaluated during training: train.keep must be last, evaluate_minutes null"
            )
        return self


class Logits(Section):
    dtype: Literal["float16", "float32"] = Field(
        "float16", description="dtype of the stored logits: `float16` or `float32`"
    )
    shard_size: int = Field(
        4096, ge=1, description="windows per shard; a killed process loses at most the two that it computes and writes"
    )
    max_unfound: float = Field(
        0.05,
        ge=0,
        le=1,
        description="with a file of answers: largest share of its answers, 0 to 1, whose text is nowhere in the "
        "context; with more, `logits` stops",
    )


class Backbone(Section):
    model: str = Field(description="a teacher's name, for its encoder; a model folder in data/raw; or a hub id")
    revision: str | None = Field(description="commit of the hub model, 40 hexadecimal digits; else null")
    layers: list[int] | None = Field(None, min_length=1, description="encoder layers to use, counted from 0; null: all")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.layers is not None and sorted(set(self.layers)) != self.layers:
            raise ValueError(f"layers {self.layers} must be in increasing order, without duplicates")
        if self.layers and self.layers[0] < 0:
            raise ValueError(f"layers {self.layers} are counted from 0")
        return self


class Shrink(Section):
    """A smaller encoder before the training; both sizes null: the encoder as it is."""

    layers: int | None = Field(None, ge=1, description="the first layers are kept, this many; null: all")
    intermediate_size: int | None = Field(
        None,
        ge=32,
        multiple_of=32,
        description="feed-forward units that each layer keeps, a multiple of 32; null: all",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the windows on which the units are measured")


class Distill(Section):
    alpha: float = Field(ge=0, le=1, description="weight of the teacher's distribution; 1 - alpha is the label's")
    temperature: float = Field(ge=0.01, le=1000, description="the logits of teacher and student are divided by it")
    no_answer_weight: float = Field(
        1.0, ge=0, description="weight of the loss of windows without the answer, whose label is [CLS]"
    )


class Prune(Section):
    amount: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each linear layer's weights set to 0, smallest magnitude first; zeros save disk (zipped) "
        "and no time",
    )
    schedule: Literal["once", "cubic"] = Field(
        "once",
        description="`once` before training, or `cubic`: the share rises from 0 to `amount` over the first half of it "
        "(needs `train.keep: last` and no `train.time_limit_minutes`)",
    )


class Evaluate(Section):
    n_best: int = Field(20, ge=1, description="answers per question in nbest.jsonl")
    max_answer_length: int = Field(ge=1, description="maximum tokens of an answer")
    metric: Metric = Field(
        description="exact match and F1: " + ", ".join(f"`{name}` ({language})" for name, language in METRICS.items())
    )


class Params(Section):
    head: Head = Field(description="the student's span head: " + ", ".join(f"`{name}`" for name in HEADS))
    seed: int = Field(ge=0, lt=2**63, description="seed of the student's head weights, dropout and order of windows")
    dataset: Dataset
    tokenize: Tokenize
    teacher: Teacher
    logits: Logits
    backbone: Backbone
    shrink: Shrink = Shrink()  # runs from before it existed have none
    distill: Distill
    prune: Prune
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train.epochs == 0:
            raise ValueError("train.epochs must be at least 1")
        positions = (self.teacher.config or {}).get("max_position_embeddings", BERT_POSITIONS)
        if self.teacher.config is not None and isinstance(positions, int) and self.tokenize.max_length > positions:
            raise ValueError(
                f"tokenize.max_length {self.tokenize.max_length} is more than teacher.config's "
                f"max_position_embeddings {positions}"
            )
        try:
            check_source(self.backbone.model, self.backbone.revision, "model", *self.teacher.models)
        except ValueError as error:
            raise ValueError(f"backbone.model: {error}") from None
        if self.backbone.model in self.teacher.models and self.teacher.models[self.backbone.model].answers:
            raise ValueError(
                f"backbone.model: the teacher '{self.backbone.model}' is a file of answers and has no encoder; give a "
                "teacher with a model, a model folder in data/raw, or a hub id"
            )
        model, layers = self.teacher.models.get(self.backbone.model), self.backbone.layers
        count = (self.teacher.config or {}).get("num_hidden_layers", BERT_LAYERS)
        if model and model.model == "new" and layers and isinstance(count, int) and layers[-1] >= count:
            raise ValueError(f"backbone.layers {layers}: teacher {self.backbone.model} has layers 0 to {count - 1}")
        if self.shrink.layers and layers:
            raise ValueError(
                f"shrink.layers {self.shrink.layers}: backbone.layers chooses the layers too; set one of them to null"
            )
        if self.prune.schedule == "cubic" and (self.train.keep != "last" or self.train.time_limit_minutes):
            raise ValueError(
                "prune.schedule cubic: a student saved before half of the training is pruned less than prune.amount; "
                "set train.keep to last and train.time_limit_minutes to null"
            )
        return self


class _Constructor(SafeConstructor):
    def construct_yaml_int(self, node: ScalarNode) -> Any:
        """An integer. It stays text, which is refused, if it starts with 0: octal in YAML 1.1, decimal in YAML 1.2."""
        return node.value if re.match(r"[+-]?0[0-9_]", node.value) else super().construct_yaml_int(node)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)


def parse(text: str) -> Any:
    """The values of a YAML file; DVC uses the same parser.

    Raises:
        ValueError: the text is not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        raise ValueError(f"{error.problem}, line {error.problem_mark.line + 1}") from None
    except (YAMLError, KeyError) as error:
        raise ValueError(error) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def load(path: Path) -> Params:
    """Read and check a params file.

    Raises:
        InputError: the file is missing, not YAML, or has wrong keys; names the file, each key, and valid values.
    """
    try:
        return check(read_yaml(path), str(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; `cp presets/default.yaml {path}` restores the default") from None


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises:
        InputError: the file is not YAML.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not YAML in UTF-8: {' '.join(str(error).split())}") from None


def check(values: Any, source: str) -> Params:
    """Check the values of a params file.

    Args:
        source: where the values are from, for the error.

    Raises:
        InputError: wrong keys or values; names the source, each key, and valid values.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_explain(source, detail) for detail in error.errors())) from None


def _explain(source: str, detail: ErrorDetails) -> str:
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    if not location and detail["type"] == "value_error":  # from a check across sections
        return f"{source}: {detail['ctx']['error']}"
    where = f"{source}: {'.'.join(location) or 'the file'}"
    if detail["type"] == "extra_forbidden":
        section = _section(location[:-1])
        parent = ".".join(location[:-1]) or "the file"
        return f"{where} is not a parameter; {parent} takes {', '.join(section.model_fields)}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] in ("dict_type", "model_type") or detail["input"] == {}:
        message = "must be a mapping with at least one key"
    value = "" if isinstance(detail["input"], dict) else f" (it is {SHORT.repr(detail['input'])})"
    return f"{where}: {message}{value}"


def _section(location: list[str]) -> type[Section]:
    kind: Any = Params
    for name in location:
        kind = get_args(kind)[1] if get_origin(kind) is dict else kind.model_fields[name].annotation
    return kind


def page() -> str:
    """docs/parameters.md: all parameters as a Markdown table of key, type, default and meaning."""
    rows = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    for name, section in [("", Params), *((n, f.annotation) for n, f in Params.model_fields.items())]:
        if isinstance(section, type) and issubclass(section, Section):
            rows += _rows(section, f"{name}." if name else "")
    return PAGE.format(table="\n".join(rows))


def _rows(section: type[Section], prefix: str) -> list[str]:
    rows = []
    for key, field in section.model_fields.items():
        if get_origin(field.annotation) is dict:
            rows += _rows(get_args(field.annotation)[1], f"{prefix}{key}.{NAME}.")
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            if prefix:
                rows.append(f"| `{prefix}{key}` | section | required | {field.description}; keys as in `{key}` |")
            continue
        default = "required"
        if not field.is_required():
            default = f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"
        rows.append(f"| `{prefix}{key}` | {_type(field.annotation)} | {default} | {field.description} |")
    return rows


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is UnionType or str(origin) == "typing.Union":
        return " or ".join(_type(part) for part in get_args(annotation))
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    if origin is Literal:
        return "str"
    if origin is list:
        return f"list of {_type(get_args(annotation)[0])}"
    return {type(None): "null"}.get(annotation, getattr(origin or annotation, "__name__", str(annotation)))


if __name__ == "__main__":
    print(page(), end="")
