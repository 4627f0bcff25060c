"""The report as one HTML page."""

import json
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from pipeline.web import html

TEMPLATE = Path(__file__).parent / "template.html"
DIRECTIVES = {"style-src": "'unsafe-inline'"}  # Vega makes styles


def render(view: dict[str, Any], data: dict[str, Any]) -> str:
    """The page; the same arguments give the same text.

    Args:
        view: what the template shows without a script.
        data: JSON values that the page's script reads.
    """
    packed = html.pack(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    return html.render(TEMPLATE, DIRECTIVES, **view, data=packed, vega=Markup(vega()), marks=html.inline(html.MARKS))


def vega() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which makes a global of `vegaEmbed`."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
