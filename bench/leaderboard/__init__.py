"""Leaderboards: records -> selection -> statistics -> Markdown, JSON, CSV. Pure, and needs no torch.

report = build(records, failures=..., left_out=..., select="last", commands={setting id: what was typed})
write(report, Path("leaderboards"))          # one Markdown file for each data set
as_text(report), as_markdown(report), as_json(report), as_csv(report)
"""

from bench.leaderboard.choose import RULES
from bench.leaderboard.export import as_csv, as_json
from bench.leaderboard.files import write
from bench.leaderboard.markdown import as_markdown
from bench.leaderboard.model import Board, Replicate, Report, Row, Table
from bench.leaderboard.tables import build, reportable
from bench.leaderboard.text import as_lines, as_text

__all__ = [
    "RULES",
    "Board",
    "Replicate",
    "Report",
    "Row",
    "Table",
    "as_csv",
    "as_json",
    "as_lines",
    "as_markdown",
    "as_text",
    "build",
    "reportable",
    "write",
]
