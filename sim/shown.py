"""Values as a reader of the report sees them."""

import unicodedata
from typing import Any

from jinja2 import ChainableUndefined

MISSING = "–"
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of characters


def shown(value: Any) -> Any:
    """What a reader sees of a value: three significant digits, a dash for what is missing."""
    if value is None or isinstance(value, ChainableUndefined):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return harmless(value) if type(value) is str else value  # markup is a subclass: leave it


def number(value: float) -> str:
    """Three significant digits, without an exponent from 0.0001 up; NaN is missing."""
    if value != value:
        return MISSING
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def decimals(value: float | None) -> str:
    """Three decimals, so that scores of one column line up; null is missing."""
    return MISSING if value is None or value != value else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share as a percentage; null is missing."""
    if share is None or isinstance(share, ChainableUndefined):
        return MISSING
    return f"{100 * share:.3g} %"


def harmless(text: str) -> str:
    r"""Text in which control, bidi and other invisible characters are spelt out as \uXXXX."""
    text = text.replace("\r\n", "\n")
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in UNSEEN else _spelt(letter)
        for letter in text
    )


def _spelt(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
