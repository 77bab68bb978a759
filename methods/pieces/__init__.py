"""What several methods are built from, as pure functions: each once, under the field's name for it."""
