import base64
import gzip
import json
import re

import pytest

from pipeline.report import page
from pipeline.report.content import build
from tests.web.test_html import content_security_policy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(entries, costs, records, clusters, teacher):
    return build(entries, costs, "linear alpha=1.0", clusters, records, {"large": teacher})


@pytest.fixture(scope="module")
def text(parts):
    return page.render(*parts)


def unpacked(text):
    packed = re.search(r'<script id="data"[^>]*>(.*?)</script>', text)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_the_page_holds_the_data(parts, text):
    assert unpacked(text) == json.loads(json.dumps(parts[1]))


def test_the_same_content_gives_the_same_page(parts, text):
    assert page.render(*parts) == text


def test_the_page_names_no_address(parts, text):
    """Vega's JavaScript holds addresses of schemas and namespaces, which it does not load; the policy forbids it to."""
    own = text.replace(page.vega(), "")
    assert not re.findall(r"https?://|src=|url\(|@import", own)


def test_the_policy_allows_the_scripts_of_the_page_alone(text):
    directives, hashes = content_security_policy(text)
    assert len(hashes["script"]) == 2
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == hashes["script"]


def test_markup_in_names_is_escaped(parts):
    view = {**parts[0], "baseline": "</title><script>alert(1)</script>"}
    assert "<script>alert" not in page.render(view, parts[1])


def test_nan_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        page.render({}, {"f1": float("nan")})
