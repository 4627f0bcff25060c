import pytest

from tests.report import generated


@pytest.fixture(scope="session")
def records():
    return generated.records(questions=24, paragraphs=6)


@pytest.fixture(scope="session")
def entries(records):
    """Three students; the first, the baseline, has two seeds, and differs from the second in alpha alone."""
    params = {"head": "linear", "seed": 0, "distill": {"alpha": 1.0, "temperature": 2.0}}
    other = {**params, "distill": {"alpha": 0.5, "temperature": 2.0}}
    return [
        generated.entry("linear alpha=1.0", params, [generated.scores(records, 0.6, seed) for seed in (1, 2)]),
        generated.entry("linear alpha=0.5", other, [generated.scores(records, 0.5, 3)]),
        generated.entry("cnn3 alpha=1.0", {**params, "head": "cnn3"}, [generated.scores(records, 0.9, 4)], 80_000_000),
    ]


@pytest.fixture(scope="session")
def costs():
    """The latency of one student and of the teacher."""
    timed = {"latency_ms_median": 12.5, "latency_ms_low": 12.0, "latency_ms_high": 13.0, "device": "cpu", "threads": 2}
    teacher = {"parameters": 400_000_000, "nonzero_parameters": 400_000_000, "bytes": 1_600_000_000}
    slower = {"latency_ms_median": 50.0, "latency_ms_low": 49.0, "latency_ms_high": 51.0}
    return generated.costs(**{"linear alpha=0.5": timed, "teacher large": {**teacher, **timed, **slower}})


@pytest.fixture(scope="session")
def clusters(records):
    return generated.clusters(records)


@pytest.fixture(scope="session")
def teacher(records):
    return generated.scores(records, 0.75, 5)
