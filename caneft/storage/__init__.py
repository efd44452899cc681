"""Result files: written whole or not at all, read within bounds, verified, and recorded with what made them."""
