"""Features of images by a frozen backbone: made once, kept in the cache folder, and trained on as vectors."""
