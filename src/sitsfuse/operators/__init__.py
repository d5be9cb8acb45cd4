"""Between two grids: degrade, interpolate, warp, spread a residual."""
