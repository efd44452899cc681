"""The commands of `python -m caneft`, and the generator of the reference."""
