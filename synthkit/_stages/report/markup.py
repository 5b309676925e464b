"""HTML that is escaped by construction: text becomes markup only through `element`, never by gluing strings."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already; every other `str` is escaped when it becomes content or an attribute."""

    __slots__ = ()


_VOID = frozenset({"meta", "link", "img", "br", "input"})


def content(*parts: str | None) -> Markup:
    """The parts one after the other; `Markup` as it is, text escaped, None left out.

    >>> content(Markup("<br>"), "a < b", None)
    '<br>a &lt; b'
    """
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts if part is not None))


def element(name: str, /, *parts: str | None, **attributes: str | float | bool | None) -> Markup:
    """An element with escaped content and attributes.

    An attribute of the value None or False is left out, True is written bare; `class_` is `class`, `data_id` is `data-id`.

    >>> element("p", "1 < 2", class_="a", data_name='"', hidden=True, title=None)
    '<p class="a" data-name="&quot;" hidden>1 &lt; 2</p>'
    """
    opening = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        opening += " " + key.rstrip("_").replace("_", "-")
        if value is not True:
            opening += f'="{escape(str(value))}"'
    if name in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{content(*parts)}</{name}>")


def join(parts: list[Markup], separator: str = "\n") -> Markup:
    """Markup pieces with white space between them."""
    return Markup(separator.join(parts))
