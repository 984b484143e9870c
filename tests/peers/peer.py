"""What the peers share: how they are asked, the values, the formula, and what is told of a result.

Each peer is a process that reads one JSON line for each request from standard input and answers with one JSON line; README.md
in this folder has the requests. A request that fails is answered with {"error": ...}. The peer ends when its input does.
"""

import json
import math
import os
import sys
import time
import traceback

import numpy as np

# SplitMix64, as in crates/array/src/random.rs: the same seed gives the values that darray and the judge have.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
LOW, HIGH = -100.0, 100.0

# The seeds of the second array of a round are so far from those of the first.
SECOND = 1_000_000

# Which elements of a result are told to the judge, beside their sum. A prime, so that they are at every place in a block.
SAMPLED = 997


# The cores this process may use. Workers and threads that compute have one each: left alone, the system now and then has two of them
# wait for each other on one core.
CORES = sorted(os.sched_getaffinity(0))


# What libraries and the processes of the peer print must not come between the answers: it goes to standard error.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def values(seed, n):
    """The array of this seed: float64, uniform from -100 to 100."""
    z = np.arange(1, n + 1, dtype=np.uint64)
    z *= GAMMA
    z += np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return LOW + (z >> np.uint64(11)) * 2.0**-53 * (HIGH - LOW)


def two_arrays(seed, n):
    """Those of a round that computes."""
    return values(seed, n), values(seed + SECOND, n)


def example1(x):
    """As anybody writes it with NumPy; Dask's arrays take it too."""
    return (np.sin(x) + np.cos(x)) ** 2 / (np.sqrt(np.abs(x)) + 1.0)


def summary(result):
    """What the judge compares with its own."""
    total = result.sum(dtype=np.float64)
    return {"length": result.size, "sum": float(total), "samples": result[::SAMPLED].astype(np.float64).tolist()}


def uniform_summary(result):
    """What the judge must be content with where each has numbers of its own."""
    moments = {"min": result.min(), "max": result.max(), "mean": result.mean(), "variance": result.var()}
    return summary(result) | {name: float(value) for name, value in moments.items()}


def keep_on_core(thread, number):
    """Has a thread, 0 for the one that calls, and those that it starts run on one core only."""
    os.sched_setaffinity(thread, {CORES[number % len(CORES)]})


def timed(work):
    """The result and the milliseconds."""
    begun = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - begun) * 1e3


def best_of(candidates, measure, rounds=3):
    """The candidate whose times, the medians multiplied, are least. One more round of each goes before, uncounted."""
    scores = []
    for candidate in candidates:
        measured = [measure(candidate) for _ in range(1 + rounds)][1:]
        medians = [sorted(times)[rounds // 2] for times in zip(*measured)]
        scores.append(math.prod(medians))
    return candidates[scores.index(min(scores))]


def serve(what, handlers):
    """Says what it is, then answers until nobody asks any more."""
    print(json.dumps({"ready": what}), file=ANSWERS)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("workload")](**request)
        except Exception as why:
            traceback.print_exc()
            answer = {"error": f"{type(why).__name__}: {why}"}
        print(json.dumps(answer), file=ANSWERS)
