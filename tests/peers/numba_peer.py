"""numba with two threads: one loop for each workload, compiled for this machine, into memory that is there already."""

import math
import os

THREADS = 2
os.environ |= {"NUMBA_NUM_THREADS": str(THREADS)}

import kernels
import numba
import numpy as np
from formulas import FORMULAS, Outputs, inputs
from numba import prange
from peer import serve, summary, timed, two_arrays, uniform_summary

parallel = numba.njit(parallel=True, fastmath=False, error_model="numpy")


@numba.njit
def part(n, t):
    """Where the part of a thread begins and ends."""
    return n * t // THREADS, n * (t + 1) // THREADS


@parallel
def uniform(seed, out):
    for t in prange(THREADS):
        begin, end = part(out.size, t)
        kernels.uniform_into(seed, begin, out[begin:end])


@parallel
def arange(out):
    for t in prange(THREADS):
        begin, end = part(out.size, t)
        kernels.arange_into(begin, out[begin:end])


@parallel
def example1(x, out):
    for t in prange(THREADS):
        begin, end = part(x.size, t)
        kernels.example1_into(x[begin:end], out[begin:end])


@parallel
def total(x):
    found = 0.0
    for t in prange(THREADS):
        begin, end = part(x.size, t)
        found += kernels.total(x[begin:end])
    return found


@parallel
def apply_total(x):
    found = 0.0
    for t in prange(THREADS):
        begin, end = part(x.size, t)
        found += kernels.apply_total(x[begin:end])
    return found


@parallel
def dot(x, y):
    found = 0.0
    for t in prange(THREADS):
        begin, end = part(x.size, t)
        found += kernels.dot(x[begin:end], y[begin:end])
    return found


@parallel
def five(x, parts):
    for t in prange(THREADS):
        begin, end = part(x.size, t)
        count, added, least, greatest, squares = kernels.five(x[begin:end])
        parts[t, 0] = count
        parts[t, 1] = added
        parts[t, 2] = least
        parts[t, 3] = greatest
        parts[t, 4] = squares


def fused(scalar):
    """One loop that computes this of each element."""
    scalar = numba.njit(scalar, error_model="numpy")

    @parallel
    def loop(x, b, out):
        for i in prange(x.size):
            out[i] = scalar(x[i], b[i])

    return loop


def powers(x, b):
    x2 = x * x
    return 0.5 * (x2 * x2 * x) + 1.5 * (x2 * x2) - 2.5 * (x2 * x) + 3.0 * x2 - 4.0 * x + 5.0


def circle(x, b):
    s, c = math.sin(x), math.cos(b)
    return s * s + c * c


LOOPS = {
    "powers": fused(powers),
    "where": fused(lambda x, b: x * x if x > 0 else -x),
    "gauss": fused(lambda x, b: math.exp(-x * x / np.float32(2))),
    "log": fused(lambda x, b: math.log(abs(x) + 1)),
    "logistic": fused(lambda x, b: 1 / (1 + math.exp(-x))),
    "hypotenuse": fused(lambda x, b: math.sqrt(x * x + b * b)),
    "scale": fused(lambda x, b: x * 2.5 + 1),
    "remainder": fused(lambda x, b: np.uint64(x) % np.uint64(1000)),
    "circle": fused(circle),
    "logic": fused(lambda x, b: (x > 0) & (b < x) | (x < -50)),
}


class Peer:
    def __init__(self):
        self.outputs = Outputs()
        self.memory = np.ones(0)

    def calibrate(self, n):
        return {"settings": "one loop for each workload"}

    def compute(self, n, seed):
        x, y = two_arrays(seed, n)
        if self.memory.size != n:
            self.memory = np.ones(n)
        out, parts = self.memory, np.zeros((THREADS, 5))
        ms, check = {}, {}

        def step(name, work, told):
            result, ms[name] = timed(work)
            check[name] = told(result)

        step("generate", lambda: uniform(seed, out), lambda _: uniform_summary(out))
        step("arange", lambda: arange(out), lambda _: summary(out))
        step("sum", lambda: total(x), float)
        step("reduce5_fused", lambda: (five(x, parts), kernels.five_of(parts))[1], lambda five: list(map(float, five)))
        step("apply1", lambda: example1(x, out), lambda _: summary(out))
        step("apply1_sum", lambda: apply_total(x), float)
        step("dot", lambda: dot(x, y), float)
        return {"ms": ms, "check": check}

    def expr(self, n, seed):
        arrays = inputs(seed, n)
        times, results = {}, {}
        for name, formula in FORMULAS.items():
            operands, out = formula.operands(arrays), self.outputs.of(formula, n)
            _, times[name] = timed(lambda: LOOPS[name](operands["x"], operands["b"], out))
            results[name] = summary(out)
        return {"ms": times, "check": results}


peer = Peer()
serve(
    f"numba {numba.__version__}, {THREADS} threads",
    {"calibrate_compute": peer.calibrate, "compute": peer.compute, "expr": peer.expr},
)
