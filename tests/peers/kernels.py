"""Loops over one chunk, compiled by numba: one thread, no temporary arrays, without the interpreter's lock.

Those that reduce may add in any order and take it that nothing is NaN (REORDERED), else the compiler could not use vectors. None
is faster without that, so the peers that have them lose nothing by it.
"""

import math

import numba
import numpy as np

REORDERED = {"reassoc", "contract", "nnan", "nsz"}

# Elements of which `five` takes the mean before it takes the squares of the differences from it: they stay in the cache.
BLOCK = 2048


@numba.njit(cache=True, nogil=True)
def example1_into(x, out):
    for i in range(x.size):
        s = math.sin(x[i]) + math.cos(x[i])
        out[i] = s * s / (math.sqrt(abs(x[i])) + 1.0)


@numba.njit(cache=True, nogil=True)
def apply_fused(x):
    """example1 in new memory."""
    out = np.empty_like(x)
    example1_into(x, out)
    return out


@numba.njit(cache=True, nogil=True, fastmath=REORDERED)
def total(x):
    found = 0.0
    for i in range(x.size):
        found += x[i]
    return found


@numba.njit(cache=True, nogil=True, fastmath=REORDERED)
def apply_total(x):
    """The sum of example1, which is not kept."""
    found = 0.0
    for i in range(x.size):
        s = math.sin(x[i]) + math.cos(x[i])
        found += s * s / (math.sqrt(abs(x[i])) + 1.0)
    return found


@numba.njit(cache=True, nogil=True, fastmath=REORDERED)
def dot(x, y):
    found = 0.0
    for i in range(x.size):
        found += x[i] * y[i]
    return found


@numba.njit(cache=True, nogil=True, fastmath=REORDERED)
def five(x):
    """Number, sum, least, greatest, and the sum of the squared differences from the mean: memory is gone through once."""
    count, added, least, greatest, squares = 0, 0.0, np.inf, -np.inf, 0.0
    for begin in range(0, x.size, BLOCK):
        block = x[begin : begin + BLOCK]
        block_sum = 0.0
        for i in range(block.size):
            block_sum += block[i]
            least = min(least, block[i])
            greatest = max(greatest, block[i])
        mean = block_sum / block.size
        block_squares = 0.0
        for i in range(block.size):
            difference = block[i] - mean
            block_squares += difference * difference
        if count > 0:
            apart = mean - added / count
            squares += apart * apart * count * block.size / (count + block.size)
        squares += block_squares
        count += block.size
        added += block_sum
    return count, added, least, greatest, squares


def five_of(parts):
    """Sum, min, max, mean, standard deviation, from what `five` says of the parts."""
    count, added = sum(part[0] for part in parts), sum(part[1] for part in parts)
    mean = added / count
    squares = sum(part[4] + part[0] * (part[1] / part[0] - mean) ** 2 for part in parts)
    return [added, min(part[2] for part in parts), max(part[3] for part in parts), mean, math.sqrt(squares / count)]


@numba.njit(cache=True, nogil=True)
def uniform_into(seed, start, out):
    """Elements `start` and on of this seed, uniform in [0, 1): SplitMix64, some ten times faster than NumPy's generators."""
    begin = np.uint64(start) + np.uint64(1)
    for i in range(out.size):
        z = np.uint64(seed) + (begin + np.uint64(i)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        out[i] = (z >> np.uint64(11)) * 2.0**-53


@numba.njit(cache=True, nogil=True)
def arange_into(start, out):
    for i in range(out.size):
        out[i] = start + i


def uniform(seed, start, size):
    """In new memory."""
    out = np.empty(size)
    uniform_into(seed, start, out)
    return out


def arange(start, size):
    """In new memory."""
    out = np.empty(size)
    arange_into(start, out)
    return out
