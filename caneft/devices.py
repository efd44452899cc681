"""Where tensors live, and how many threads work on them."""

import torch


def prepare(threads: int, seed: int | None = None) -> torch.device:
    """Device of this process: the first visible GPU, else the CPU with so many threads. Seeds torch if asked to."""
    torch.set_num_threads(threads)
    if seed is not None:
        torch.manual_seed(seed)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
