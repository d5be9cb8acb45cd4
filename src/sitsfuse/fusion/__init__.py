"""Dates × tiles: the loop that all methods share, and where its images go."""
