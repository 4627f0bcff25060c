"""The page in headless Chromium: what it shows, that it can be operated, and that it stays quick at full size."""

import json
import time

import pytest

from pipeline.report.content import build
from pipeline.report.examples import pack
from pipeline.report.page import render
from tests.report import generated

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]

QUESTIONS, PARAGRAPHS, STUDENTS = 10_570, 2_067, 10  # SQuAD 1.1's development set
NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & "quoted" 😀 '
BASELINE = "linear alpha=1.0"

OVERFLOWING = """[...document.querySelectorAll("body *")].filter((element) => !element.closest(".scroll")
  && element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 80))"""
UNDRAWN = """[...document.querySelectorAll("[data-chart]")].map((chart) => [chart, chart.querySelector("svg")])
  .filter(([chart, svg]) => !svg || svg.getBoundingClientRect().width < 0.8 * chart.offsetWidth)
  .map(([chart]) => chart.dataset.chart)"""
COLORED = """(name) => document.querySelectorAll(`[data-chart="${name}"] [fill="var(--chosen)"],
  [data-chart="${name}"] [stroke="var(--chosen)"]`).length"""
FOUND = 'document.getElementById("found").textContent'
IDS = '[...document.querySelectorAll("#list > li")].map((item) => item.dataset.id)'


@pytest.fixture(scope="module")
def page(tmp_path_factory, entries, costs, records, clusters, teacher):
    """A small page; the first question's texts hold markup and an emoji, the last question has no answer."""
    first, *others, last = records
    nasty = {
        **first,
        "title": NASTY,
        "context": NASTY + first["context"],
        "question": NASTY + first["question"],
        "answers": {
            "text": first["answers"]["text"],
            "answer_start": [first["answers"]["answer_start"][0] + len(NASTY)],
        },
    }
    unanswerable = {**last, "answers": {"text": [], "answer_start": []}}
    view, data = build(entries, costs, BASELINE, clusters, [nasty, *others, unanswerable], {"large": teacher})
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(view, data), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def full(tmp_path_factory, records, clusters, teacher):
    """A page as large as SQuAD's development set and ten students make it; its charts are those of the small page."""
    large = generated.records(QUESTIONS, PARAGRAPHS)
    tables = [generated.scores(large, 0.7, seed) for seed in range(STUDENTS + 1)]
    students = [
        generated.entry(f"student {i}", {"head": "linear"}, [generated.scores(records, 0.7, i)]) for i in range(10)
    ]
    view, data = build(students, generated.costs(), "student 0", clusters, records, {"large": teacher})
    answered = [generated.entry(f"student {i}", {}, [table]).candidate for i, table in enumerate(tables[:-1])]
    data["examples"] = pack(large, {"large": tables[-1]}, answered)
    file = tmp_path_factory.mktemp("report") / "full.html"
    file.write_text(render(view, data), encoding="utf-8")
    return file


def choose(browser, name, value):
    """Choose from a select, or type into an input, as a user does."""
    event = "input" if name == "search" else "change"
    element = f"document.getElementById({json.dumps(name)})"
    browser.run(f"{element}.value = {json.dumps(value)}; {element}.dispatchEvent(new Event('{event}'))")


def number_found(browser):
    return int(browser.run(FOUND).split(" of ")[0].replace(",", ""))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_draws_without_complaint_and_nothing_overflows(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.complaints == []
    assert browser.run(UNDRAWN) == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == []


def test_it_asks_the_network_for_nothing(browser, page):
    browser.open(page)
    assert browser.run('performance.getEntriesByType("resource").map((entry) => entry.name)') == []
    assert browser.run('fetch("https://example.org").then(() => "loaded", () => "refused")') == "refused"


def test_text_from_the_data_is_text(browser, page):
    browser.open(page)
    choose(browser, "search", "question-0")
    assert browser.run('document.querySelector("#list h3").textContent').startswith(NASTY)
    assert browser.run('document.querySelector("#list .context").textContent').startswith(NASTY)
    assert browser.run('document.querySelectorAll("#list img, #list script").length') == 0
    assert browser.complaints == []


def test_marks_are_where_the_answers_are(browser, page, records):
    """Offsets count code points: the first context holds an emoji, which JavaScript counts as two characters."""
    browser.open(page)
    choose(browser, "search", "question-0")
    marked = browser.run(
        '[...document.querySelectorAll("#list mark.reference")].map((mark) => mark.textContent).join("")'
    )
    assert marked == records[0]["answers"]["text"][0]


def test_a_question_without_an_answer_says_so(browser, page):
    browser.open(page)
    choose(browser, "search", "question-23")
    row = "[...document.querySelectorAll('#list tbody tr')].map((row) => row.textContent)[0]"
    assert browser.run(row).startswith("(no answer)reference")
    assert browser.run("document.querySelectorAll('#list mark.reference').length") == 0


def test_the_filters_select_right_and_wrong_answers(browser, page, entries, teacher):
    browser.open(page)
    best, base = ((entries[i].candidate.by_run("exact_match") == 100).all(axis=0) for i in (2, 0))
    taught = (teacher["exact_match"] == 100).to_numpy()
    assert browser.run('document.getElementById("student").value') == "cnn3 alpha=1.0"
    expected = {"all": best | True, "right": best, "wrong": ~best, "gained": best & ~base, "lost": ~best & base}
    for name, questions in expected.items():
        choose(browser, "answered", name)
        assert number_found(browser) == questions.sum(), name
    choose(browser, "answered", "wrong")
    choose(browser, "teacher", "right")
    assert number_found(browser) == (~best & taught).sum()
    choose(browser, "student", BASELINE)
    assert number_found(browser) == (~base & taught).sum()


def test_the_teachers_disagreements_are_ordered_by_its_score(browser, page, teacher):
    browser.open(page)
    choose(browser, "teacher", "wrong")
    choose(browser, "order", "teacher")
    expected = teacher[teacher["exact_match"] < 100].sort_values("score", ascending=False)["id"].tolist()
    assert browser.run(IDS) == expected[:10]
    assert browser.run('document.querySelectorAll("#list .meta .wrong").length') >= len(expected[:10])


def test_search_looks_in_question_context_and_id(browser, page, records):
    browser.open(page)
    for text in ("question-17", records[17]["question"][12:].upper()):
        choose(browser, "search", text)
        assert browser.run(IDS) == ["question-17"]
    choose(browser, "search", records[17]["context"][200:260])
    assert number_found(browser) == 4  # questions about one paragraph
    choose(browser, "search", "no such text")
    assert (number_found(browser), browser.run(IDS)) == (0, [])


def test_pages_hold_ten_questions_each(browser, page):
    browser.open(page)
    seen = browser.run(IDS)
    for _ in range(2):
        browser.run('document.getElementById("next").click()')
        seen += browser.run(IDS)
    assert seen == [f"question-{i}" for i in range(24)]
    assert browser.run('document.getElementById("next").disabled')
    choose(browser, "page", "1")
    assert browser.run(IDS)[0] == "question-0"


def test_the_keyboard_reaches_and_operates_everything(browser, page):
    browser.open(page)
    controls = 'document.querySelectorAll("a, button:not(:disabled), select, input, summary, [tabindex]").length'
    focused, count = [], browser.run(controls)
    for _ in range(count):
        browser.press("Tab")
        focused.append(browser.run("document.activeElement.id || document.activeElement.textContent"))
    for name in (
        "student",
        "1 cnn3 alpha=1.0",
        "measure",
        "search",
        "answered",
        "teacher",
        "order",
        "save",
        "page",
        "next",
    ):
        assert name in focused
    browser.run('document.querySelector("tr.baseline button").focus()')
    browser.press("Enter", "\r")
    assert browser.run('document.getElementById("student").value') == BASELINE
    browser.run('document.getElementById("next").focus()')
    outline = browser.run(
        'getComputedStyle(document.activeElement).outlineStyle + " " + document.activeElement.matches(":focus-visible")'
    )
    assert outline == "solid true"


def test_the_gain_is_that_of_the_chosen_student(browser, page):
    browser.open(page)
    gain = 'document.getElementById("gain").textContent'
    assert browser.run(gain) == "cnn3 alpha=1.0: cnn3 alpha=1.0 gains"
    choose(browser, "student", BASELINE)
    assert browser.run(gain) == f"{BASELINE}: {BASELINE} gains"


def test_a_teacher_is_told_from_the_students_in_both_charts_of_cost(browser, page):
    browser.open(page)
    for chart in ("size", "latency"):
        points = f"""[...document.querySelectorAll('[data-chart="{chart}"] [fill="var(--teacher)"]')].length"""
        assert browser.run(points) == 1, chart


def test_a_chosen_student_is_told_from_the_others_in_every_chart(browser, page):
    browser.open(page)
    choose(browser, "student", "linear alpha=0.5")
    browser.run("new Promise((done) => setTimeout(done, 100))")
    for name in ("size", "distill.alpha", "curves", "slice question word"):
        assert browser.run(f"({COLORED})({json.dumps(name)})") > 0, name


def test_the_list_is_saved_as_json_lines(browser, page, tmp_path):
    browser("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(page)
    choose(browser, "teacher", "wrong")
    browser.run('document.getElementById("save").click()')
    file, end = tmp_path / "questions.jsonl", time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines][:10] == browser.run(IDS) and len(lines) == number_found(browser)
    assert lines[0].keys() == {"id", "question", "references", "teachers", "student"}
    assert all(line["student"] and line["teachers"] for line in lines)  # also of the baseline, which is chosen at first


def test_a_full_page_is_small_and_quick(browser, full):
    assert full.stat().st_size < 15e6
    begin = time.perf_counter()
    browser.open(full)
    assert time.perf_counter() - begin < 10
    assert browser.complaints == []
    assert browser.run("document.querySelectorAll('*').length") < 5000
    timed = """(id, value) => { const element = document.getElementById(id), begin = performance.now();
      element.value = value; element.dispatchEvent(new Event(id === "search" ? "input" : "change"));
      document.body.offsetHeight; return performance.now() - begin; }"""
    steps = [
        ("search", "river"),
        ("answered", "lost"),
        ("order", "f1"),
        ("search", ""),
        ("teacher", "wrong"),
        ("page", "7"),
    ]
    for name, value in steps:
        assert browser.run(f"({timed})({json.dumps(name)}, {json.dumps(value)})") < 500, name  # ms, on a busy machine
