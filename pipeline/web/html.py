"""One HTML page that loads nothing: templates, packed data, and the policy that allows its own scripts alone."""

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

SHARED = Path(__file__).parent / "marks.js"


def render(template: Path, policy: dict[str, str], **values: Any) -> str:
    """The page that a template makes of values; the same values give the same page.

    Texts are escaped, except `Markup`. The template has the page's content security policy at `policy`, and the script
    that pages share at `shared`. A text that got through unescaped could neither run nor send anything.

    Args:
        policy: what the page may do besides running its inline scripts and using its inline styles: a directive's
            sources.
    """
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template(template.name).render(policy="POLICY", shared=inline(SHARED), **values)
    return page.replace("POLICY", content_security_policy(page, policy), 1)


def inline(*files: Path) -> Markup:
    """Scripts or styles for the inside of a page, one after the other."""
    return Markup("\n".join(file.read_text(encoding="utf-8") for file in files))


def pack(data: bytes) -> str:
    """Gzip in base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def content_security_policy(page: str, more: dict[str, str]) -> str:
    """A policy that allows the inline scripts of a page by their hashes, what `more` allows, and nothing else."""
    texts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    ...
