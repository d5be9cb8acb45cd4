"""Two images in, a displacement out: one window, many windows, a field through them."""
