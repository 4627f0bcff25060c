"""A synthetic corpus in SQuAD's format, generated from a seed: invented people, towns and books.

A paragraph states facts about one subject, then facts about a second subject of the same kind. So every question has
distractors in its context: other facts about the same name, answers of the same type, asides with more names and years,
and often the same relation for the other subject. Questions are worded differently from the sentences that answer them.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice
from random import Random
from typing import Any, NamedTuple

Record = dict[str, Any]


def _combinations(starts: str, ends: str) -> list[str]:
    """Every start joined to every end; both arguments are words separated by spaces."""
    return [start + end for start in starts.split() for end in ends.split()]


FIRST_NAMES = _combinations("Al Bri Cor Dé Jo Mi", "dan lis rée vin")
SURNAMES = _combinations("Ask Brun Cald Eist Grön Hald", "ev ström ini añez") + ["O'Tarren", "Lund-Møre"]
TOWNS = _combinations("Bel Dun Gar Mar Nor Wes", "avo burn elle füll") + ["Port-Élan", "Saint-Orme"]
RIVERS = _combinations("Ai Lo Sü Ve", "nne sk tha")
REGIONS = _combinations("Ar Ken Pol Zem", "dovia gau lânde")
YEARS = [str(year) for year in range(1700, 1900, 2)]
TITLES = [
    f"The {adjective} {noun}"
    for adjective in "Amber Bitter Crimson Distant Empty Frozen Hidden Silent".split()
    for noun in "Bridge Clock Garden Harbour Letter Mirror Orchard Tower".split()
]
TRADES = "baker carpenter clockmaker doctor fisher gardener glazier lawyer miller painter printer tailor".split()
GENRES = "ballad comedy diary fable novel poem romance satire tragedy".split()
PLACES = "castle city fortress hamlet harbour market port spa village".split()
GOODS = [
    f"{adjective} {noun}"
    for adjective in "black coarse fine red sweet".split()
    for noun in "bread cheese cloth glass paper wine".split()
]


class Relation(NamedTuple):
    """A type of fact: a pool of answers, and templates with {subject} and {answer}."""

    answers: Sequence[str] | None  # None: names of persons
    statements: tuple[str, ...]
    questions: tuple[str, ...]


PERSON = (
    Relation(
        FIRST_NAMES,
        (
            "{answer} {subject} was a neighbour.",
            "People still speak of {answer} {subject}.",
            "Then there was {answer} {subject}.",
        ),
        ("What was the first name of {subject}?", "What was {subject} called by friends?"),
    ),
    Relation(
        TOWNS,
        (
            "{subject} came into the world in {answer}.",
            "The cradle of {subject} stood in {answer}.",
            "{subject} was a child of {answer}, as the church book shows.",
        ),
        ("Where was {subject} born?", "What is the birthplace of {subject}?", "In which town was {subject} born?"),
    ),
    Relation(
        YEARS,
        (
            "{subject} first saw the light of day in {answer}.",
            "The baptism of {subject} took place in {answer}.",
            "The life of {subject} (from {answer}) is well recorded.",
        ),
        ("When was {subject} born?", "In what year was {subject} born?", "What is the birth year of {subject}?"),
    ),
    Relation(
        TRADES,
        (
            "{subject} earned money as a {answer}.",
            "The guild listed {subject} as a {answer}.",
            "{subject}, a skilled {answer}, had many customers.",
        ),
        (
            "What was the profession of {subject}?",
            "What did {subject} do for a living?",
            "Which trade did {subject} follow?",
        ),
    ),
    Relation(
        TOWNS,
        (
            "{subject} later settled in {answer}.",
            "An old house in {answer} belonged to {subject}.",
            "{subject} moved to {answer} and stayed there.",
        ),
        ("Where did {subject} live?", "Which town became the home of {subject}?", "Where was the home of {subject}?"),
    ),
    Relation(
        None,
        (
            "{answer} gave lessons to {subject}.",
            "{subject} learned everything from {answer}.",
            "{subject} was a pupil of {answer}.",
        ),
        ("Who taught {subject}?", "Who was the teacher of {subject}?", "By whom was {subject} taught?"),
    ),
    Relation(
        GOODS,
        (
            "{subject} could not resist {answer}.",
            "Nothing pleased {subject} more than {answer}.",
            "{subject} spent every spare coin on {answer}.",
        ),
        ("What did {subject} like best?", "What was {subject} fond of?", "What did {subject} love to buy?"),
    ),
)
BOOK = (
    Relation(
        GENRES,
        (
            'The {answer} "{subject}" is well loved.',
            'Everyone knows the {answer} "{subject}".',
            'Many own the {answer} "{subject}".',
        ),
        ('What kind of text is "{subject}"?', 'To which genre does "{subject}" belong?'),
    ),
    Relation(
        None,
        (
            '"{subject}" is the work of {answer}.',
            '{answer} needed three winters for "{subject}".',
            '"{subject}" came from the pen of {answer}.',
        ),
        ('Who wrote "{subject}"?', 'Who is the author of "{subject}"?', 'By whom was "{subject}" written?'),
    ),
    Relation(
        YEARS,
        (
            '"{subject}" reached the shops in {answer}.',
            'The first copies of "{subject}" were sold in {answer}.',
            'Readers met "{subject}" (in {answer}) with surprise.',
        ),
        (
            'When was "{subject}" published?',
            'In what year did "{subject}" appear?',
            'What is the publication year of "{subject}"?',
        ),
    ),
    Relation(
        TOWNS,
        (
            'The story of "{subject}" takes the reader to {answer}.',
            'The heroes of "{subject}" walk the streets of {answer}.',
            '"{subject}" describes daily life in {answer}.',
        ),
        ('Where is "{subject}" set?', 'Where does "{subject}" play?', 'What is the setting of "{subject}"?'),
    ),
    Relation(
        TOWNS,
        (
            'A library in {answer} owns the manuscript of "{subject}".',
            'The pages of "{subject}" lie in a vault in {answer}.',
            '"{subject}" is shown to visitors in {answer}.',
        ),
        (
            'Where is "{subject}" kept?',
            'Which town keeps "{subject}"?',
            'Where can the original of "{subject}" be seen?',
        ),
    ),
)
TOWN = (
    Relation(
        PLACES,
        (
            "The {answer} {subject} is old.",
            "Travellers like the {answer} {subject}.",
            "We turn to the {answer} {subject}.",
        ),
        ("What kind of place is {subject}?", "What sort of settlement is {subject}?"),
    ),
    Relation(
        RIVERS,
        (
            "The houses of {subject} line the banks of the {answer}.",
            "The {answer} runs through {subject}.",
            "The bridges of {subject} cross the {answer}.",
        ),
        (
            "On which river does {subject} lie?",
            "What is the river of {subject} called?",
            "Which river flows past {subject}?",
        ),
    ),
    Relation(
        YEARS,
        (
            "Settlers built {subject} in {answer}.",
            "The oldest deed of {subject} dates from {answer}.",
            "{subject} (since {answer}) has a market.",
        ),
        (
            "When was {subject} founded?",
            "In what year was {subject} founded?",
            "What is the founding year of {subject}?",
        ),
    ),
    Relation(
        REGIONS,
        (
            "{subject} belongs to {answer}.",
            "{subject} pays its taxes to {answer}.",
            "On the map, {subject} is part of {answer}.",
        ),
        (
            "In which region is {subject}?",
            "What is the region of {subject} called?",
            "Which region does {subject} lie in?",
        ),
    ),
    Relation(
        GOODS,
        (
            "Merchants come to {subject} for its {answer}.",
            "{subject} makes {answer} that sells everywhere.",
            "The workshops of {subject} turn out {answer}.",
        ),
        ("What is {subject} known for?", "What is {subject} famous for?", "Which product made {subject} known?"),
    ),
    Relation(
        None,
        (
            "{answer} governs {subject}.",
            "The council of {subject} obeys {answer}.",
            "The voters of {subject} chose {answer}.",
        ),
        ("Who is the mayor of {subject}?", "Who leads {subject}?", "Who is the head of {subject}?"),
    ),
)
KINDS = {"person": (SURNAMES, PERSON), "book": (TITLES, BOOK), "town": (TOWNS, TOWN)}
ASIDES = (
    "Of {subject}, little else is known.",
    "A letter of {year} mentions {subject} in passing.",
    "Some visitors from {town} doubt it.",
    "The road to {town} was mended in {year}.",
    "Nobody asked {person} about it.",
    "In {year}, {person} wrote all of this down.",
)
RELATIONS = {2: 30, 3: 70}  # facts per subject, at most: sampling weight
SHARED = 0.4  # share of paragraphs with the same relation for both subjects
REPEATED = 0.2  # share of those paragraphs with the same answer for both subjects
LONG = 0.05  # share of paragraphs with many asides
QUESTIONS = 4  # per paragraph, at most


class Fact(NamedTuple):
    """A subject, a relation and an answer, stated by one sentence."""

    subject: str
    relation: Relation
    answer: str


def corpus(split: str, size: int, seed: int) -> Iterator[Record]:
    """The first `size` questions of a split; questions about one paragraph are consecutive.

    Each paragraph depends only on the seed, the split and its index: a larger size appends questions, and a split does
    not depend on the size of another.

    Args:
        split: `train` or `validation`; part of each id and of the random seed.
    """
    return islice((record for index in count() for record in _paragraph(split, seed, index)), size)


def _paragraph(split: str, seed: int, index: int) -> Iterator[Record]:
    rng = Random(f"{seed}/{split}/{index}")
    subjects, facts = _facts(rng)
    sentences: list[tuple[Fact | None, str]] = [(fact, rng.choice(fact.relation.statements)) for fact in facts]
    asides = rng.randint(7, 10) if rng.random() < LONG else rng.randint(0, 1)
    for _ in range(asides):
        sentences.insert(rng.randint(0, len(sentences)), (None, _aside(rng, subjects)))

    context, found = "", []
    for fact, sentence in sentences:
        if fact:
            before, after = (part.format(subject=fact.subject) for part in sentence.split("{answer}"))
            found.append((fact, len(context) + len(before)))
            sentence = before + fact.answer + after
        context += sentence + " "
    for number, (fact, start) in enumerate(rng.sample(found, min(QUESTIONS, len(found)))):
        yield {
            "id": f"synthetic-{split}-{seed}-{index}-{number}",
            "title": " and ".join(subjects),
            "context": context.rstrip(),
            "question": rng.choice(fact.relation.questions).format(subject=fact.subject),
            "answers": {"text": [fact.answer], "answer_start": [start]},
            "is_impossible": False,
        }


def _facts(rng: Random) -> tuple[list[str], list[Fact]]:
    """Two subjects of the same kind, and facts: first all about one, then all about the other."""
    pool, relations = KINDS[rng.choice(list(KINDS))]
    subjects = rng.sample(pool, 2)
    n = min(rng.choices(list(RELATIONS), list(RELATIONS.values()))[0], len(relations) // 2)
    chosen = rng.sample(relations, 2 * n)
    facts = [Fact(subjects[i // n], relation, _answer(rng, relation, subjects)) for i, relation in enumerate(chosen)]
    if rng.random() < SHARED:
        rival = facts[rng.randrange(n)]
        answer = rival.answer if rng.random() < REPEATED else _answer(rng, rival.relation, subjects)
        facts[rng.randrange(n, 2 * n)] = Fact(subjects[1], rival.relation, answer)
    return subjects, facts


def _answer(rng: Random, relation: Relation, subjects: list[str]) -> str:
    if relation.answers is None:
        return _person(rng)
    return rng.choice([answer for answer in relation.answers if answer not in subjects])


def _person(rng: Random) -> str:
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}"


def _aside(rng: Random, subjects: list[str]) -> str:
    """A sentence that answers no question and repeats names, towns and years as distractors."""
    return rng.choice(ASIDES).format(
        subject=rng.choice(subjects), year=rng.choice(YEARS), town=rng.choice(TOWNS), person=_person(rng)
    )
