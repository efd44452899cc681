"""Running steps: command line, errors in words, GPUs, processes, the cluster, memory, and what the screen shows."""
