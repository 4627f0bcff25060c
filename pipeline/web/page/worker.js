// The student, in a worker: the page stays responsive while it answers.
"use strict";

const YIELD = 100;  // ms after which a new message, such as "stop", is looked at
const SHADED = 1000;  // tokens
let session, tokenizer, data, settings, stopped = 0, cached = {};

const pause = () => new Promise((resume) => setTimeout(resume));

const load = async (message) => {
  ({tokenizer: data, settings} = message);
  tokenizer = new WordPiece(data);
  ort.env.wasm.numThreads = 1;  // a page that is opened as a file shares no memory with its workers
  ort.env.wasm.wasmBinary = message.wasm;
  // a data: URL, since WebKit imports no blob in the worker of a page that is opened as a file
  ort.env.wasm.wasmPaths = {mjs: `data:text/javascript,${encodeURIComponent(message.glue)}`};
  session = await ort.InferenceSession.create(new Uint8Array(message.model), {executionProviders: ["wasm"]});
  await run(windowsOf(tokenizer.encode(codePoints("a")).ids, tokenizer.encode(codePoints("a")), data, settings)[0]);
  return {};
};

/** Start and end logits of the tokens of a window. */
const run = async ({ids, segments}) => {
  const all = {input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: segments};
  const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const inputs = Object.fromEntries(session.inputNames.map((name) => [name, tensor(all[name])]));
  const {start_logits: start, end_logits: end} = await session.run(inputs);
  return {start: start.data, end: end.data};
};

/** The tokens of a text, and its code points; of the last text, as they were. */
const read = (text) => {
  if (cached.text !== text) {
    const codes = codePoints(text);
    cached = {text, codes, tokens: complete(tokenizer.encode(codes), codes)};
  }
  return cached;
};

/**
 * Answers to a question about a text.
 * @returns {replies, probabilities, windows, tokens, milliseconds}: offsets of replies and tokens count UTF-16 units, as
 *   strings do here; `codePoints` has those of a reply in code points, as Python counts.
 */
const ask = async ({id, question, text}) => {
  const begin = performance.now();
  const {codes, tokens} = read(text);
  const windows = windowsOf(tokenizer.encode(strip(codePoints(question))).ids, tokens, data, settings);
  let reported = begin;
  for (const [i, window] of windows.entries()) {
    Object.assign(window, await run(window));
    if (performance.now() - reported < YIELD) continue;
    postMessage({id, done: i + 1, of: windows.length});
    await pause();
    if (stopped >= id) return {stopped: true};
    reported = performance.now();
  }
  const replies = decode(windows, tokens, codes, settings);
  const units = utf16(codes);
  for (const reply of replies) {
    reply.codePoints = [reply.start, reply.end];
    [reply.start, reply.end] = reply.codePoints.map((place) => units[place]);
    reply.text = text.slice(reply.start, reply.end);
  }
  const probabilities = likely(tokenProbabilities(windows, tokens.ids.length), tokens, units);
  return {replies, probabilities, windows: windows.length, tokens: tokens.ids.length,
    milliseconds: performance.now() - begin};
};

/** For each place in code points the place in UTF-16 units. */
const utf16 = (codes) => {
  const units = new Int32Array(codes.length + 1);
  for (let i = 0; i < codes.length; i++) units[i + 1] = units[i] + (codes[i] > 0xffff ? 2 : 1);
  return units;
};

/** The tokens that an answer may start or end with, in order: the most probable, down to 2 % of the highest value. */
const likely = ({start, end}, tokens, units) => {
  const either = start.map((value, i) => Math.max(value, end[i]));
  const highest = either.reduce((a, b) => Math.max(a, b), 0);
  return [...either.keys()].filter((i) => either[i] >= highest / 50 && tokens.ends[i] > tokens.begins[i])
    .sort((a, b) => either[b] - either[a]).slice(0, SHADED).sort((a, b) => a - b)
    .map((i) => ({begin: units[tokens.begins[i]], past: units[tokens.ends[i]], start: start[i], end: end[i],
      startShade: Math.sqrt(start[i] / highest), endShade: Math.sqrt(end[i] / highest)}));
};

onmessage = async ({data: message}) => {
  if (message.stop) {
    stopped = message.stop;
    return;
  }
  try {
    postMessage({id: message.id, result: await (message.model ? load : ask)(message)});
  } catch (error) {
    postMessage({id: message.id, error: String(error?.message ?? error)});
  }
};
