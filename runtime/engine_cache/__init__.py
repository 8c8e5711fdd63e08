"""Built engines on disk: found again, checked, explained where they cannot be used, and rebuilt."""
