"""Questions about a small farm, as JSON values."""

from dataclasses import replace

CONTEXT = "Ann keeps bees. Zoë keeps two hens."
BEES = {"id": "q1", "question": "What does Ann keep?", "answers": [{"text": "bees", "answer_start": 10}]}
HENS = {"id": "q2", "question": "What does Zoë keep?", "answers": [{"text": "two hens", "answer_start": 26}]}
COWS = {"id": "q3", "question": "Who keeps cows?", "answers": [], "is_impossible": True}


def numbered(count):
    return [{**BEES, "id": f"q{i}"} for i in range(count)]


def flat(question, **more):
    """A question as one record, with its context."""
    return {"title": "Farm", "context": CONTEXT, **question, **more}


def all_of(found):
    """Checked questions, all of them read."""
    return replace(found, records=list(found.records))
