"""What is stored: the schema of records, atomic files, claims, and merging."""
