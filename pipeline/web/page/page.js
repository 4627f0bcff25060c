"use strict";
const get = (id) => document.getElementById(id);
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}\u00a0%`;

/** A part of the page, unpacked. Its text is dropped, since it takes as much memory again. */
const unpack = async (name) => {
  const element = get(`part-${name}`), text = atob(element.textContent);
  element.remove();
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
};

// the worker: a message goes there with a number, and its result comes back with the same
let worker, number = 0;
const waiting = new Map();
const send = (message, transfer, onProgress) => new Promise((resolve, reject) => {
  waiting.set(++number, {resolve, reject, onProgress});
  worker.postMessage({...message, id: number}, transfer ?? []);
});
const receive = ({data: {id, done, of, error, result}}) => {
  const {resolve, reject, onProgress} = waiting.get(id);
  if (of) return onProgress(done, of);
  waiting.delete(id);
  if (error) reject(new Error(error));
  else resolve(result);
};
const start = async () => {
  const script = await (await unpack("worker")).blob();
  worker = new Worker(URL.createObjectURL(script));
  worker.onmessage = receive;
  worker.onerror = ({message}) => {
    for (const {reject} of waiting.values()) reject(new Error(message));
    waiting.clear();
  };
  const [glue, wasm, model, setup] = await Promise.all([(await unpack("glue")).text(), (await unpack("wasm")).arrayBuffer(),
    (await unpack("model")).arrayBuffer(), (await unpack("setup")).json()]);
  await send({...setup, glue, wasm, model}, [wasm, model]);
};

let shown = null;  // the last result: {text, replies, probabilities, …}, and the reply that is marked
const ask = (question, text, onProgress = () => {}) => send({question, text}, [], onProgress);

/** The text with the chosen reply marked and, if wanted, each likely token shaded. */
const draw = () => {
  const {text, chosen, probabilities} = shown, shaded = get("shade").checked ? probabilities : [];
  const places = [chosen.start, chosen.end, ...shaded.flatMap(({begin, past}) => [begin, past])];
  const cuts = [...new Set([0, ...places, text.length])].sort((a, b) => a - b);
  const pieces = [];
  let mark = null, token = 0;
  cuts.slice(0, -1).forEach((cut, i) => {
    const past = cuts[i + 1];
    let piece = document.createTextNode(text.slice(cut, past));
    while (token < shaded.length && shaded[token].past <= cut) token++;
    if (token < shaded.length && shaded[token].begin <= cut) {
      const {start, end, startShade, endShade} = shaded[token];
      piece = make("span", {class: "likely", title: `start ${percent(start)}, end ${percent(end)}`}, piece);
      piece.style.setProperty("--start-shade", startShade);
      piece.style.setProperty("--end-shade", endShade);
    }
    if (cut < chosen.start || cut >= chosen.end) pieces.push(piece);
    else if (mark) mark.append(piece);
    else pieces.push(mark = make("mark", {}, piece));
  });
  get("reading").replaceChildren(...pieces);
  return mark;
};
const choose = (reply) => {
  shown.chosen = reply;
  const mark = draw(), box = get("reading");
  if (mark) {
    const above = mark.getBoundingClientRect().top - box.getBoundingClientRect().top;
    box.scrollTop += above - box.clientHeight / 3;
    mark.scrollIntoView({block: "nearest"});
  }
  [...get("list").children].forEach((item, i) => {
    if (shown.replies[i] === reply) item.lastChild.setAttribute("aria-current", "true");
    else item.lastChild.removeAttribute("aria-current");
  });
};
const seconds = (ms) => ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const show = (result, text) => {
  const [best] = result.replies;
  shown = {...result, text};
  read(true);
  const facts = [count(result.tokens, "token"), count(result.windows, "window"), seconds(result.milliseconds)];
  if (best) facts.unshift(`confidence ${percent(best.confidence)}`);
  const reply = best?.text ? make("p", {class: "reply"}, best.text) : make("p", {class: "reply none"}, "No answer in this text.");
  get("answer").replaceChildren(reply, make("p", {class: "note"}, facts.join(" · ")));
  get("list").replaceChildren(...result.replies.slice(0, 10).map((reply) => {
    const button = make("button", {type: "button"}, reply.text || "(no answer)");
    button.addEventListener("click", () => choose(reply));
    return make("li", {}, make("span", {class: "note"}, percent(reply.confidence)), button);
  }));
  get("more").hidden = !best;
  choose(best ?? {start: 0, end: 0});
};
/** Switch between the text with its marks and the text to edit. */
const read = (on) => {
  get("reading").hidden = get("edit").hidden = !on;
  get("text").hidden = on;
  if (on) return;
  get("answer").replaceChildren();
  get("more").hidden = true;
};
const busy = (on, status = "") => {
  get("ask").disabled = on;
  get("working").hidden = !on && !status;
  get("progress").hidden = !on;
  get("progress").removeAttribute("value");
  get("stop").hidden = true;
  get("status").textContent = status;
};
const complain = (message) => {
  busy(false);
  get("more").hidden = true;
  get("answer").replaceChildren(make("p", {class: "error"}, message));
};
const submit = async () => {
  if (get("ask").disabled) return;
  const question = get("question").value, text = get("text").value, empty = [["question", question], ["text", text]]
    .find(([, value]) => !value.trim());
  if (empty) {
    if (empty[0] === "text") read(false);
    complain(`Enter a ${empty[0]} first.`);
    return get(empty[0]).focus();
  }
  busy(true, "Reading…");
  get("answer").replaceChildren();
  get("more").hidden = true;
  try {
    const result = await ask(question, text, (done, of) => {
      get("stop").hidden = false;
      get("progress").max = of;
      get("progress").value = done;
      get("status").textContent = `Window ${done.toLocaleString("en")} of ${of.toLocaleString("en")}`;
    });
    busy(false, result.stopped ? "Stopped." : "");
    if (!result.stopped) show(result, text);
  } catch (error) {
    complain(error.message);
  }
};

get("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
  if (event.key === "Escape" && !get("stop").hidden) get("stop").click();
});
get("stop").addEventListener("click", () => worker.postMessage({stop: number}));
get("edit").addEventListener("click", () => { read(false); get("text").focus(); });
get("shade").addEventListener("change", () => { get("key").hidden = !get("shade").checked; choose(shown.chosen); });
get("open").addEventListener("click", () => get("file").click());
get("file").addEventListener("change", async () => {
  const [file] = get("file").files;
  get("file").value = "";
  if (!file) return;
  read(false);
  get("text").value = await file.text();
});
get("notices").addEventListener("toggle", async () => {
  const box = get("notices").querySelector("pre");
  if (get("part-licenses")) box.textContent = await (await unpack("licenses")).text();
});

start().then(() => {
  busy(false);
  document.documentElement.dataset.ready = "true";
}, (error) => {
  busy(false);
  get("ask").disabled = true;
  complain(`The student does not start in this browser: ${error.message}`);
});
