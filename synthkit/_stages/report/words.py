"""Numbers and amounts as people read them."""

from __future__ import annotations

import math


def figure(value: float | None) -> str:
    """A number with three digits that count; a dash for none and for what is not a number.

    >>> [figure(value) for value in (0.18432, -12.345, 1234.5, 0.000012, 0, 1e9, math.nan, None)]
    ['0.184', '−12.3', '1,234', '1.2e-05', '0', '1e+09', '–', '–']
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        text = f"{value:.2g}"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}" if value else "0"
    return text.replace("-", "−", 1) if value < 0 else text


def measured(value: float | None, unit: str) -> tuple[str, str]:
    """A number and its unit as they are shown; a share (`of samples`, `of frames`) becomes a percentage.

    >>> measured(5.123, "dB"), measured(0.0123, "of samples"), measured(None, "of frames")
    (('5.12', 'dB'), ('1.23%', 'of samples'), ('–', ''))
    """
    if value is None or not math.isfinite(value):
        return figure(value), ""
    if unit.startswith("of "):
        return figure(100 * value) + "%", unit
    return figure(value), unit


def duration(seconds: float) -> str:
    """A length of time.

    >>> [duration(value) for value in (0.0421, 4.26, 59.96, 187, 4350, 90000)]
    ['0.04 s', '4.3 s', '1 min 00 s', '3 min 07 s', '1 h 12 min', '25 h 00 min']
    """
    if seconds < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "clip"), plural(1200, "clip"), plural(0, "entry", "entries")
    ('1 clip', '1,200 clips', '0 entries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listing(names: list[str]) -> str:
    """Names in a sentence.

    >>> listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), "".join(names[-1:])) if part)


def change(name: str, first: float, last: float) -> str:
    """How a term went, in words; with the ratio where that means something.

    >>> change("log-mel L1", 1.23, 0.45)
    'log-mel L1 fell from 1.23 to 0.450 (0.37 of its start)'
    >>> change("log-mel L1", 1.2761, 1.2764)
    'log-mel L1 stayed at 1.28'
    >>> change("adversarial", -0.5, 0.25)
    'adversarial rose from −0.500 to 0.250'
    """
    if figure(first) == figure(last):
        return f"{name} stayed at {figure(first)}"
    verb = "fell" if last < first else "rose"
    share = f" ({last / first:.2f} of its start)" if first > 0 and last >= 0 else ""
    return f"{name} {verb} from {figure(first)} to {figure(last)}{share}"
