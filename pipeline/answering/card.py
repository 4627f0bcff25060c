"""The model card of a student: README.md beside its weights, with the metadata that the Hugging Face hub reads."""

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from pipeline.about import About, Example

DEFAULT_EXAMPLE = Example("Who wrote it?", "Ann Lee wrote it in 1920.", "Ann Lee")
NAMES = {"exact_match": "Exact match", "f1": "F1"}
CODE = """\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForQuestionAnswering.from_pretrained("{name}")
question, text = {question}, {text}
inputs = tokenizer(
    question, text, truncation="only_second", max_length={max_length}, return_offsets_mapping=True, return_tensors="pt"
)
offsets = inputs.pop("offset_mapping")[0]
in_text = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
with torch.no_grad():
    output = model(**inputs)
scores = output.start_logits[0][:, None] + output.end_logits[0]  # of every span
spans = (in_text[:, None] & in_text).triu().tril({longest} - 1)  # at most {longest} tokens
start, end = divmod(int(scores.masked_fill(~spans, -torch.inf).argmax()), len(offsets))
print(text[offsets[start][0] : offsets[end][1]])
"""
IN_TRANSFORMERS = """\
With torch and transformers alone, for a text that fits in one window of {max_length} tokens:

{code}

span-distill also reads longer texts, in windows, and says how sure it is{declines}:
"""
WITH_SPAN_DISTILL = """\
The `{head}` head is not part of transformers: span-distill loads it, divides long texts into windows, chooses the
answer and says how sure it is{declines}. `span-distill export` writes the model as ONNX, which needs no torch.
"""
ASK = """\
```
# in a clone of span-distill{repository}
make .venv/installed && source .venv/bin/activate
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
        teachers: of metrics/teacher.json, F1 and exact match by teacher; None without any.
        calibration: of data/predictions/calibration.json.
        answering: of the student's config.
        cost: of `span-distill cost`; None if it was not measured.
        gain: over the teachers, see `answering.gain`; "" if it is not known.
        as_own_class: whether transformers loads it without this package.
        license: an id of the hub, such as `mit`; None if it is not stated.
        language: a code, such as `en`; None if it is not stated.
        repository: the address of the repository that `commit` is in; None if it is not public.
        about: what the student was trained on, and examples that may be published.
    """

    name: str
    params: dict[str, Any]
    commit: str
    scores: dict[str, float]
    intervals: str
    metrics: dict[str, Any]
    teachers: dict[str, dict[str, Any] | None]
    calibration: dict[str, float]
    answering: dict[str, Any]
    cost: dict[str, Any] | None
    gain: str
    as_own_class: bool
    license: str | None
    language: str | None
    repository: str | None
    about: About


def model_card(facts: Facts) -> str:
    """README.md of a student: YAML metadata with `model-index`, then Markdown."""
    sections = [
        f"# {_short_name(facts)}",
        *([f"**{facts.gain}**"] if facts.gain else []),
        _summary(facts),
        f"## Limits\n\n{_limits(facts)}",
        f"## Use\n\n{_use(facts)}",
        f"## Scores\n\n{_scores(facts)}",
        f"## Size and speed\n\n{_size(facts)}",
        f"## License\n\n{_license(facts)}",
        f"## How it was made\n\n{_made(facts)}",
    ]
    return f"---\n{_metadata(facts)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _short_name(facts: Facts) -> str:
    return facts.name.rstrip("/").rpartition("/")[2]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def fenced(code: str, language: str) -> str:
    """A code block whose fence is longer than any row of backquotes in the code."""
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", code))]))
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def _metadata(facts: Facts) -> str:
    source = _scored(facts.params)
    data_set = facts.params["dataset"]
    is_hub = data_set["source"] not in ("synthetic", "files")
    results = [
        EvalResult(
            task_type="question-answering",
            dataset_type=source.replace(" ", "-"),
            dataset_name=source,
            dataset_config=data_set.get("config"),
            dataset_split=data_set.get("validation_split", "validation"),
            metric_type=name,
            metric_name=NAMES[name],
            metric_value=round(facts.scores[name], 2),
        )
        for name in NAMES
    ]
    data = ModelCardData(
        model_name=_short_name(facts),
        language=facts.language,
        license=facts.license,
        library_name="transformers" if facts.as_own_class else "span-distill",
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
    names = {"files": dataset["validation_file"], "synthetic": "span-distill synthetic corpus"}
    return names.get(dataset["source"], dataset["source"])


def _summary(facts: Facts) -> str:
    params = facts.params
    teachers = ", ".join(_model(values) for values in params["teacher"]["models"].values())
    training = f"distilled from {teachers}" if params["distill"]["alpha"] else "trained on labels alone"
    answers = " and says so where a text does not answer the question" if _may_decline(facts) else ""
    return (
        f"An extractive question-answering model with the span head `{params['head']}`, {training} with span-distill. "
        f"It marks the answer to a question in a text{answers}."
    )


def _model(values: dict[str, Any]) -> str:
    if values.get("answers"):
        return "a file of answers"
    name = values["model"]
    known = f"`{name}`" if name != "new" else "a small BERT trained from scratch"
    return f"{known} at {values['revision']}" if values.get("revision") else known


def _limits(facts: Facts) -> str:
    trained_on = escaped(facts.about.trained_on) or "its training questions"
    never = "" if _may_decline(facts) else " It always answers, even if the text does not contain the answer."
    return (
        f"It was trained on {trained_on}. Its scores below are about questions of that kind; about other subjects, "
        f"languages or styles they say nothing. Answers are quotations: it does not reason, count or combine.{never}"
    )


def _may_decline(facts: Facts) -> bool:
    return facts.answering["null_threshold"] is not None


def _use(facts: Facts) -> str:
    example = facts.about.examples[0] if facts.about.examples else DEFAULT_EXAMPLE
    answering = facts.answering
    values = {
        "name": facts.name,
        "head": facts.params["head"],
        "question": json.dumps(example.question, ensure_ascii=False),
        "text": json.dumps(example.context, ensure_ascii=False),
        "max_length": answering["max_length"],
        "longest": answering["max_answer_length"],
        "declines": ", or that there is no answer" if _may_decline(facts) else "",
        "repository": f", {facts.repository}" if facts.repository else "",
    }
    values["code"] = fenced(CODE.format(**values), "python")
    first = (IN_TRANSFORMERS if facts.as_own_class else WITH_SPAN_DISTILL).format(**values)
    shown = ""
    if facts.about.examples:
        shown = f"\n\nThe answer to this validation question should be *{escaped(example.answer)}*."
    return f"{first}\n{ASK.format(**values)}{shown}\n{_settings(facts)}"


def _settings(facts: Facts) -> str:
    """How windows are made and answers chosen, from `answering` in config.json."""
    answering = facts.answering
    threshold = answering["null_threshold"]
    declines = "it always answers" if threshold is None else f"no answer if its null odds are above {threshold:.2f}"
    return (
        f"Windows of {answering['max_length']} tokens that overlap by {answering['stride']}; answers of at most "
        f"{answering['max_answer_length']} tokens; {declines}; confidence at temperature "
        f"{answering['confidence_temperature']:.2f} (`answering` in config.json)."
    )


def _scores(facts: Facts) -> str:
    rows = [
        "| | exact match | F1 |",
        "|---|---|---|",
        "| student | " + " | ".join(_score(facts.scores, name) for name in NAMES) + " |",
    ]
    for name, values in facts.teachers.items():
        if values:  # None for a file of answers that has none to validation questions
            rows.append(f"| teacher {name} | {values['exact_match']:.2f} | {values['f1']:.2f} |")
    text = "\n".join(rows) + "\n\n" + f"{facts.metrics['questions']} validation questions of {_scored(facts.params)}"
    if "f1_low" in facts.scores:
        text += f". {facts.intervals}"
    if "NoAns_f1" in facts.metrics:
        text += (
            f". F1 of questions with an answer {facts.metrics['HasAns_f1']:.2f}, without one "
            f"{facts.metrics['NoAns_f1']:.2f}"
        )
    if "agreement" in facts.metrics:
        text += f". The student gives the teacher's answer to {facts.metrics['agreement']:.1f} % of them"
    return text + (f".\n\nExpected calibration error of its confidence: {_calibration(facts.calibration)}.")


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
    if facts.about.shrunk:
        text += f" Its encoder was made smaller before training ({escaped(facts.about.shrunk)})."
    if cost:
        threads = "1 thread" if cost["threads"] == 1 else f"{cost['threads']} threads"
        text += (
            f" One window of mean length takes {cost['latency_ms_median']:.1f} ms (median; 95th percentile "
            f"{cost['latency_ms_p95']:.1f}) on {cost['device']} with {threads}."
        )
    return text


def _made(facts: Facts) -> str:
    params = yaml.safe_dump(facts.params, sort_keys=False).rstrip()
    where = f" of {facts.repository}" if facts.repository else ""
    return (
        f"`dvc repro` at commit {facts.commit}{where}.\n\n<details><summary>The values in params.yaml</summary>\n\n"
        f"{fenced(params, 'yaml')}\n\n</details>"
    )


def _license(facts: Facts) -> str:
    own = f"`{facts.license}`" if facts.license else "Not stated"
    return f"{own}. The licenses of the data, the teacher and the student's encoder also apply."
