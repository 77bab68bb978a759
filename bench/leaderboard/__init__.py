"""Leaderboards: records -> selection -> statistics -> Markdown, JSON, CSV. Pure, and needs no torch.

report = build(records, failures=..., left_out=..., select="last", commands={setting id: what was typed})
write(report, Path("leaderboards"))          # one Markdown file for each data set
as_text(report), as_markdown(report), as_json(report), as_csv(report)
"""

from __future__ import annotations

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
