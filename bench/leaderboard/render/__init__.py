"""Reports as Markdown, terminal text, JSON and CSV."""
