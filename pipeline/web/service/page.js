"use strict";
const ANSWERS = 3, COLORS = 6;
const EXAMPLE = {
  text: "The mill by the river Arn was built in 1820 by Clara Holm, a widow from Lund. It ground rye for eleven villages until "
    + "a flood broke its wheel in 1903. Since 1977 the building has been a small museum; about 4,000 people visit it every year, "
    + "most of them in June, when the old stones turn again for three days.",
  question: "Who built the mill?",
};
const get = (id) => document.getElementById(id);
/** An element with attributes and children; texts become text nodes, never HTML. */
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

let students = [];  // {name, teacher, number}
let asked = null;  // {characters, answers: Map of number -> what the service returned, abort}

/** The JSON of the service; throws an error with the service's sentence. */
const call = async (path, options) => {
  let response, result;
  try {
    response = await fetch(path, options);
    result = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the service cannot be reached; is it still running?");
  }
  if (!response.ok) throw new Error(result.error);
  return result;
};

const load = async () => {
  const health = await call("health");
  students = health.students.map((student, i) => ({...student, number: i + 1}));
  get("students").replaceChildren(...students.map(({name, teacher, number}) => {
    const box = make("input", {type: "checkbox", value: number});
    box.checked = true;
    box.addEventListener("change", show);
    return make("label", {class: color(number)}, box, tag(number), name, ...(teacher ? [kind()] : []));
  }));
};
const color = (number) => `s${(number - 1) % COLORS}`;
const tag = (number) => make("span", {class: "tag"}, String(number));
const kind = () => make("span", {class: "kind"}, "teacher");
const chosen = () => {
  const numbers = [...document.querySelectorAll("#students input:checked")].map((box) => Number(box.value));
  return students.filter((student) => numbers.includes(student.number));
};

/** Ask all chosen students, and show each answer when it comes. */
const ask = async () => {
  const text = get("text").value, question = get("question").value;
  problem("");
  if (!text.trim()) return problem("Paste a text first.", "text");
  if (!question.trim()) return problem("Ask a question.", "question");
  if (!chosen().length) return problem("Choose a student.");
  asked?.abort.abort();
  // characters: the service counts code points, a string of JavaScript counts UTF-16 units
  const current = asked = {text, question, characters: Array.from(text), answers: new Map(), abort: new AbortController()};
  get("asked").textContent = question;
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
    current.answers.set(number, null);
    const body = JSON.stringify({
      student: name, contexts: [current.text], questions: [{question: current.question}], n_best: ANSWERS,
    });
    try {
      const result = await call("answer", {
        method: "POST", headers: {"Content-Type": "application/json"}, body, signal: current.abort.signal,
      });
      current.answers.set(number, {answers: result.answers[0], milliseconds: result.milliseconds});
    } catch (error) {
      if (error.name === "AbortError") return;
      current.answers.set(number, {error: error.message});
    }
    if (asked === current) draw();
  });
  draw();
  await Promise.all(waiting);
};

const draw = () => {
  get("results").hidden = false;
  const shown = chosen().map((student) => ({...student, result: asked.answers.get(student.number)}));
  get("answers").replaceChildren(...shown.map(card));
  get("marked").replaceChildren(...marked(asked.characters, shown.filter(({result}) => result?.answers?.[0]?.text)));
  const left = shown.filter(({result}) => !result).length;
  get("status").textContent = left ? `Waiting for ${left} of ${shown.length} students.` : shown.map(spoken).join(" ");
  document.documentElement.dataset.waiting = left;
};
const spoken = ({name, result}) => result.error ? `${name}: ${result.error}.`
  : `${name}: ${result.answers[0]?.text || "no answer"}, ${percent(result.answers[0]?.confidence ?? 0)}.`;
const percent = (share) => share < 0.005 ? "< 1 %" : share > 0.995 ? "> 99 %" : `${(100 * share).toFixed(0)} %`;
const time = (milliseconds) => milliseconds < 1000 ? `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;

const card = ({name, teacher, number, result}) => {
  const title = make("h3", {}, tag(number), make("span", {}, name), ...(teacher ? [kind()] : []));
  return make("li", {class: color(number), "data-student": name}, title, ...contents(number, result));
};
const contents = (number, result) => {
  if (!result) return [make("p", {class: "answer waits"}, "…")];
  if (result.error) return [make("p", {class: "answer failed"}, result.error)];
  const [best, ...others] = result.answers;
  if (!best) return [make("p", {class: "answer none"}, "the text has no words")];
  return [
    best.text ? jump(best.text, number) : make("p", {class: "answer none"}, "no answer in the text"),
    make("div", {class: "figures note"}, make("span", {}, `${percent(best.confidence)} confident`), make("span", {}, time(result.milliseconds))),
    bar(best.confidence),
    ...(others.length ? [make("ul", {class: "others note", "aria-label": "other answers"}, ...others.map((answer) => make("li", {},
      make("span", {title: answer.text}, answer.text || "no answer"), make("span", {}, percent(answer.confidence)))))] : []),
  ];
};
const bar = (share) => {
  const filled = make("div");
  filled.style.width = `${100 * share}%`;
  return make("div", {class: "bar"}, filled);
};
/** The answer as a button that shows its mark in the text. */
const jump = (text, number) => {
  const button = make("button", {type: "button", class: "answer", title: "Show in the text"}, text);
  const marks = () => [...document.querySelectorAll("mark")].filter((mark) => mark.dataset.students.split(" ").includes(String(number)));
  const set = (active) => () => marks().forEach((mark) => mark.classList.toggle("active", active));
  for (const [event, active] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
    button.addEventListener(event, set(active));
  button.addEventListener("click", () => marks()[0]?.scrollIntoView({block: "center"}));
  return button;
};

/** The text, with the best answers of students marked; marks may overlap. */
const marked = (characters, shown) => {
  const spans = shown.map(({number, result}) => ({number, start: result.answers[0].start, end: result.answers[0].end}));
  const cuts = [...new Set([0, characters.length, ...spans.flatMap(({start, end}) => [start, end])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).flatMap((begin, i) => {
    const text = characters.slice(begin, cuts[i + 1]).join("");
    const inside = spans.filter(({start, end}) => start <= begin && begin < end);
    if (!inside.length) return [text];
    const ends = inside.filter(({end}) => end === cuts[i + 1]);
    const attributes = {
      class: `${color(inside[0].number)}${inside.length > 1 ? " shared" : ""}`,
      "data-students": inside.map(({number}) => number).join(" "),
    };
    return [make("mark", attributes, text), ...ends.map(({number}) => make("sup", {class: color(number)}, String(number)))];
  });
};

const problem = (sentence, id) => {
  get("problem").textContent = sentence;
  get("problem").hidden = !sentence;
  if (id) get(id).focus();
};
const count = () => {
  const characters = Array.from(get("text").value).length;
  get("size").textContent = `${characters.toLocaleString("en")} characters`;
};

get("form").noValidate = true;  // the page's own sentences
get("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});
get("text").addEventListener("input", count);
get("example").addEventListener("click", () => {
  get("text").value = EXAMPLE.text;
  get("question").value = EXAMPLE.question;
  count();
  get("question").focus();
});
count();
load().catch((error) => problem(error.message)).finally(() => { document.documentElement.dataset.ready = "true"; });
