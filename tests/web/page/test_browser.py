"""The page in headless Chromium: a real student answers in it, as in Python."""

import json

import numpy as np
import pytest

from pipeline.web.page.build import read, render

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]

NASTY = '</script><img src=x onerror="alert(2)"> & "quoted" 😀 '
OVERFLOWING = """[...document.querySelectorAll("body *")].filter((element) => !element.closest("script")
  && element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 80))"""
MARKED = 'document.querySelector("#reading mark")?.textContent'
REPLY = 'document.querySelector("#answer .reply")?.textContent'
IDLE = """new Promise((done) => { const look = () =>
  document.getElementById("working").hidden ? done(true) : setTimeout(look, 20); look(); })"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory, exported, engine, browser):
    """A page with the float32 model and one with the int8 model."""
    folder = tmp_path_factory.mktemp("pages")
    for precision in ("float32", "int8"):
        (folder / f"{precision}.html").write_text(render(read(exported.folder, precision), engine), encoding="utf-8")
    return folder


def ask(browser, question, text):
    """Ask as a user does: enter both, press Ctrl+Enter, wait."""
    for name, value in (("question", question), ("text", text)):
        browser.run(f"document.getElementById('{name}').value = {json.dumps(value)}")
    browser.run("document.getElementById('question').focus()")
    browser.run(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'Enter', ctrlKey: true, bubbles: true}))"
    )
    browser.run(IDLE)


def test_answers_are_pythons(browser, pages, exported):
    browser.open(pages / "float32.html")
    pairs = [[record["question"], record["context"]] for record in exported.records]
    found = browser.run(
        f"(async () => {{ const all = []; for (const pair of {json.dumps(pairs)})"
        " all.push((await ask(...pair)).replies); return all; })()"
    )
    for ours, theirs, record in zip(found, exported.replies, exported.records, strict=True):
        assert [reply["text"] for reply in ours] == [answer.text for answer in theirs]
        assert [reply["codePoints"] for reply in ours] == [[answer.start, answer.end] for answer in theirs]
        for name in ("score", "confidence"):
            values = [getattr(reply, name) for reply in theirs]
            np.testing.assert_allclose([reply[name] for reply in ours], values, atol=1e-3)
        assert all(
            record["context"].encode("utf-16-le")[2 * r["start"] : 2 * r["end"]].decode("utf-16-le") == r["text"]
            for r in ours
        )
    assert 20 < sum(not theirs[0].text for theirs in exported.replies) < 80
    assert browser.complaints == []


def test_a_long_text_in_int8(browser, pages, exported):
    """Every window is read, the answer is marked and in view, and the text is the reader's."""
    text = NASTY + "\n".join(record["context"] for record in exported.records[:40])
    browser.open(pages / "int8.html", height=600)
    ask(browser, exported.records[0]["question"], text)
    result = browser.run("({...shown, replies: shown.replies.slice(0, 3)})")
    assert result["windows"] > 40
    assert browser.run('document.getElementById("reading").textContent') == text
    assert browser.run('document.querySelectorAll("#reading img").length') == 0
    browser.run("choose(shown.replies.findLast((reply) => reply.text))")
    chosen = browser.run("shown.chosen")
    assert browser.run(MARKED) == chosen["text"] == text[slice(*chosen["codePoints"])]
    inside = """(() => { const mark = document.querySelector("#reading mark").getBoundingClientRect(),
      box = document.getElementById("reading").getBoundingClientRect();
      return mark.top >= box.top && mark.bottom <= box.bottom && mark.top >= 0 && mark.top < innerHeight; })()"""
    assert browser.run(inside)
    assert browser.complaints == []


def test_no_answer_other_answers_and_shades(browser, pages, exported):
    browser.open(pages / "float32.html")
    index = next(i for i, replies in enumerate(exported.replies) if not replies[0].text)
    record = exported.records[index]
    ask(browser, record["question"], record["context"])
    assert browser.run(REPLY) == "No answer in this text."
    assert browser.run(MARKED) is None
    browser.run('document.querySelector("#others summary").click()')
    browser.run('document.querySelectorAll("#list button")[1].click()')
    assert browser.run(MARKED) == exported.replies[index][1].text
    browser.run('document.getElementById("shade").click()')
    shades = browser.run('[...document.querySelectorAll("#reading span.likely")].map((span) => span.textContent)')
    assert shades and all(text.strip() for text in shades)
    assert browser.run('document.getElementById("reading").textContent') == record["context"]
    assert browser.complaints == []


def test_it_can_be_stopped(browser, pages):
    browser.open(pages / "float32.html")
    browser.run('document.getElementById("question").value = "Where?"')
    browser.run('document.getElementById("text").value = "a b c d ".repeat(100000)')
    browser.run('document.getElementById("ask").click()')
    visible = """new Promise((done) => { const look = () =>
      document.getElementById("stop").hidden ? setTimeout(look, 20) : done(true); look(); })"""
    assert browser.run(visible)
    assert browser.run('document.getElementById("status").textContent').startswith("Window ")
    browser.press("Escape")
    browser.run("new Promise((done) => { const look = () => isBusy() ? setTimeout(look, 20) : done(true); look(); })")
    assert browser.run('document.getElementById("status").textContent') == "Stopped."
    ask(browser, "Where?", "A text.")
    assert browser.run(REPLY)


def test_errors_are_shown(browser, pages):
    browser.open(pages / "float32.html")
    ask(browser, "", "A text.")
    assert browser.run('document.querySelector("#answer .error").textContent') == "Enter a question first."
    ask(browser, "where " * 100, "A text.")
    assert "too long" in browser.run('document.querySelector("#answer .error").textContent')
    ask(browser, "Where?", "A text.")
    assert browser.run(REPLY)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_overflows_and_nothing_is_requested(browser, pages, exported, width, dark):
    browser.open(pages / "float32.html", width, dark=dark)
    record = exported.records[1]
    ask(browser, record["question"], record["context"] + " " + "w" * 300)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == []
    requests = 'performance.getEntriesByType("resource").map((entry) => entry.name)'
    assert [name for name in browser.run(requests) if not name.startswith(("blob:", "data:"))] == []
    assert browser.complaints == []
    assert browser.run('fetch("https://example.org").then(() => "loaded", () => "refused")') == "refused"


def test_the_keyboard_reaches_everything_and_the_licenses(browser, pages, exported):
    browser.open(pages / "float32.html")
    ask(browser, exported.records[0]["question"], exported.records[0]["context"])
    browser.run("document.activeElement.blur()")
    focused = []
    for _ in range(12):
        browser.press("Tab")
        focused.append(browser.run("document.activeElement.id || document.activeElement.textContent"))
    names = {"edit", "example", "open", "reading", "question", "ask", "Other answers", "shade", "Licenses"}
    assert names <= set(focused)
    browser.run('document.querySelector("#notices summary").click()')
    browser.run("new Promise((done) => setTimeout(done, 200))")
    assert "MIT License" in browser.run('document.querySelector("#notices pre").textContent.slice(0, 200)')
    footer = browser.run('document.querySelector("footer p").textContent')
    assert all(part in footer for part in ("head cnn3", "bert with 1 layer of 32", "float32, 0.", "of x<y.json"))


def test_the_examples_come_one_after_the_other(browser, pages, exported):
    browser.open(pages / "float32.html")
    for i in (0, 1, 0):
        browser.run("document.getElementById('example').click()")
        browser.run("new Promise((done) => setTimeout(done, 50))")
        values = [browser.run(f"document.getElementById('{name}').value") for name in ("question", "text")]
        assert values == [exported.records[i]["question"], exported.records[i]["context"]]
    assert browser.run("document.activeElement.id") == "ask"


def test_the_focus_stays_where_the_text_was(browser, pages):
    browser.open(pages / "float32.html")
    browser.run("document.getElementById('question').value = 'Where?'")
    browser.run("document.getElementById('text').value = 'A text.'; document.getElementById('text').focus()")
    browser("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, modifiers=2)
    browser.run(IDLE)
    assert browser.run("document.activeElement.id") == "reading"
    names = """[...document.querySelectorAll('[role="region"], section[aria-label], section[aria-labelledby]')]
      .map((one) => one.getAttribute("aria-label") ?? "labelled by another element")"""
    assert browser.run(names) == ["Text with the answer marked"]


def test_only_answers_that_may_be_right_are_among_the_others(browser, pages, exported):
    browser.open(pages / "float32.html")
    for index, record in enumerate(exported.records[:5]):
        ask(browser, record["question"], record["context"])
        likely = [reply for reply in exported.replies[index] if reply.confidence >= 0.005][:10]
        shown = browser.run('[...document.querySelectorAll("#list button")].map((button) => button.textContent)')
        assert shown == [reply.text or "(no answer)" for reply in likely]
        assert browser.run('document.getElementById("others").hidden') == (len(likely) < 2)


def test_a_script_of_a_page_that_was_changed_does_not_run(browser, pages, tmp_path):
    page = (pages / "float32.html").read_text(encoding="utf-8")
    bad = '<script src="data:text/javascript,window.ran = true"></script><script>window.ran = true</script>'
    (tmp_path / "changed.html").write_text(page.replace("<main>", f"<main>{bad}"), encoding="utf-8")
    browser.open(tmp_path / "changed.html")
    assert browser.run("window.ran") is None
