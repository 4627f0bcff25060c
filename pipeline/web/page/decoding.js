// From logits to answers, as pipeline/scores/spans.py and confidence.py have them.
"use strict";

const POOL = 20;  // best spans of a question, over which the confidence is shared
// the characters of spans.py `WORD_RANGES`
const IN_WORD = new RegExp("[0-9A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u0373\u0376-\u0377" +
  "\u037b-\u037d\u037f\u0386\u0388-\u0481\u0483-\u052f\u1e00-\u1fff]");
const inWord = (code) => code < 0x2000 && IN_WORD.test(String.fromCharCode(code));

/**
 * The n spans of one window with the highest start logit plus end logit, best first, as [score, first, last]; exact, of
 * at most `maxLength` tokens, the earlier of equal ones first.
 */
const bestSpans = (start, end, n, maxLength) => {
  const best = [];
  for (let i = 0; i < start.length; i++) {
    for (let j = i; j < Math.min(start.length, i + maxLength); j++) {
      const score = Math.fround(start[i] + end[j]);
      if (score === -Infinity) continue;
      if (best.length === n && !(score > best[n - 1][0])) continue;
      let place = best.length;
      while (place && best[place - 1][0] < score) place--;
      best.splice(place, 0, [score, i, j]);
      best.length = Math.min(best.length, n);
    }
  }
  return best;
};

/** The `POOL` best places of a window, as [key, {start, end, score}]; tokens that share a character are at one place. */
const bestPlaces = (start, end, place, maxLength) => {
  for (let wanted = POOL; ; wanted *= 2) {
    const spans = bestSpans(start, end, wanted, maxLength), places = new Map();
    for (const [score, i, j] of spans) {
      const found = {...place(i, j), score}, key = `${found.start},${found.end}`;
      if (!places.has(key)) places.set(key, found);
    }
    if (places.size >= POOL || spans.length < wanted) return [...places].slice(0, POOL);
  }
};

/** Softmax of some numbers. */
const softmax = (values) => {
  const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = values.map((value) => Math.exp(value - highest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
};

/**
 * The answers to a question over all of its windows, best first: at most `POOL` spans and, if the student says when
 * there is no answer, that.
 * @param windows as from windowsOf, each with `start` and `end`, the logits of its tokens
 * @param context {begins, ends} of the text's tokens, complete
 * @param codes the text's code points
 * @param settings `answering` of config.json
 * @returns [{start, end, score, confidence}]: offsets in code points, 0 and 0 for no answer
 */
const decode = (windows, context, codes, settings) => {
  const spans = new Map();  // a span in several windows counts once, with its highest score
  const isInside = (place) => place > 0 && place < codes.length && inWord(codes[place - 1]) && inWord(codes[place]);
  let nullScore = Infinity;
  for (const {start, end, first, begin, past} of windows) {
    nullScore = Math.min(nullScore, Math.fround(start[0] + end[0]));
    const tokens = [];  // without those of white space alone
    for (let token = begin; token < past; token++) if (context.ends[token] > context.begins[token]) tokens.push(token);
    const logits = [start, end].map((all) => tokens.map((token) => all[first + token - begin]));
    // no span begins or ends inside a word, unless there is no other
    const whole = logits.map((values, side) => values.map((value, i) =>
      isInside((side ? context.ends : context.begins)[tokens[i]]) ? -Infinity : value));
    const place = (i, j) => ({start: context.begins[tokens[i]], end: context.ends[tokens[j]]});
    let places = bestPlaces(...whole, place, settings.max_answer_length);
    if (!places.length) places = bestPlaces(...logits, place, settings.max_answer_length);
    for (const [key, found] of places) {
      if (!(spans.get(key)?.score >= found.score)) spans.set(key, found);
    }
  }
  const found = [...spans.values()].sort((a, b) => b.score - a.score).slice(0, POOL);
  const threshold = settings.null_threshold;
  if (threshold !== null && found.length) found.push({start: 0, end: 0, score: nullScore});
  const rank = (reply) => reply.end ? reply.score : reply.score - threshold;
  found.sort((a, b) => rank(b) - rank(a));  // in a tie a span comes first: the null odds have to be above the threshold
  const shares = softmax(found.map((reply) => rank(reply) / settings.confidence_temperature));
  return found.map((reply, i) => ({...reply, confidence: shares[i]}));
};

/**
 * For each token of the text the probability that the answer starts, and ends, with it: a softmax over the text; of a
 * token in several windows the highest logit counts.
 * @returns {start: [n], end: [n]}
 */
const tokenProbabilities = (windows, count) => {
  const probabilities = (name) => {
    const logits = new Float32Array(count).fill(-Infinity);
    for (const window of windows) {
      for (let token = window.begin; token < window.past; token++) {
        logits[token] = Math.max(logits[token], window[name][window.first + token - window.begin]);
      }
    }
    return softmax([...logits]);
  };
  return {start: probabilities("start"), end: probabilities("end")};
};
