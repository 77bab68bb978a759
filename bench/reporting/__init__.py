"""Records and what was typed -> boards on disk."""
