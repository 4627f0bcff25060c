import asyncio

import pytest

from pipeline.web.service.batcher import Batcher

QUESTIONS = [(f"question {i}", f"context {i}") for i in range(10)]


def run(students, work, windows=64, wait=0.001):
    """The result of `work(batcher)` while a batcher runs."""

    async def main():
        batcher = Batcher({student.name: student for student in students}, wait, windows)
        running = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(work(batcher), 10)
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled() and not batcher.jobs

    return asyncio.run(main())


def ask(batcher, questions, student="first", n_best=1, windows=1):
    return batcher.answer(student, questions, [windows] * len(questions), n_best, {})


def texts(answered):
    return [[reply.text for reply in best] for best in answered[0]]


def test_requests_that_arrive_together_share_one_call(students, answerer):
    async def work(batcher):
        return await asyncio.gather(*(ask(batcher, QUESTIONS[i : i + 2], n_best=1 + i % 3) for i in range(0, 10, 2)))

    answered = run(students, work)
    assert answerer.calls == [[question for question, _ in QUESTIONS]]
    for i, one in zip(range(0, 10, 2), answered, strict=True):
        expected = ["context", f"context {i}", f"context {i}"]
        assert texts(one)[0] == expected[: 1 + i % 3]
        assert [best[0].score for best in one[0]] == [10.0, 10.0] and one[1] > 0


def test_requests_for_several_students_are_not_mixed(students):
    async def work(batcher):
        names = ["first", "second", "first", "second"]
        return await asyncio.gather(*(ask(batcher, [QUESTIONS[i]], name) for i, name in enumerate(names)))

    assert len(run(students, work)) == 4
    assert [student.answerer.calls for student in students[:2]] == [
        [["question 0", "question 2"]],
        [["question 1", "question 3"]],
    ]


def test_what_arrives_during_a_call_is_the_next_batch(students, answerer):
    answerer.free.clear()

    async def work(batcher):
        first = asyncio.create_task(ask(batcher, QUESTIONS[:1]))
        await asyncio.to_thread(answerer.entered.wait, 10)
        others = [asyncio.create_task(ask(batcher, [one])) for one in QUESTIONS[1:4]]
        await asyncio.sleep(0)
        answerer.free.set()
        await asyncio.gather(first, *others)

    run(students, work)
    assert answerer.calls == [["question 0"], ["question 1", "question 2", "question 3"]]


def test_a_large_request_is_computed_in_parts_and_others_in_between(students, answerer):
    async def work(batcher):
        large = asyncio.create_task(ask(batcher, QUESTIONS, windows=2))
        small = asyncio.create_task(ask(batcher, [("small", "one two")]))
        done, _ = await asyncio.wait([large, small], return_when=asyncio.FIRST_COMPLETED)
        assert done == {small}
        return await large

    assert texts(run(students, work, windows=8)) == [["context"]] * 10
    assert answerer.calls == [
        [f"question {i}" for i in range(4)],
        ["small", *(f"question {i}" for i in range(4, 7))],
        [f"question {i}" for i in range(7, 10)],
    ]


def test_a_question_with_more_windows_than_a_batch_is_computed_in_steps_and_others_in_between(students, answerer):
    async def work(batcher):
        large = asyncio.create_task(batcher.answer("first", QUESTIONS[:2], [100, 1], 1, {}, request="large"))
        small = asyncio.create_task(ask(batcher, [("small", "one two")]))
        await small
        assert batcher.progress("large") == (len("context 0") // 2, 2 * len("context 0"))
        assert batcher.progress("small") is None
        return await large

    assert texts(run(students, work)) == [["context"]] * 2
    assert answerer.calls == [["question 0"], ["small"], "second step", ["question 1"]]


def test_a_long_question_that_nobody_waits_for_takes_no_more_steps(students, answerer):
    answerer.free.clear()

    async def work(batcher):
        large = asyncio.create_task(ask(batcher, QUESTIONS[:1], windows=100))
        await asyncio.to_thread(answerer.entered.wait, 10)
        large.cancel()
        answerer.free.set()
        await ask(batcher, QUESTIONS[1:2])

    run(students, work)
    assert answerer.calls == [["question 0"], ["question 1"]]


def test_a_long_question_that_fails_is_answered_with_the_error(students):
    async def work(batcher):
        asked = [ask(batcher, [("poison", "x")], windows=100), ask(batcher, [QUESTIONS[1]])]
        return await asyncio.gather(*asked, return_exceptions=True)

    poisoned, last = run(students, work)
    assert str(poisoned) == "poisoned" and texts(last) == [["context"]]


def test_a_request_that_nobody_waits_for_is_not_computed(students, answerer):
    answerer.free.clear()

    async def work(batcher):
        running = asyncio.create_task(ask(batcher, QUESTIONS[:1]))
        await asyncio.to_thread(answerer.entered.wait, 10)
        waiting = asyncio.create_task(ask(batcher, QUESTIONS[1:2]))
        last = asyncio.create_task(ask(batcher, QUESTIONS[2:3]))
        await asyncio.sleep(0)
        waiting.cancel()
        running.cancel()  # too late to stop it
        answerer.free.set()
        await last

    run(students, work)
    assert answerer.calls == [["question 0"], ["question 2"]]


def test_only_the_request_that_fails_fails(students, answerer):
    async def work(batcher):
        asked = [ask(batcher, [QUESTIONS[0]]), ask(batcher, [("poison", "x")]), ask(batcher, [QUESTIONS[1]])]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, poisoned, last = run(students, work)
    assert texts(first) == texts(last) == [["context"]]
    with pytest.raises(RuntimeError, match="poisoned"):
        raise poisoned
    assert answerer.calls[0] == ["question 0", "poison", "question 1"]
