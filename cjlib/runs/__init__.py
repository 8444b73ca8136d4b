"""A run: notebooks executed, verified, made into pages, scanned and published by one rename."""
