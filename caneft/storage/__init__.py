"""Files of results: written whole or not at all, read within bounds, checked, and said what made them."""
