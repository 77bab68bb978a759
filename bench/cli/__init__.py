"""From typed words to a command; pages and messages for people."""
