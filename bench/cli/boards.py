"""Tables and comparisons on standard output: compact on a terminal, and Markdown, JSON or CSV in full elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

from bench.leaderboard import tuning_gains
from bench.reporting.publish import Publication, Record
from bench.system.console import print_note, write_json, write_text


def print_boards(publication: Publication, form: str, settings: Collection[str] | None = None) -> None:
    """Print the tables of these settings (ids; None: all), and note the files that hold the boards in full."""
    from bench.leaderboard.render import markdown, structured

    report, gains = publication.report, publication.gains
    if form == "json":
        tuned = {"tuned": tuning_gains.gains_as_json(gains)} if gains else {}
        write_json(structured.report_as_json(report, settings) | tuned)
    elif form == "csv":
        write_text(structured.report_as_csv(report, settings))
    elif sys.stdout.isatty():
        _print_on_terminal(publication, settings)
    else:
        write_text(markdown.report_as_markdown(report, settings))
    if gains and form == "md":
        write_text(f"\n{tuning_gains.HEADING}\n\n{tuning_gains.gains_table(gains)}")
    for path in publication.files:
        print_note(f"wrote {path}")


def _print_on_terminal(publication: Publication, settings: Collection[str] | None) -> None:
    """Print the tables as compactly as the terminal's width wants them."""
    from rich.console import Console
    from rich.text import Text

    from bench.leaderboard.render import terminal

    console = Console(highlight=False, soft_wrap=True)
    for line in terminal.report_as_lines(publication.report, settings, console.width):
        console.print(Text(line.text, style="bold" if line.strong else ""))


def print_comparison(
    records: Sequence[Record], failures: Sequence[Record], select: str, method: str, form: str
) -> None:
    """Print the paired differences of every row to one method; writes no board."""
    from bench import registry
    from bench.leaderboard import comparison
    from bench.leaderboard.tables import build_report

    method = next((name for name, entry in registry.methods().items() if method in entry["aliases"]), method)
    report = build_report(records, failures=failures, select=select)
    comparisons = comparison.compare_rows(report, method, oracle=build_report(records, select="best-test"))
    if form == "json":
        write_json(comparison.comparison_as_json(comparisons, select))
    elif form == "csv":
        write_text(comparison.comparison_as_csv(comparisons, select))
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        for line in comparison.comparison_as_markdown(comparisons, select, short_names=True).splitlines():
            write_text(line if line.startswith("|") else textwrap.fill(line, width))
    else:
        write_text(comparison.comparison_as_markdown(comparisons, select))
