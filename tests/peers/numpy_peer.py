"""NumPy in one process: the formula as it is written, on memory that is there already."""

import numpy as np
from peer import example1, serve, summary, timed, values


def one_round(n, seed):
    x = values(seed, n)
    result, apply1 = timed(lambda: example1(x))
    return {"ms": {"apply1": apply1}, "result": summary(result)}


def calibrate(n):
    return {"settings": "the formula as it is written"}


serve(f"NumPy {np.__version__}, one process", {"calibrate": calibrate, "round": one_round})
