"""A run: notebooks executed, verified, made into pages, scanned and published by one rename."""

import sys

# Spares nbformat, and what builds on it, seconds of import: an optional check of URLs.
sys.modules.setdefault("rfc3987_syntax", None)
