"""Customer journeys: from an event log to a published report."""

__version__ = "0.1.0"
