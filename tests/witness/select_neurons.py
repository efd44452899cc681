"""Recomputes the consensus selection from importance dumps, with loops and sklearn; shares no code with caneft."""

import argparse
import math
import sys
from fractions import Fraction

import numpy as np
from sklearn.metrics import mutual_info_score

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--dumps", nargs="+", required=True, help="one .npy (layers, samples, neurons) per domain")
parser.add_argument("--fraction", type=Fraction, required=True)
parser.add_argument("--task-relevant", type=Fraction, default=Fraction(1))
parser.add_argument("--bins", type=int, default=10)
parser.add_argument("--out")
parser.add_argument("--compare", help="a neuron set .npz; exit 1 if it is another set")
args = parser.parse_args()

dumps = [np.load(path) for path in args.dumps]
layers, _, width = dumps[0].shape
labels = np.repeat(np.arange(len(dumps)), [dump.shape[1] for dump in dumps])
candidates = set(range(layers * width))
for dump in dumps:
    means = [dump[n // width, :, n % width].astype(np.float64).mean() for n in range(layers * width)]
    threshold = sorted(means, reverse=True)[math.ceil(args.task_relevant * len(means)) - 1]
    candidates &= {n for n, mean in enumerate(means) if mean >= threshold}
scores = {}
for n in candidates:
    pooled = np.concatenate([dump[n // width, :, n % width] for dump in dumps]).astype(np.float64)
    # float32 removes the rounding error of an edge that is itself a (float16) score, so that x >= edge holds there
    edges = np.quantile(pooled, np.arange(1, args.bins) / args.bins).astype(np.float32)
    bins = np.digitize(pooled, edges)
    # 12 decimals: neurons with the same counts tie, in whatever order the sum was taken
    scores[n] = round(min(mutual_info_score(bins, labels == domain) for domain in range(len(dumps))), 12)
budget = max(1, round(args.fraction * layers * width))
selected = np.array(sorted(sorted(candidates, key=lambda n: (-scores[n], n))[:budget]))

if args.out:
    np.save(args.out, selected)
if args.compare:
    with np.load(args.compare) as other:
        difference = np.setxor1d(selected, other["layer"].astype(int) * width + other["neuron"])
    print(f"{len(difference)} neurons differ:", *difference)
    sys.exit(int(len(difference) > 0))
elif not args.out:
    print(*selected)
