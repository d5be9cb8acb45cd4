"""Measurements of time, memory and accuracy; each prints a table."""
