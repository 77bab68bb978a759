"""Numbers as boards print them: percent, with no more digits than the spread between replicates supports."""

from __future__ import annotations

import math
from typing import Any

from bench.leaderboard.model import Row
from bench.stats.summary import Summary

DASH = "–"
MOST_DECIMALS = 2


def percent_decimals(std: float | None) -> int:
    """Decimals of a percentage whose standard deviation is the fraction `std`: two significant digits of it."""
    if std is None:
        return 1
    if std <= 0:
        return MOST_DECIMALS
    return max(0, min(MOST_DECIMALS, 1 - math.floor(math.log10(100 * std))))


def row_decimals(row: Row) -> int:
    """Decimals of a row's accuracies."""
    return percent_decimals(None if row.accuracy is None else row.accuracy.std)


def format_percent(value: float | None, places: int = 1) -> str:
    """A fraction in percent, without the sign: a true minus, and none before a zero; a dash for None."""
    if value is None:
        return DASH
    text = f"{100 * value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def format_mean_and_std(summary: Summary | None) -> str:
    """Mean and standard deviation in percent, such as "86.4 ± 1.2"; a dash for None."""
    if summary is None:
        return DASH
    places = percent_decimals(summary.std)
    mean = format_percent(summary.mean, places)
    return mean if summary.std is None else f"{mean} ± {format_percent(summary.std, places)}"


def format_interval(summary: Summary | None) -> str:
    """The 95 % interval in percent, such as "[85.5, 87.3]"; a dash where there is none."""
    if summary is None or summary.low is None:
        return DASH
    places = percent_decimals(summary.std)
    return f"[{format_percent(summary.low, places)}, {format_percent(summary.high, places)}]"


def format_difference(summary: Summary | None) -> str:
    """A difference in points with its interval, such as "−1.2 [−1.9, −0.5]"; a dash for None."""
    if summary is None:
        return DASH
    mean = format_percent(summary.mean, percent_decimals(summary.std))
    return mean if summary.low is None else f"{mean} {format_interval(summary)}"


def format_number(value: float | None, unit: float = 1.0) -> str:
    """A count or ratio in `unit` with three digits or whole, such as "1", "3.33" or "1,234"."""
    if value is None:
        return DASH
    return f"{value / unit:.3g}" if abs(value / unit) < 999.5 else f"{value / unit:,.0f}"


def format_count(value: float | None, unit: float = 1.0) -> str:
    """A large count in `unit`, whole, such as "12,345"."""
    return DASH if value is None else f"{value / unit:,.0f}"


def format_seconds(value: float | None) -> str:
    """Seconds: one decimal below ten, none above."""
    if value is None:
        return DASH
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def format_value(value: Any) -> str:
    """A value as typed: 1 for 1.0, shortest digits, true and false."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else str(value)
    return ("+".join(value) or "nothing") if isinstance(value, list | tuple) else str(value)
