"""numexpr with two threads, into memory that is there already.

Its reductions run on one thread, so what is reduced is computed into memory first and NumPy adds it up, if that is faster here.
"""

import os

THREADS = 2
os.environ |= {"NUMEXPR_MAX_THREADS": str(THREADS), "NUMEXPR_NUM_THREADS": str(THREADS)}

import numexpr
import numpy as np
from formulas import FORMULAS, Outputs, inputs
from peer import best_of, keep_on_core, serve, summary, timed, two_arrays

EXAMPLE1 = "(sin(x) + cos(x))**2/(sqrt(abs(x)) + 1)"


class Peer:
    def __init__(self):
        self.start_threads()
        self.outputs = Outputs()
        self.memory = np.ones(0)
        self.total = self.total_by_numexpr

    def start_threads(self):
        """Each on its core."""
        threads = set(os.listdir("/proc/self/task"))
        numexpr.set_num_threads(1)
        numexpr.set_num_threads(THREADS)
        numexpr.evaluate("x + 1", {"x": np.ones(1 << 20)})
        for number, thread in enumerate(set(os.listdir("/proc/self/task")) - threads):
            keep_on_core(int(thread), number)

    def evaluate(self, expression, operands, out):
        return numexpr.evaluate(expression, operands, out=out, optimization="aggressive", casting="safe")

    def total_by_numexpr(self, expression, operands):
        return float(numexpr.evaluate(f"sum({expression})", operands))

    def total_by_numpy(self, expression, operands):
        return float(self.evaluate(expression, operands, self.memory).sum())

    def calibrate(self, n):
        x, y = two_arrays(0, n)
        ways = (self.total_by_numexpr, self.total_by_numpy)

        def measure(way):
            self.total = way
            times, _ = self.measure(x, y)
            return [times["apply1_sum"], times["dot"]]

        self.total = best_of(ways, measure)
        way = "by numexpr on one thread" if self.total == self.total_by_numexpr else "by NumPy, once computed"
        return {"settings": f"sums of expressions {way}"}

    def compute(self, n, seed):
        times, check = self.measure(*two_arrays(seed, n))
        return {"ms": times, "check": check}

    def measure(self, x, y):
        if self.memory.size != x.size:
            self.memory = np.ones(x.size)
        operands = {"x": x, "y": y}
        added, sum_ms = timed(lambda: float(numexpr.evaluate("sum(x)", operands)))
        applied, apply_ms = timed(lambda: self.evaluate(EXAMPLE1, operands, self.memory))
        applied = summary(applied)
        apply_sum, apply_sum_ms = timed(lambda: self.total(EXAMPLE1, operands))
        product, dot_ms = timed(lambda: self.total("x*y", operands))
        times = {"sum": sum_ms, "apply1": apply_ms, "apply1_sum": apply_sum_ms, "dot": dot_ms}
        return times, {"sum": added, "apply1": applied, "apply1_sum": apply_sum, "dot": product}

    def expr(self, n, seed):
        arrays = inputs(seed, n)
        times, results = {}, {}
        for name, formula in FORMULAS.items():
            operands, out = formula.operands(arrays), self.outputs.of(formula, n)
            result, times[name] = timed(lambda: self.evaluate(formula.numexpr, operands, out))
            results[name] = summary(result)
        return {"ms": times, "check": results}


peer = Peer()
serve(
    f"numexpr {numexpr.__version__}, {THREADS} threads",
    {"calibrate_compute": peer.calibrate, "compute": peer.compute, "expr": peer.expr},
)
