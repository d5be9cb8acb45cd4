"""The compiled loops of the window methods."""
