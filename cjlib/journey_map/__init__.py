"""The journey map: stages, touchpoints, pain, moments of truth, and the sales cycle beside them."""
