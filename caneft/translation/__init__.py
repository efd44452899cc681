"""Translating test sets with a tuned model."""
