"""Where a fusion goes, and what is already there."""
