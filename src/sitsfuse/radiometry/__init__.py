"""Two images in, a line out: the radiometry of one sensor to that of another."""
