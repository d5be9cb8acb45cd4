"""Products at their providers: search and download."""
