"""One thin command line per step: parse, call the package, write."""
