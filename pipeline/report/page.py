"""One HTML page from a template: every text escaped, the data compressed, nothing loaded from elsewhere."""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)


def render(view: dict[str, Any], data: dict[str, Any]) -> str:
    """The page; the same arguments give the same text.

    The page's policy allows the scripts of the page itself, by their hashes, and no connection: a text that got through
    unescaped could neither run nor send anything.

    Args:
        view: what the template shows without a script.
        data: JSON values that the page's script reads.
    """
    page = TEMPLATES.get_template("template.html").render(
        **view, data=compress(data), vega=Markup(vega()), policy="POLICY"
    )
    return page.replace("POLICY", policy(page), 1)


def compress(data: dict[str, Any]) -> str:
    """JSON as gzip in base64; the same values give the same text."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def vega() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which makes a global of `vegaEmbed`."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def policy(page: str) -> str:
    """A content security policy that allows the inline scripts of a page and loads nothing."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'"
