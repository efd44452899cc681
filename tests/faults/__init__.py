"""Faults made on purpose while the workflow runs: `python -m tests.faults --seed 1 --number 50`."""
