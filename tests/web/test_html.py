import base64
import gzip
import hashlib
import re

import pytest

from pipeline.web import html


def content_security_policy(page):
    """The directives of a page's policy with their sources, and the hashes of its inline scripts and styles."""
    allowed = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    directives = {name: sources for name, *sources in map(str.split, allowed.split(";"))}
    hashes = {}
    for tag in ("script", "style"):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        hashes[tag] = [f"'sha256-{digest}'" for digest in digests]
    return directives, hashes


@pytest.fixture
def template(tmp_path):
    (tmp_path / "a.html").write_text(
        '<meta http-equiv="Content-Security-Policy" content="{{ policy }}"><style>b {}</style>'
        "<title>{{ title }}</title><script>{{ script }}</script><script>second</script>"
    )
    (tmp_path / "a.js").write_text('const a = "é" && 1 < 2;')
    return tmp_path / "a.html"


def test_texts_are_escaped_and_scripts_are_allowed_by_their_hashes(template):
    script = html.inline(template.with_name("a.js"), template.with_name("a.js"))
    page = html.render(template, {"img-src": "data:"}, title="</title><script>POLICY</script>", script=script)
    assert '<script>const a = "é" && 1 < 2;\nconst a' in page and "<script>POLICY" not in page
    directives, hashes = content_security_policy(page)
    assert len(hashes["script"]) == 2 and len(hashes["style"]) == 1
    assert directives == {
        "default-src": ["'none'"],
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "img-src": ["data:"],
    }


def test_directives_replace_the_usual_ones(template):
    page = html.render(template, {"style-src": "'unsafe-inline'"}, title="", script="")
    assert content_security_policy(page)[0]["style-src"] == ["'unsafe-inline'"]


def test_the_same_bytes_are_packed_alike():
    assert html.pack(b"some bytes") == html.pack(b"some bytes")
    assert gzip.decompress(base64.b64decode(html.pack(b"some bytes"))) == b"some bytes"
