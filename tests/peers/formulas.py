"""The ten formulas that are computed as expressions, as numexpr and NumPy have them.

../src/bin/bench/formulas.rs has the same ten for darray and the judge, by the same names.
"""

from typing import Callable, NamedTuple

import numpy as np
from peer import two_arrays


class Inputs(NamedTuple):
    """The arrays of a round. What formulas call x is one of the first four."""

    double: np.ndarray
    int32: np.ndarray
    int64: np.ndarray
    single: np.ndarray
    b: np.ndarray


class Formula(NamedTuple):
    x: str  # which of the inputs
    result: type
    numexpr: str
    numpy: Callable

    def operands(self, inputs):
        return {"x": getattr(inputs, self.x), "b": inputs.b}


FORMULAS = {
    "powers": Formula(
        "double",
        np.float64,
        "0.5*x**5 + 1.5*x**4 - 2.5*x**3 + 3.0*x**2 - 4.0*x + 5.0",
        lambda x, b: 0.5 * x**5 + 1.5 * x**4 - 2.5 * x**3 + 3.0 * x**2 - 4.0 * x + 5.0,
    ),
    "where": Formula("double", np.float64, "where(x > 0, x*x, -x)", lambda x, b: np.where(x > 0, x * x, -x)),
    "gauss": Formula("single", np.float32, "exp(-x*x/2)", lambda x, b: np.exp(-x * x / 2)),
    "log": Formula("double", np.float64, "log(abs(x) + 1)", lambda x, b: np.log(np.abs(x) + 1)),
    "logistic": Formula("double", np.float64, "1/(1 + exp(-x))", lambda x, b: 1 / (1 + np.exp(-x))),
    "hypotenuse": Formula("double", np.float64, "sqrt(x*x + b*b)", lambda x, b: np.sqrt(x * x + b * b)),
    "scale": Formula("int32", np.float64, "x*2.5 + 1", lambda x, b: x * 2.5 + 1),
    "remainder": Formula("int64", np.int64, "x % 1000", lambda x, b: x % 1000),
    "circle": Formula("double", np.float64, "sin(x)**2 + cos(b)**2", lambda x, b: np.sin(x) ** 2 + np.cos(b) ** 2),
    "logic": Formula(
        "double",
        np.bool_,
        "(x > 0) & (b < x) | (x < -50)",
        lambda x, b: (x > 0) & (b < x) | (x < -50),
    ),
}


def inputs(seed, n):
    """The arrays of a seed. int64 has no negative numbers, for which numexpr's remainder is not NumPy's."""
    x, b = two_arrays(seed, n)
    return Inputs(x, (x * 1e4).astype(np.int32), (np.abs(x) * 1e10).astype(np.int64), (x / 20).astype(np.float32), b)


class Outputs:
    """Memory for results, one array of each type: it is there already, and used by one formula after the other."""

    def __init__(self):
        self.arrays = {}

    def of(self, formula, n):
        array = self.arrays.get(formula.result)
        if array is None or array.size != n:
            array = self.arrays[formula.result] = np.ones(n, dtype=formula.result)
        return array
