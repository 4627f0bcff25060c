// Windows over a text and complete offsets, as pipeline/questions/windows.py and offsets.py make them.
"use strict";

// str.isspace of Python; JavaScript's \s is another set
const isSpace = (code) => (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20) || code === 0x85 || code === 0xa0
  || code === 0x1680 || (code >= 0x2000 && code <= 0x200a) || code === 0x2028 || code === 0x2029 || code === 0x202f
  || code === 0x205f || code === 0x3000;

// characters that show nothing count as white space in offsets, see offsets.py
const isBlank = (code) => isSpace(code) || code === 0xad || code === 0x61c || code === 0x200b || code === 0x200e
  || code === 0x200f || (code >= 0x202a && code <= 0x202e) || code === 0x2060 || (code >= 0x2066 && code <= 0x2069)
  || code === 0xfeff;

/** Code points without the white space around them, as str.strip of Python. */
const strip = (codes) => {
  let first = 0, past = codes.length;
  while (first < past && isSpace(codes[first])) first++;
  while (past > first && isSpace(codes[past - 1])) past--;
  return codes.slice(first, past);
};

/** For each place from 0 to n the first place from it on whose character is a stop; n if there is none. */
const nextPlaces = (n, isStop) => {
  const places = new Int32Array(n + 1);
  places[n] = n;
  for (let i = n - 1; i >= 0; i--) places[i] = isStop(i) ? i : places[i + 1];
  return places;
};

/** For each place from 0 to n the last place up to it that follows a stop; 0 if there is none. */
const previousPlaces = (n, isStop) => {
  const places = new Int32Array(n + 1);
  for (let i = 1; i <= n; i++) places[i] = isStop(i - 1) ? i : places[i - 1];
  return places;
};

/**
 * Offsets of a text's tokens such that every character of a word belongs to a token, and white space to none.
 * The rule is that of offsets.py `complete`.
 */
const complete = ({ids, begins, ends}, codes) => {
  const n = codes.length, change = new Int32Array(n + 1), inToken = new Uint8Array(n);
  begins.forEach((begin, i) => { change[begin]++; change[ends[i]]--; });
  for (let i = 0, open = 0; i < n; i++) inToken[i] = (open += change[i]) > 0;
  const isWord = (i) => !isBlank(codes[i]), isHeld = (i) => isBlank(codes[i]) || inToken[i];
  const nextWord = nextPlaces(n, isWord), previousWord = previousPlaces(n, isWord);
  const nextHeld = nextPlaces(n, isHeld), previousHeld = previousPlaces(n, isHeld);
  const completed = {ids, begins: new Int32Array(ids.length), ends: new Int32Array(ids.length)};
  for (let i = 0; i < ids.length; i++) {
    const begin = nextWord[begins[i]], before = previousHeld[begin];
    completed.begins[i] = before === 0 || isBlank(codes[before - 1]) ? before : begin;
    completed.ends[i] = nextHeld[previousWord[ends[i]]];
  }
  return completed;
};

/**
 * The windows of a question over a text: [CLS] question [SEP] part of the text [SEP]; consecutive parts share `stride`
 * tokens.
 * @param question ids of its tokens
 * @param context {ids, begins, ends} of the text's tokens
 * @param data what tokenizer.py reads from a tokenizer.json: the special tokens around, and whether there are segments
 * @returns [{ids, segments, first, begin, past}]: `first` is the position of the first token of the text in the window,
 *   `begin` and `past` are the first and past-the-last of these tokens in the text.
 * @throws Error if the question leaves no room
 */
const windowsOf = (question, context, data, {max_length: maxLength, stride}) => {
  const {before, between, after} = data.special;
  const room = maxLength - question.length - before.length - between.length - after.length;
  if (room <= stride) {
    throw new Error(`The question is too long: it has ${question.length} tokens, at most `
      + `${question.length + room - stride - 1} leave room for the text.`);
  }
  const head = [...before, ...question, ...between], windows = [];
  for (let begin = 0, past = -1; past < context.ids.length; begin += room - stride) {
    past = Math.min(begin + room, context.ids.length);
    const ids = [...head, ...context.ids.slice(begin, past), ...after];
    const segments = ids.map((_, i) => data.segments && i >= head.length ? 1 : 0);
    windows.push({ids, segments, first: head.length, begin, past});
  }
  return windows;
};
