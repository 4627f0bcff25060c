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

const LEAST = 0.005;  // confidence of an answer among the others
let examples = null, next = 0;
let shown = null;  // the last result: {text, replies, probabilities, …}, and the reply that is marked
const ask = (question, text, onProgress = () => {}) => send({question, text}, [], onProgress);

/** The text with the chosen reply marked and, if wanted, each likely token shaded. */
const draw = () => {
  const {text, chosen, probabilities} = shown, pieces = [];
  const shaded = get("shade").checked ? probabilities.map((token) => ({start: token.begin, end: token.past, token})) : [];
  let mark = null;
  for (const {begin, past, over} of stretches(text.length, [chosen, ...shaded])) {
    let piece = document.createTextNode(text.slice(begin, past));
    const token = over.find((span) => span.token)?.token;
    if (token) {
      piece = make("span", {class: "likely", title: `start ${percent(token.start)}, end ${percent(token.end)}`}, piece);
      piece.style.setProperty("--start-shade", token.startShade);
      piece.style.setProperty("--end-shade", token.endShade);
    }
    if (!over.includes(chosen)) pieces.push(piece);
    else if (mark) mark.append(piece);
    else pieces.push(mark = make("mark", {}, piece));
  }
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
const show = (result, text) => {
  const [best] = result.replies;
  shown = {...result, text};
  read(true);
  const facts = [counted(result.tokens, "token"), counted(result.windows, "window"), duration(result.milliseconds)];
  if (best) facts.unshift(`confidence ${percent(best.confidence)}`);
  const reply = best?.text ? make("p", {class: "reply", dir: "auto"}, best.text)
    : make("p", {class: "reply none"}, best ? "No answer in this text." : "The text has no words.");
  get("answer").replaceChildren(reply, make("p", {class: "note"}, facts.join(" · ")));
  const likely = result.replies.filter(({confidence}, i) => !i || confidence >= LEAST).slice(0, 10);
  get("others").hidden = likely.length < 2;
  get("list").replaceChildren(...likely.map((reply) => {
    const button = make("button", {type: "button", dir: "auto"}, reply.text || "(no answer)");
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
  get("ask").setAttribute("aria-disabled", on);
  get("working").hidden = !on && !status;
  get("progress").hidden = !on;
  get("progress").removeAttribute("value");
  get("stop").hidden = true;
  get("status").textContent = status;
};
const isBusy = () => get("ask").getAttribute("aria-disabled") === "true";
const complain = (message) => {
  busy(false);
  get("more").hidden = true;
  get("answer").replaceChildren(make("p", {class: "error"}, message));
};
const submit = async () => {
  if (isBusy()) return;
  const question = get("question").value, text = get("text").value, empty = [["question", question], ["text", text]]
    .find(([, value]) => !value.trim());
  if (empty) {
    if (empty[0] === "text") read(false);
    complain(`Enter a ${empty[0]} first.`);
    return get(empty[0]).focus();
  }
  const begin = performance.now(), inText = document.activeElement === get("text");
  busy(true, "Reading…");
  get("answer").replaceChildren();
  get("more").hidden = true;
  try {
    const result = await ask(question, text, (done, of) => {
      get("stop").hidden = false;
      get("progress").max = of;
      get("progress").value = done;
      get("status").textContent = `Window ${done.toLocaleString("en")} of ${of.toLocaleString("en")}, ${duration(performance.now() - begin)}`;
    });
    busy(false, result.stopped ? "Stopped." : "");
    if (!result.stopped) show(result, text);
    if (inText && !get("reading").hidden) get("reading").focus();  // the text, which had the focus, is hidden
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
get("example")?.addEventListener("click", async () => {
  examples ??= await (await unpack("examples")).json();
  const {question, context} = examples[next++ % examples.length];
  read(false);
  get("text").value = context;
  get("question").value = question;
  get("ask").focus();
});
get("notices").addEventListener("toggle", async () => {
  const box = get("notices").querySelector("pre");
  if (get("part-licenses")) box.textContent = await (await unpack("licenses")).text();
});

start().then(() => {
  busy(false);
  document.documentElement.dataset.ready = "true";
}, (error) => {
  complain(`The student does not start in this browser: ${error.message}`);
  get("ask").setAttribute("aria-disabled", "true");
});
