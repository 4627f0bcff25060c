"""The model card of a student: README.md beside its weights, with the metadata that the Hugging Face hub reads."""

from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

NAMES = {"exact_match": "Exact match", "f1": "F1"}
WITHOUT_THIS_PACKAGE = """\
```python
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

model = AutoModelForQuestionAnswering.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```

`model` gives start and end logits of one window. span-distill's `ask` divides long texts into windows, chooses the
answer and says how sure it is:
"""
WITH_THIS_PACKAGE = """\
The `{head}` head is not part of transformers. span-distill loads it, divides long texts into windows, chooses the
answer and says how sure it is. `span-distill export` writes it as ONNX, which needs no Python.
"""
ASK = """\
```
span-distill ask "Who wrote it?" --context text.txt --student {name}
```
"""


@dataclass(frozen=True)
class Facts:
    """What a card says of a student.

    Attributes:
        name: the folder or the hub id.
        params: values of params.yaml.
        commit: of the repository that the student is from.
        scores: `exact_match` and `f1`, 0-100; `exact_match_low` and others, the ends of their 95 % intervals, if known.
        intervals: what these are, in words.
        metrics: of metrics/eval.json.
        teachers: of metrics/teacher.json, F1 and exact match by teacher.
        calibration: of data/predictions/calibration.json.
        answering: of the student's config.
        cost: of `span-distill cost`; None if it was not measured.
        as_own_class: whether transformers loads it without this package.
        licence: an id of the hub, such as `mit`; None if it is not stated.
        language: a code, such as `en`; None if it is not stated.
    """

    name: str
    params: dict[str, Any]
    commit: str
    scores: dict[str, float]
    intervals: str
    metrics: dict[str, Any]
    teachers: dict[str, dict[str, Any]]
    calibration: dict[str, float]
    answering: dict[str, Any]
    cost: dict[str, Any] | None
    as_own_class: bool
    licence: str | None
    language: str | None


def model_card(facts: Facts) -> str:
    """README.md of a student: YAML metadata with `model-index`, then Markdown."""
    sections = [
        f"# {facts.name.rstrip('/').rpartition('/')[2]}",
        _summary(facts),
        f"## Use\n\n{_use(facts)}",
        f"## Scores\n\n{_scores(facts)}",
        f"## Size and speed\n\n{_size(facts)}",
        f"## How it was made\n\n{_made(facts)}",
        f"## Licence\n\n{_licence(facts)}",
    ]
    return f"---\n{_metadata(facts)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(facts: Facts) -> str:
    source = _scored(facts.params)
    is_hub = facts.params["dataset"]["source"] not in ("synthetic", "files")
    results = [
        EvalResult(
            task_type="question-answering",
            dataset_type=source,
            dataset_name=source,
            dataset_split="validation",
            metric_type=name,
            metric_name=NAMES[name],
            metric_value=round(facts.scores[name], 2),
        )
        for name in NAMES
    ]
    data = ModelCardData(
        model_name=facts.name.rstrip("/").rpartition("/")[2],
        language=facts.language,
        license=facts.licence,
        library_name="transformers",
        pipeline_tag="question-answering",
        tags=["question-answering", "extractive-qa", "knowledge-distillation"],
        datasets=[source] if is_hub else None,
        metrics=["exact_match", "f1"],
        eval_results=results,
    )
    return data.to_yaml()


def _scored(params: dict[str, Any]) -> str:
    """What the questions that were scored come from."""
    dataset = params["dataset"]
    return dataset["validation_file"] if dataset["source"] == "files" else dataset["source"]


def _summary(facts: Facts) -> str:
    params = facts.params
    alpha = params["distill"]["alpha"]
    teachers = ", ".join(_model(values) for values in params["teacher"]["models"].values())
    learnt = f"distilled from {teachers}" if alpha else "trained on labels alone"
    answers = "and says so where a text does not answer the question" if _may_decline(facts) else ""
    return (
        f"An extractive question-answering model with the span head `{params['head']}`, {learnt} with "
        f"span-distill. It marks the answer to a question in a text {answers}".rstrip()
        + "."
    )


def _model(values: dict[str, Any]) -> str:
    name = values["model"]
    known = f"`{name}`" if name != "new" else "a small BERT trained from scratch"
    return f"{known} at {values['revision']}" if values.get("revision") else known


def _may_decline(facts: Facts) -> bool:
    return facts.answering["null_threshold"] is not None


def _use(facts: Facts) -> str:
    first = WITHOUT_THIS_PACKAGE if facts.as_own_class else WITH_THIS_PACKAGE
    settings = "\n".join(f"- `{name}`: {value}" for name, value in facts.answering.items())
    return (
        first.format(name=facts.name, head=facts.params["head"])
        + "\n"
        + ASK.format(name=facts.name)
        + "\n`answering` in config.json holds its windows and decoding:\n\n"
        + settings
    )


def _scores(facts: Facts) -> str:
    rows = [
        "| | exact match | F1 |",
        "|---|---|---|",
        "| student | " + " | ".join(_score(facts.scores, name) for name in NAMES) + " |",
    ]
    for name, values in facts.teachers.items():
        rows.append(f"| teacher {name} | {values['exact_match']:.2f} | {values['f1']:.2f} |")
    text = "\n".join(rows) + "\n\n" + f"{facts.metrics['questions']} validation questions of {_scored(facts.params)}"
    if "f1_low" in facts.scores:
        text += f". {facts.intervals}"
    if "NoAns_f1" in facts.metrics:
        text += (
            f". F1 of questions with an answer {facts.metrics['HasAns_f1']:.2f}, without one "
            f"{facts.metrics['NoAns_f1']:.2f}"
        )
    return text + (
        f". The student gives the teacher's answer to {facts.metrics['agreement']:.1f} % of them.\n\n"
        f"Expected calibration error of its confidence: {_calibration(facts.calibration)}."
    )


def _calibration(errors: dict[str, float]) -> str:
    text = f"{errors['error']:.2f}; {errors['error_before']:.2f} without temperature scaling"
    if "chance_error" not in errors:  # scored by an earlier version
        return text
    return f"{text}. With as many questions, a perfectly calibrated model has {errors['chance_error']:.2f}"


def _score(scores: dict[str, float], name: str) -> str:
    interval = f" [{scores[name + '_low']:.1f}, {scores[name + '_high']:.1f}]" if f"{name}_low" in scores else ""
    return f"{scores[name]:.2f}{interval}"


def _size(facts: Facts) -> str:
    metrics, cost = facts.metrics, facts.cost
    zeros = 100 * (1 - metrics["nonzero_parameters"] / metrics["parameters"])
    text = f"{metrics['parameters']:,} parameters, {zeros:.0f} % of them 0; {metrics['bytes'] / 1e6:.1f} MB."
    if cost:
        text += (
            f" One window of mean length takes {cost['latency_ms_median']:.1f} ms (median; 95th percentile "
            f"{cost['latency_ms_p95']:.1f}) on {cost['device']} with {cost['threads']} threads."
        )
    return text


def _made(facts: Facts) -> str:
    params = yaml.safe_dump(facts.params, sort_keys=False).rstrip()
    return f"`dvc repro` at commit {facts.commit}, with these values in params.yaml:\n\n```yaml\n{params}\n```"


def _licence(facts: Facts) -> str:
    own = f"`{facts.licence}`" if facts.licence else "Not stated"
    return f"{own}. The licences of the data, the teacher and the student's encoder also apply."
