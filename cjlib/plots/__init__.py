"""Pictures: every function takes an `ax` and returns it."""
