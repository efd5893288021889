"""How fast it is, beside something known, in one run: ratios, never a number alone."""
