"""Leaderboards: records -> rows by setting -> statistics -> Markdown, JSON, CSV. Needs no torch."""

from bench.leaderboard.rows import SELECTIONS, Report, Row, Setting, build
from bench.leaderboard.structured import as_csv, as_json
from bench.leaderboard.text import as_markdown, write

__all__ = ["SELECTIONS", "Report", "Row", "Setting", "as_csv", "as_json", "as_markdown", "build", "write"]
