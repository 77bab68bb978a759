"""Leaderboards: records -> rows -> tables -> Markdown, terminal, JSON, CSV. Pure, and needs no torch.

`tables.build_report` makes the report, `render` prints it: one module for each form. All forms read the same lists of
columns (`columns`, `detail_columns`) and, for people, the same sections (`sections`).
"""
