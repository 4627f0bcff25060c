"""The page in WebKit, opened from disk: its worker may import no blob, since the page has no origin."""

import json

import pytest

from pipeline.web.page.build import read, render
from tests import webkit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("webkit"),
    pytest.mark.skipif(webkit.MISSING is not None, reason=str(webkit.MISSING)),
]


def test_the_page_answers_from_disk_as_python_does(tmp_path, exported, engine):
    page = tmp_path / "page.html"
    page.write_text(render(read(exported.folder, "float32"), engine), encoding="utf-8")
    pairs = [[record["question"], record["context"]] for record in exported.records[:20]]
    with webkit.webkit() as browser:
        browser.open(page)
        assert browser.run("return document.querySelector('.error')?.textContent") is None
        found = browser.wait(
            f"(async () => {{ const all = []; for (const pair of {json.dumps(pairs)})"
            " all.push((await ask(...pair)).replies.map((reply) => [reply.text, ...reply.codePoints])); done(all); })()"
        )
    expected = [[[reply.text, reply.start, reply.end] for reply in replies] for replies in exported.replies[:20]]
    assert found == expected
