"""A source read as text and typed: every row kept, quarantined with a rule, or a duplicate."""
