"""Images where a run keeps them: on the device, in memory, or on disk."""
