"""The page's windows, offsets and answers are those of `pipeline.questions.windows` and `pipeline.scores.spans`."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.questions import offsets
from pipeline.questions.tokenization import train
from pipeline.questions.windows import pack, windows
from pipeline.scores import spans
from pipeline.scores.confidence import CANDIDATES, confidences, ranked
from pipeline.web.page.tokenizer import describe
from tests.web.page import javascript

pytestmark = [pytest.mark.slow, pytest.mark.skipif(javascript.NODE is None, reason="no node on this machine")]

WINDOWS = """const tokenizer = new WordPiece(data.tokenizer);
return data.records.map(({question, context}) => {
  const codes = codePoints(context), tokens = complete(tokenizer.encode(codes), codes);
  const found = windowsOf(tokenizer.encode(strip(codePoints(question))).ids, tokens, data.tokenizer, data.settings);
  return found.map((window) => ({...window, begins: [...tokens.begins.slice(window.begin, window.past)],
    ends: [...tokens.ends.slice(window.begin, window.past)]}));
});"""

DECODE = """const tokenizer = new WordPiece(data.tokenizer);
let next = 0;
return data.records.map(({question, context}) => {
  const codes = codePoints(context), tokens = complete(tokenizer.encode(codes), codes);
  const found = windowsOf(tokenizer.encode(strip(codePoints(question))).ids, tokens, data.tokenizer, data.settings);
  for (const window of found) {
    const cut = (logits) => Float32Array.from(logits.slice(next, next + window.ids.length));
    Object.assign(window, {start: cut(data.start), end: cut(data.end)});
    next += window.ids.length;
  }
  return {replies: decode(found, tokens, codes, data.settings), tokens: tokenProbabilities(found, tokens.ids.length)};
});"""


def record(question, context):
    return {"id": "q", "question": question, "context": context, "answers": {"text": [], "answer_start": []}}


@pytest.fixture(scope="module")
def parts(tricky):
    """A tokenizer that knows the tricky texts, the page's, and records with each as the context or the question."""
    tokenizer = train(tricky, vocab_size=400)
    described = describe(tokenizer, Path("folder"))
    others = [record("\x1c\u3000Who \u00a0lives?\ufeff\n", text * 3) for text in tricky]
    return tokenizer, described, others + [record(text[:20], tricky[-1]) for text in tricky]


@pytest.mark.parametrize("max_length, stride", [(48, 0), (48, 7), (90, 40)])
def test_windows_and_offsets(parts, records, max_length, stride):
    tokenizer, described, others = parts
    everything = [*others, *records]
    settings = {"max_length": max_length, "stride": stride}
    data = {"tokenizer": described, "records": everything, "settings": settings}
    found = [(i, window) for i, group in enumerate(javascript.run(WINDOWS, data)) for window in group]
    expected = list(windows(everything, tokenizer, max_length, stride))
    assert len(found) == len(expected) > len(everything)
    for (i, ours), theirs in zip(found, expected, strict=True):
        first, past = theirs.context
        assert (i, ours["ids"]) == (theirs.record, theirs.input_ids.tolist())
        assert ours["segments"] == theirs.token_type_ids.tolist()
        assert ours["past"] - ours["begin"] == past - first and (ours["first"] == first or first == past)
        assert np.stack([ours["begins"], ours["ends"]], axis=1).tolist() == theirs.offset_mapping[first:past].tolist()


def test_white_space_is_pythons():
    codes = [code for code in range(0x110000) if chr(code).isspace()]
    everything = javascript.run("return [...Array(0x110000).keys()].filter(isSpace);", None)
    assert everything == codes


def test_characters_that_show_nothing_are_those_of_offsets():
    everything = javascript.run("return [...Array(0x110000).keys()].filter(isBlank);", None)
    assert everything == np.flatnonzero(offsets.IS_BLANK).tolist()


def test_characters_of_words_are_those_of_spans():
    everything = javascript.run("return [...Array(0x110000).keys()].filter(inWord);", None)
    assert everything == np.flatnonzero(spans.IN_WORD).tolist()


def test_tokens_that_share_a_character_do_not_take_the_places_of_other_answers():
    places = """const begins = [0, 0, 0, 0, 0, 0, 0, 2, 4], ends = [1, 1, 1, 1, 1, 1, 1, 3, 5];
const logits = begins.map((begin) => -begin);
return bestPlaces(logits, logits, (i, j) => ({start: begins[i], end: ends[j]}), 9).map(([key]) => key);"""
    assert javascript.run(places, None) == ["0,1", "0,3", "0,5", "2,3", "2,5", "4,5"]


def test_a_long_question_is_refused_with_the_longest_allowed(parts):
    data = {"tokenizer": parts[1], "settings": {"max_length": 26, "stride": 6}}
    body = """const tokenizer = new WordPiece(data.tokenizer), length = (n) => { try {
      return windowsOf(Array(n).fill(5), {ids: [5]}, data.tokenizer, data.settings).length; } catch (error) {
      return error.message; } };
    return [length(16), length(17)];"""
    fits, message = javascript.run(body, data)
    assert fits == 1 and "17 tokens, at most 16 " in message


@pytest.mark.parametrize("threshold", [None, -0.5, 0.75, 40.0])
@pytest.mark.parametrize("decimals", [8, 0], ids=["distinct", "ties"])
def test_answers(parts, threshold, decimals):
    """Equal spans, order, scores and confidence; rounded logits have many ties."""
    tokenizer, described, everything = parts
    settings = {"max_length": 48, "stride": 7, "max_answer_length": 6, "null_threshold": threshold}
    settings["confidence_temperature"] = 1.5
    features = pack(windows(everything, tokenizer, 48, 7))
    logits = np.random.default_rng(0).normal(size=(2, len(features.input_ids))).round(decimals).astype(np.float32)
    data = {"tokenizer": described, "records": everything, "settings": settings}
    found = javascript.run(DECODE, data | {"start": logits[0].tolist(), "end": logits[1].tolist()})
    contexts = [record["context"] for record in everything]
    best = spans.answers(features, contexts, *logits, CANDIDATES, max_answer_length=6)
    null = spans.null_scores(features, *logits, len(everything)).tolist()
    for ours, candidates, none in zip(found, best, null, strict=True):
        if candidates and threshold is not None:
            candidates.append(spans.Answer("", 0, 0, none))
        theirs = ranked(candidates, threshold)
        assert [[reply["start"], reply["end"], reply["score"]] for reply in ours["replies"]] == [
            [answer.start, answer.end, answer.score] for answer in theirs
        ]
        shares = [reply["confidence"] for reply in ours["replies"]]
        np.testing.assert_allclose(shares, confidences(theirs, threshold, 1.5), rtol=1e-6)
        for side in ours["tokens"].values():
            assert not side or abs(sum(side) - 1) < 1e-5
