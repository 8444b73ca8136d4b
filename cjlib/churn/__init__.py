"""Who stays away after buying: cut-offs, candidates, evaluation, reasons and the action list."""
