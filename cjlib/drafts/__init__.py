"""A dataset file drafted from a log: what `cj new` does."""
