"""The workflow's own Python: thin steps that the rules call. A package, so that `python -m` finds it first."""
