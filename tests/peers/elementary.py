"""NumPy's elementary functions, for crates/array/examples/elementary_table.rs.

usage: elementary.py FOLDER

Reads arguments from FOLDER/NAME.points.a and .b and writes the results to FOLDER/NAME.points.out, all raw doubles. Prints
for each function its name and the nanoseconds per element of FOLDER/NAME.block.a and .b, and of FOLDER/NAME.missing.a and .b,
on one thread.
"""

import pathlib
import sys
import time

import numpy

UNARY = {
    "cbrt": numpy.cbrt, "exp": numpy.exp, "expm1": numpy.expm1, "log": numpy.log, "log2": numpy.log2,
    "log10": numpy.log10, "log1p": numpy.log1p, "sin": numpy.sin, "cos": numpy.cos, "tan": numpy.tan,
    "asin": numpy.arcsin, "acos": numpy.arccos, "atan": numpy.arctan, "sinh": numpy.sinh, "cosh": numpy.cosh,
    "tanh": numpy.tanh,
}
BINARY = {"pow": numpy.power, "atan2": numpy.arctan2, "hypot": numpy.hypot, "fmod": numpy.fmod}


def nanoseconds(function, arguments):
    """The least of many times, without the making of an array for the results."""
    output = numpy.empty_like(arguments[0])
    least = float("inf")
    for _ in range(200):
        start = time.perf_counter_ns()
        for _ in range(10):
            function(*arguments, output)
        least = min(least, time.perf_counter_ns() - start)
    return least / (10 * len(output))


def main():
    folder = pathlib.Path(sys.argv[1])
    numpy.seterr(all="ignore")
    print("version", numpy.__version__)
    times = {}
    for name, function in {**UNARY, **BINARY}.items():
        def arguments(kind):
            return [numpy.fromfile(folder / f"{name}.{kind}.{which}") for which in ("ab" if name in BINARY else "a")]

        function(*arguments("points")).tofile(folder / f"{name}.points.out")
        times[name] = [nanoseconds(function, arguments(kind)) for kind in ("block", "missing")]
        print(name, *(f"{time:.2f}" for time in times[name]))
    print("sin_cos", *(f"{sin + cos:.2f}" for sin, cos in zip(times["sin"], times["cos"])))


main()
