"""The page in headless Chromium, with students that a service behind it runs."""

import json
import re
import time

import pytest

from pipeline.about import About, Example
from pipeline.answering.answerer import Answerer
from pipeline.models.encoders import new_qa_model
from pipeline.models.student import Answering, Student
from pipeline.web.service.served import Served
from tests.conftest import MILL, TEA
from tests.tiny import TINY
from tests.web.service.conftest import FirstWords

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]

NASTY = "<img src=x onerror=alert(1)> 😀 & "
TEXT = f"{NASTY}{TEA}\n\n{MILL} {TEA}"
SHOWN = """[...document.querySelectorAll("#answers > li")]
  .map((card) => [card.dataset.student, card.querySelector(".answer").textContent])"""
MARKED = """(number) => [...document.querySelectorAll("mark")]
  .filter((mark) => mark.dataset.students.split(" ").includes(number)).map((mark) => mark.textContent).join("")"""
OVERFLOWING = """[...document.querySelectorAll("body *")].filter((element) => !element.closest(".hidden-text")
  && element.getBoundingClientRect().right > innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 80))"""


@pytest.fixture
def real(tokenizer):
    """Two students with random weights and a teacher."""
    settings = Answering(max_length=48, stride=16, max_answer_length=8, null_threshold=None, confidence_temperature=1.0)
    models = {name: new_qa_model(TINY["teacher"]["config"], len(tokenizer), seed) for seed, name in enumerate("abc")}
    models["a"] = Student.from_encoder(models["a"].base_model, "cnn3", seed=1)
    return [Served(name, Answerer(model, tokenizer, settings), name == "c") for name, model in models.items()]


def open_page(browser, serve, students, limits=None, **size):
    host, port = serve(students=students, **(limits or {}))
    browser.open(f"http://{host}:{port}/", **size)


def write(browser, name, text):
    element = f"document.getElementById({json.dumps(name)})"
    browser.run(f"{element}.value = {json.dumps(text)}; {element}.dispatchEvent(new Event('input')); {element}.focus()")


def wait(browser, condition='document.documentElement.dataset.waiting === "0"'):
    end = time.monotonic() + 20
    while not browser.run(condition):
        assert time.monotonic() < end, browser.complaints
        time.sleep(0.01)


def choose(browser, number):
    browser.run(f"""document.querySelector('#students input[value="{number}"]').click()""")


def test_ask_see_the_marks_and_choose_other_students(browser, serve, real):
    question = "Who owned the café?"
    expected = {one.name: one.answerer.answers([(question, TEXT)])[0][0] for one in real}
    open_page(browser, serve, real)
    choose(browser, 2)
    write(browser, "text", TEXT)
    write(browser, "question", question)
    browser.press("Enter", "\r")
    wait(browser)
    assert browser.run(SHOWN) == [[name, expected[name].text] for name in "ac"]
    choose(browser, 2)  # is asked now
    wait(browser)
    assert browser.run(SHOWN) == [[name, expected[name].text] for name in "abc"]
    for number, name in enumerate("abc", 1):
        assert browser.run(f'({MARKED})("{number}")') == expected[name].text
    assert browser.run('document.querySelectorAll("#marked sup").length') == 3
    text = '[...document.getElementById("marked").childNodes].filter((node) => node.nodeName !== "SUP")'
    assert browser.run(f'{text}.map((node) => node.textContent).join("")') == TEXT
    browser.run('getSelection().selectAllChildren(document.getElementById("marked"))')
    assert browser.run("getSelection().toString()") == TEXT  # without the numbers
    choose(browser, 1)
    choose(browser, 3)
    assert browser.run(SHOWN) == [["b", expected["b"].text]]
    assert browser.run(f'({MARKED})("1")') == ""
    assert f"{100 * expected['b'].confidence:.0f}" in browser.run('document.querySelector(".figures").textContent')
    assert expected["b"].text in browser.run('document.getElementById("status").textContent')
    assert browser.complaints == []


def test_errors_are_sentences(browser, serve, students, answerer):
    open_page(browser, serve, students)
    problem = 'document.getElementById("problem").textContent'
    browser.run('document.getElementById("ask").click()')
    assert browser.run(problem) == "Paste a text first."
    assert browser.run("document.activeElement.id") == "text"
    write(browser, "text", TEA)
    browser.run('document.getElementById("ask").click()')
    assert browser.run(problem) == "Ask a question."
    write(browser, "question", "mill " * 30)
    browser.run('document.getElementById("ask").click()')
    wait(browser)
    name, sentence = browser.run(SHOWN)[0]
    assert name == "first" and re.fullmatch("The question .* 30 tokens.* 20 .*[.]", sentence)
    assert browser.run(problem) == ""


def test_lengths_are_checked_before_anything_is_sent(browser, serve, students, answerer):
    open_page(browser, serve, students, limits={"characters": 3000})
    problem = 'document.getElementById("problem").textContent'
    write(browser, "text", "😀" * 2999)
    write(browser, "question", "Who?")
    browser.run('document.getElementById("ask").click()')
    assert re.search("2,999 characters.* 2,996 ", browser.run(problem))
    assert browser.run("document.activeElement.id") == "text"
    write(browser, "text", TEA)
    write(browser, "question", "w" * 2001)
    browser.run('document.getElementById("ask").click()')
    assert re.search("2,001 characters.* first .* 2,000", browser.run(problem))
    assert browser.run('document.getElementById("results").hidden') and answerer.calls == []


def test_progress_and_stop(browser, serve, students, answerer):
    answerer.free.clear()
    open_page(browser, serve, students)
    browser.run("document.querySelectorAll('#students input').forEach((box, i) => { box.checked = i === 0; })")
    write(browser, "text", TEA)
    write(browser, "question", "Who?")
    browser.run('document.getElementById("ask").click()')
    wait(browser, 'document.getElementById("elapsed").textContent !== ""')
    assert re.fullmatch(r"0\s% read, \d+(.\d)?\sm?s", browser.run('document.getElementById("elapsed").textContent'))
    assert not browser.run('document.getElementById("working").hidden')
    browser.run('document.getElementById("stop").click()')
    wait(browser)
    assert browser.run(SHOWN) == [["first", "Stopped."]] and browser.run('document.getElementById("working").hidden')
    answerer.free.set()
    browser.run('document.getElementById("ask").click()')
    wait(browser)
    assert browser.run(SHOWN) == [["first", "The"]]


def test_examples_and_what_is_known_of_the_students(browser, serve, students, tokenizer):
    about = About("2 questions", [Example("Who <b>?", TEA, "Zoë Grün"), Example("Where?", MILL, "by the river")])
    known = Served("known", FirstWords(tokenizer), facts=("head cnn3", "encoder bert"), about=about)
    open_page(browser, serve, [known, students[2]])
    labels = browser.run('[...document.querySelectorAll("#students label")].map((label) => label.textContent)')
    assert labels == ["1known head cnn3; encoder bert; trained on 2 questions", "2large teacher"]
    for example in (*about.examples, about.examples[0]):
        browser.run('document.getElementById("example").click()')
        assert browser.run('document.getElementById("text").value') == example.context
        browser.run('document.getElementById("ask").click()')
        wait(browser)
        assert browser.run('document.getElementById("asked").textContent') == (
            f"{example.question} Reference answer: {example.answer}"
        )
    assert browser.complaints == []


def test_the_keyboard_is_enough(browser, serve, students):
    open_page(browser, serve, students)
    focused = []
    for _ in range(7):
        browser.press("Tab")
        focused.append(browser.run("document.activeElement.id || document.activeElement.value"))
    assert focused[:6] == ["text", "question", "1", "2", "3", "ask"]
    write(browser, "text", TEA)
    write(browser, "question", "Who?")
    browser.run('document.getElementById("text").focus()')
    keys = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "modifiers": 2}  # Ctrl
    browser("Input.dispatchKeyEvent", type="keyDown", **keys)
    wait(browser)
    assert browser.run(SHOWN) == [["first", "The"], ["second", "The"], ["large", "The"]]
    unlabelled = """[...document.querySelectorAll("input, textarea, button")]
      .filter((one) => !one.labels?.length && !one.textContent && !one.getAttribute("aria-label")).length"""
    assert browser.run(unlabelled) == 0


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_overflows(browser, serve, students, width):
    open_page(browser, serve, students, width=width)
    write(browser, "text", "W" * 500 + " " + TEA)
    write(browser, "question", "q" * 20)
    browser.run('document.getElementById("ask").click()')
    wait(browser)
    assert browser.run(OVERFLOWING) == []
