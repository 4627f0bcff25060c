"""A second implementation of the published rules of SQuAD 2.0's evaluation, one question at a time."""

import re
import string


def words(text):
    kept = "".join(" " if character.isspace() else character for character in text.lower())
    kept = "".join(character for character in kept if character not in set(string.punctuation))
    return [word for word in re.sub(r"\b(?:a|an|the)\b", " ", kept).split(" ") if word]


def f1_of(gold, predicted):
    if not gold or not predicted:
        return 1.0 if gold == predicted else 0.0
    rest, same = list(gold), 0
    for word in predicted:
        if word in rest:
            rest.remove(word)
            same += 1
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall) if same else 0.0


def oracle(questions, predictions, odds, threshold):
    """What evaluate-v2.0.py prints, from {id: references}, {id: answer} and {id: odds}; every question is predicted."""
    exact, f1 = {}, {}
    for name, references in questions.items():
        golds = [words(text) for text in references if words(text)] or [[]]
        mine = words(predictions[name])
        exact[name] = max(float(gold == mine) for gold in golds)
        f1[name] = max(f1_of(gold, mine) for gold in golds)
    found = {}
    for key, raw in (("exact", exact), ("f1", f1)):
        final = {q: (0.0 if questions[q] else 1.0) if odds[q] > threshold else raw[q] for q in questions}
        for prefix, chosen in (
            ("", list(questions)),
            ("HasAns_", [q for q in questions if questions[q]]),
            ("NoAns_", [q for q in questions if not questions[q]]),
        ):
            if chosen:
                found[prefix + key] = 100 * sum(final[q] for q in chosen) / len(chosen)
        running = best = sum(1 for q in questions if not questions[q])
        at = 0.0
        for q in sorted(questions, key=odds.get):
            if questions[q]:
                running += raw[q]
            elif predictions[q] != "":
                running -= 1
            if running > best:
                best, at = running, odds[q]
        found[f"best_{key}"], found[f"best_{key}_thresh"] = 100 * best / len(questions), at
    return found
