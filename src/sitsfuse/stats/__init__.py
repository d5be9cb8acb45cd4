"""NumPy in, numbers out: robust fits, quantiles, tests, noise. No image has a place here."""
