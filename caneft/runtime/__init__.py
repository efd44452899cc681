"""How a step runs: its command line, its errors in words, its GPUs and processes, the cluster."""
