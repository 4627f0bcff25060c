"""One HTML page in one file: it loads nothing, and its policy allows only its own scripts."""

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

MARKS = Path(__file__).parent / "marks.js"  # what the scripts of all pages share
DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "{script}",
    "style-src": "{style}",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def render(template: Path, directives: dict[str, str], **values: Any) -> str:
    """The page that a template makes of some values; the same values give the same text.

    All values are escaped but `Markup`. Even a text that was not escaped could not run or send anything, because of the
    content security policy, which the template places by `policy`.

    Args:
        directives: of the policy, instead of those in `DIRECTIVES`. `{script}` and `{style}` stand for the page's own.
    """
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template(template.name).render(**values, policy="POLICY")
    return page.replace("POLICY", policy(page, {**DIRECTIVES, **directives}), 1)


def inline(*files: Path) -> Markup:
    """The text of scripts or styles."""
    return Markup("\n".join(file.read_text(encoding="utf-8") for file in files))


def pack(data: bytes) -> str:
    """Gzip in base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def policy(page: str, directives: dict[str, str]) -> str:
    """A content security policy. `{script}` and `{style}` in it become the hashes of the page's scripts and styles."""
    hashes = {}
    for tag in ("script", "style"):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        hashes[tag] = " ".join(f"'sha256-{digest}'" for digest in digests)
    return "; ".join(f"{name} {sources.format(**hashes)}" for name, sources in directives.items())
