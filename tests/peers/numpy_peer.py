"""NumPy in one process: formulas as they are written, on memory that is there already."""

import numpy as np
from formulas import FORMULAS, inputs
from peer import example1, serve, summary, timed, two_arrays, uniform_summary, values


def one_round(n, seed):
    x = values(seed, n)
    result, apply1 = timed(lambda: example1(x))
    return {"ms": {"apply1": apply1}, "result": summary(result)}


def compute(n, seed):
    x, y = two_arrays(seed, n)
    out = np.ones(n)
    rng = np.random.default_rng(seed)
    ms, check = {}, {}

    def step(name, work, told):
        result, ms[name] = timed(work)
        check[name] = told(result)

    step("generate", lambda: rng.random(out=out), uniform_summary)
    step("arange", lambda: np.arange(n, dtype=np.float64), summary)
    step("sum", lambda: x.sum(), float)
    step("reduce5_fused", lambda: [x.sum(), x.min(), x.max(), x.mean(), x.std()], lambda five: list(map(float, five)))
    step("apply1", lambda: example1(x), summary)
    step("apply1_sum", lambda: example1(x).sum(), float)
    step("dot", lambda: np.dot(x, y), float)
    return {"ms": ms, "check": check}


def expr(n, seed):
    arrays = inputs(seed, n)
    times, results = {}, {}
    for name, formula in FORMULAS.items():
        operands = formula.operands(arrays)
        result, times[name] = timed(lambda: formula.numpy(**operands))
        results[name] = summary(result)
    return {"ms": times, "check": results}


def calibrate(n):
    return {"settings": "the formulas as they are written"}


serve(
    f"NumPy {np.__version__}, one process",
    {"calibrate": calibrate, "round": one_round, "calibrate_compute": calibrate, "compute": compute, "expr": expr},
)
