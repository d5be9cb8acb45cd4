"""Made-up scenes, products and results that several tests share."""
