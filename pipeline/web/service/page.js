"use strict";
const ANSWERS = 3, COLORS = 6;
const PATIENCE = 500;  // ms until the progress of an answer is shown, and between two questions about it

let students = [];  // {name, teacher, facts, trained_on, question_characters, number}
let limits = {};
let examples = [], next = 0;
let asked = null;  // {text, question, characters, answers: Map of number -> what the service returned, abort, begin}

/** The JSON of the service; throws an error with the service's sentence. */
const call = async (path, options) => {
  let response, result;
  try {
    response = await fetch(path, options);
    result = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the service cannot be reached; check that it is still running");
  }
  if (!response.ok) throw new Error(result.error);
  return result;
};

const load = async () => {
  const health = await call("health");
  ({examples} = await call("examples"));
  limits = health.limits;
  students = health.students.map((student, i) => ({...student, number: i + 1}));
  get("example").hidden = !examples.length;
  get("students").replaceChildren(...students.map(({name, teacher, number, facts, trained_on}) => {
    const box = make("input", {type: "checkbox", value: number});
    box.checked = true;
    box.addEventListener("change", show);
    const known = [teacher ? "teacher" : "", facts, trained_on && `trained on ${trained_on}`].filter(Boolean).join("; ");
    return make("label", {class: color(number)}, box, tag(number), make("span", {}, name, " ", make("span", {class: "note"}, known)));
  }));
};
const color = (number) => `s${(number - 1) % COLORS}`;
const tag = (number) => make("span", {class: "tag"}, String(number));
const kind = () => make("span", {class: "kind"}, "teacher");
const chosen = () => {
  const numbers = [...document.querySelectorAll("#students input:checked")].map((box) => Number(box.value));
  return students.filter((student) => numbers.includes(student.number));
};
/** A sentence for a reader from one of the service's. */
const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** Ask all chosen students, and show each answer when it comes. */
const ask = async () => {
  const text = get("text").value, question = get("question").value;
  // the service counts code points, a string of JavaScript counts UTF-16 units
  const characters = Array.from(text), length = Array.from(question).length;
  problem("");
  if (!text.trim()) return problem("Paste a text first.", "text");
  if (!question.trim()) return problem("Ask a question.", "question");
  if (!chosen().length) return problem("Choose a student.");
  const most = limits.characters - length, short = chosen().find((student) => length > student.question_characters);
  if (short) return problem(`The question has ${counted(length, "character")}; ${short.name} reads at most ${short.question_characters.toLocaleString("en")}.`, "question");
  if (characters.length > most) return problem(`The text has ${counted(characters.length, "character")}; the service reads at most ${most.toLocaleString("en")} at once.`, "text");
  asked?.abort.abort();
  const current = asked = {text, question, characters, answers: new Map(), abort: new AbortController(), begin: performance.now()};
  const example = examples.find((one) => one.question === question && one.context === text);
  get("asked").replaceChildren(question, ...(example ? [make("span", {class: "note"}, ` Reference answer: ${example.answer}`)] : []));
  get("status").textContent = "Waiting for answers.";
  await show();
  if (asked !== current) return;
  const first = document.querySelector("mark"), box = get("marked");
  if (first) box.scrollTop = first.offsetTop - box.clientHeight / 2;
  if (matchMedia("(max-width: 600px)").matches) get("results").scrollIntoView();
};

/** Show the chosen students; asks those that have not been asked yet. */
const show = async () => {
  if (!asked) return;
  const current = asked;
  const waiting = chosen().filter(({number}) => !current.answers.has(number)).map(async ({name, number}) => {
    const request = `${Date.now()} ${Math.random()} ${number}`;
    current.answers.set(number, {request, share: 0});
    const body = JSON.stringify({
      student: name, contexts: [current.text], questions: [{question: current.question}], n_best: ANSWERS, request,
    });
    try {
      const result = await call("answer", {
        method: "POST", headers: {"Content-Type": "application/json"}, body, signal: current.abort.signal,
      });
      current.answers.set(number, {answers: result.answers[0], milliseconds: result.milliseconds});
    } catch (error) {
      current.answers.set(number, {error: error.name === "AbortError" ? "stopped" : error.message});
    }
    if (asked === current) draw();
  });
  if (waiting.length) {
    current.begin = performance.now();
    follow(current);
  }
  draw();
  await Promise.all(waiting);
};
/** Stop the students that have not answered yet. */
const stop = () => {
  asked.abort.abort();
  asked.abort = new AbortController();
};
const isWaiting = (result) => result?.request !== undefined;

/** Show how far the answers are, and for how long, until all are there. */
const follow = async (current) => {
  if (current.followed) return;
  current.followed = true;
  for (;;) {
    await new Promise((resume) => setTimeout(resume, PATIENCE));
    const waiting = [...current.answers.values()].filter(isWaiting);
    if (asked !== current || !waiting.length) break;
    await Promise.all(waiting.map(async (one) => {
      const progress = await call(`progress/${encodeURIComponent(one.request)}`).catch(() => null);  // not begun, or done
      if (progress) one.share = progress.read / progress.characters;
    }));
    if (asked !== current) break;
    drawProgress();
  }
  current.followed = false;
  if (asked === current) drawProgress();
};
const drawProgress = () => {
  const all = [...asked.answers.values()], waiting = all.filter(isWaiting);
  get("working").hidden = !waiting.length;
  const share = (all.length - waiting.length + waiting.reduce((sum, one) => sum + one.share, 0)) / all.length;
  get("progress").value = share;
  get("elapsed").textContent = `${(100 * share).toFixed(0)}\u00a0% read, ${duration(performance.now() - asked.begin)}`;
};

const draw = () => {
  get("results").hidden = false;
  const shown = chosen().map((student) => ({...student, result: asked.answers.get(student.number)}));
  get("answers").replaceChildren(...shown.map(card));
  get("marked").replaceChildren(...marked(asked.characters, shown.filter(({result}) => result?.answers?.[0]?.text)));
  const left = shown.filter(({result}) => isWaiting(result)).length;
  get("status").textContent = left ? `Waiting for ${left} of ${shown.length} students.` : shown.map(spoken).join(" ");
  if (!left) get("working").hidden = true;
  document.documentElement.dataset.waiting = left;
};
const spoken = ({name, result}) => result.error ? `${name}: ${sentence(result.error)}`
  : `${name}: ${answerOf(result)}${result.answers.length ? `, ${percent(result.answers[0].confidence)}` : ""}.`;
const NO_WORDS = "the text has no words", NO_ANSWER = "no answer in the text";
const answerOf = ({answers: [best]}) => best ? best.text || NO_ANSWER : NO_WORDS;

const card = ({name, teacher, number, result}) => {
  const title = make("h3", {}, tag(number), make("span", {}, name), ...(teacher ? [kind()] : []));
  return make("li", {class: color(number), "data-student": name}, title, ...contents(number, result));
};
const contents = (number, result) => {
  if (isWaiting(result)) return [make("p", {class: "answer waits"}, "…")];
  if (result.error) return [make("p", {class: "answer failed"}, sentence(result.error))];
  const [best, ...others] = result.answers;
  if (!best) return [make("p", {class: "answer none"}, NO_WORDS)];
  return [
    best.text ? jump(best.text, number) : make("p", {class: "answer none"}, NO_ANSWER),
    make("div", {class: "figures note"}, make("span", {}, `${percent(best.confidence)} confident`), make("span", {}, duration(result.milliseconds))),
    bar(best.confidence),
    ...(others.length ? [make("ul", {class: "others note", "aria-label": "other answers"}, ...others.map((answer) => make("li", {},
      make("span", {title: answer.text, dir: "auto"}, answer.text || "no answer"), make("span", {}, percent(answer.confidence)))))] : []),
  ];
};
const bar = (share) => {
  const filled = make("div");
  filled.style.width = `${100 * share}%`;
  return make("div", {class: "bar"}, filled);
};
/** The answer as a button that shows its mark in the text. */
const jump = (text, number) => {
  const button = make("button", {type: "button", class: "answer", dir: "auto", title: "Show in the text"}, text);
  const marks = () => [...document.querySelectorAll("mark")].filter((mark) => mark.dataset.students.split(" ").includes(String(number)));
  const set = (active) => () => marks().forEach((mark) => mark.classList.toggle("active", active));
  for (const [event, active] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
    button.addEventListener(event, set(active));
  button.addEventListener("click", () => marks()[0]?.scrollIntoView({block: "center"}));
  return button;
};

/** The text, with the best answers of students marked; marks may overlap. */
const marked = (characters, shown) => {
  const spans = shown.map(({number, result: {answers: [{start, end}]}}) => ({number, start, end}));
  return stretches(characters.length, spans).flatMap(({begin, past, over, ending}) => {
    const text = characters.slice(begin, past).join("");
    if (!over.length) return [text];
    const attributes = {
      class: `${color(over[0].number)}${over.length > 1 ? " shared" : ""}`,
      "data-students": over.map(({number}) => number).join(" "),
    };
    return [make("mark", attributes, text), ...ending.map(({number}) => make("sup", {class: color(number)}, String(number)))];
  });
};

const problem = (text, id) => {
  get("problem").textContent = text;
  get("problem").hidden = !text;
  if (id) get(id).focus();
};
const drawSize = () => {
  get("size").textContent = counted(Array.from(get("text").value).length, "character");
};

get("form").noValidate = true;  // the page's own sentences
get("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  if (event.key === "Escape" && !get("working").hidden) stop();
});
get("stop").addEventListener("click", () => { stop(); get("ask").focus(); });
get("text").addEventListener("input", drawSize);
get("example").addEventListener("click", () => {
  const {question, context} = examples[next++ % examples.length];
  get("text").value = context;
  get("question").value = question;
  drawSize();
  get("question").focus();
});
drawSize();
load().catch((error) => problem(sentence(error.message))).finally(() => { document.documentElement.dataset.ready = "true"; });
