"""Fuse sparse sharp and dense coarse satellite image time series."""
