"""Writes cases.txt: what NumPy makes of expressions, for the test numpy.rs.

    python3 -m venv /tmp/numpy && /tmp/numpy/bin/pip install numpy==2.4.6
    NPY_DISABLE_CPU_FEATURES="AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4" \
        /tmp/numpy/bin/python crates/array/tests/numpy/make_cases.py

Without those features NumPy takes the elementary functions of the C library, which are within 1 unit in the last place;
with them, those of SVML, which are within 4.

The file has lines of words:

    input NAME DTYPE VALUES
    case X Y DTYPE ULPS VALUES : EXPRESSION
    made REQUESTED DTYPE SHAPE VALUES : GENERATOR

X and Y name inputs, Y may be `-`. A value is a decimal int, 0 or 1, `n` for NaN, or the hexadecimal bits of a float without the
zeros at the end. `!` is an element that darray refuses, `?` one of which nothing is said. Instead of `DTYPE ULPS VALUES` there
is `refused`, if darray refuses the expression: NumPy does too, or its result has a dtype that darray does not compute.
REQUESTED is a dtype or `-`, and SHAPE like `2,3`, or `()`.
"""

import itertools
import pathlib
import warnings

import numpy as np

np.seterr(all="ignore")
warnings.simplefilter("ignore")

COMPUTED = ["bool", "int32", "int64", "float32", "float64"]
INF, NAN = np.inf, np.nan


def edges(dtype):
    """Few values, as all pairs of them are taken."""
    if dtype == "bool":
        return [False, True]
    if dtype.startswith("int"):
        info = np.iinfo(dtype)
        return [0, 1, -1, 2, -7, 5, 31, info.min, info.max]
    tiny = np.finfo(dtype).smallest_subnormal
    return [0.0, -0.0, 1.0, -1.5, 2.5, -7.0, 0.1, INF, -INF, NAN, np.finfo(dtype).max, tiny]


def many(dtype):
    """More values, for functions of one."""
    if dtype == "bool":
        return [False, True]
    if dtype == "int32":
        return [0, 1, -1, 2, -2, 3, -7, 9, 10, 100, -1000, 46341, 16777217, 2**31 - 1, -(2**31)]
    if dtype == "int64":
        more = [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 513, 2**63 - 1, -(2**63)]
        return [0, 1, -1, 2, -7, 10, 16777217] + more
    values = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.5, -2.5, 0.1, 3.0, -3.75, 10.0, 100.25, 1e10, -1e-10, INF, -INF, NAN]
    if dtype == "float64":
        values += [0.49999999999999994, 4503599627370497.5, 1e300, 5e-324, 2.0**31 - 0.5, 2.0**31, -(2.0**31) - 0.9]
        values += [-(2.0**31) - 1, 2.0**63, 2.0**63 - 1024, -(2.0**63), -(2.0**63) - 2048, 16777217.0, 1e-46, 3.5e38]
    else:
        values += [8388609.0, 3e38, 1e-45, 2.0**31, 2.0**31 - 128, -(2.0**31), -(2.0**31) - 256, 2.0**63, -(2.0**63), 2.0**63 - 2.0**39]
    return values


def text_of(value, dtype):
    if dtype == "bool":
        return str(int(value))
    if dtype.startswith("int"):
        return str(int(value))
    if np.isnan(value):
        return "n"
    width = np.dtype(dtype).itemsize
    bits = np.array(value, dtype).view(f"u{width}")
    return f"{int(bits):0{2 * width}x}".rstrip("0") or "0"


ARRAYS = {}
LINES = []


def add_input(name, values, dtype):
    ARRAYS[name] = np.array(values, dtype)
    LINES.append(f"input {name} {dtype} " + " ".join(text_of(value, dtype) for value in ARRAYS[name]))


def cast(dtype):
    return lambda value: np.asarray(value).astype(dtype)


NAMES = {
    "where": np.where, "minimum": np.minimum, "maximum": np.maximum, "fmod": np.fmod, "clip": np.clip, "round": np.round,
    "atan2": np.arctan2, "hypot": np.hypot, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "sqrt": np.sqrt, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "pow": np.power,
    "pi": np.pi, "inf": INF, "nan": NAN, "true": True, "false": False,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "both": np.logical_and, "either": np.logical_or, "no": np.logical_not,
}  # fmt: skip
EXACT_FLOAT = ["sqrt"]
ELEMENTARY = "cbrt exp expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh".split()
for name in ELEMENTARY:
    NAMES.setdefault(name, getattr(np, name, None))
for dtype in COMPUTED:
    NAMES[dtype] = cast(dtype)


def evaluate(text, x, y):
    return np.asarray(eval(text, {}, {**NAMES, "x": x, "y": y}))


def add(expression, x_name, y_name="-", numpy=None, ulps=0, faulty=None, unsaid=None, float16_is_float64=True):
    """`faulty` and `unsaid` say of each element whether darray refuses it, and whether nothing is said of it."""
    x = ARRAYS[x_name]
    y = ARRAYS.get(y_name)
    n = len(x)
    no = np.zeros(n, bool)
    try:
        probe = evaluate(numpy or expression, x[:0], None if y is None else y[:0])
        faulty = no if faulty is None else faulty(probe.dtype, x, y)
        keep = ~faulty
        result = evaluate(numpy or expression, x[keep], None if y is None else y[keep])
    except (TypeError, OverflowError, ValueError, ZeroDivisionError):
        LINES.append(f"case {x_name} {y_name} refused : {expression}")
        return
    if result.dtype == np.float16 and float16_is_float64:
        # Functions with fractions give float64 for bool.
        wide = [None if array is None else (array.astype("float64") if array.dtype == bool else array) for array in (x, y)]
        result = evaluate(numpy or expression, wide[0][keep], None if y is None else wide[1][keep])
    dtype = str(result.dtype)
    if dtype not in COMPUTED or faulty.all():
        LINES.append(f"case {x_name} {y_name} refused : {expression}")
        return
    unsaid = no if unsaid is None else unsaid(result.dtype, x, y)
    values = iter(np.broadcast_to(result, (int(keep.sum()),)))
    words = []
    for is_faulty, is_unsaid in zip(faulty, unsaid):
        word = "!" if is_faulty else text_of(next(values), dtype)
        words.append("?" if is_unsaid and not is_faulty else word)
    LINES.append(f"case {x_name} {y_name} {dtype} {ulps} {' '.join(words)} : {expression}")


def divided(divisor):
    """Ints cannot be divided by zero."""
    return lambda dtype, x, y: (divisor(x, y) == 0) & (dtype.kind == "i")


def raised(exponent):
    """Ints cannot have negative powers."""
    return lambda dtype, x, y: (exponent(x, y) < 0) & (dtype.kind == "i")


def zeros_tie(dtype, x, y):
    """Which of two zeros is the lesser differs between CPUs in NumPy."""
    return (x == 0) & (y == 0) & (dtype.kind == "f")


# ---- inputs ----

for dtype in COMPUTED:
    add_input(dtype, many(dtype), dtype)
for x, y in itertools.product(COMPUTED, COMPUTED):
    pairs = list(itertools.product(edges(x), edges(y)))
    add_input(f"{x}.{y}.x", [pair[0] for pair in pairs], x)
    add_input(f"{x}.{y}.y", [pair[1] for pair in pairs], y)

# ---- all pairs of dtypes ----

for x, y in itertools.product(COMPUTED, COMPUTED):
    names = f"{x}.{y}.x", f"{x}.{y}.y"
    for operator in ["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">="]:
        add(f"x {operator} y", *names)
    for operator in ["//", "%"]:
        add(f"x {operator} y", *names, faulty=divided(lambda x, y: y))
    add("fmod(x, y)", *names, faulty=divided(lambda x, y: y))
    is_float = np.result_type(x, y).kind == "f"
    in_double = np.result_type(x, y) == np.float32
    power = "float32(float64(x) ** float64(y))" if in_double else None
    add("x ** y", *names, numpy=power, faulty=raised(lambda x, y: y), ulps=2 if is_float else 0)
    for name in ["minimum", "maximum"]:
        add(f"{name}(x, y)", *names, unsaid=zeros_tie)
    for name in ["atan2", "hypot"]:
        double = f"float32({name}(float64(x), float64(y)))" if in_double else None
        add(f"{name}(x, y)", *names, numpy=double, ulps=2)
    add("where(x > y, x, y)", *names)
    add("x and y", *names, numpy="both(x, y)")
    add("not x or y", *names, numpy="either(no(x), y)")

# ---- numbers of the text ----

NUMBERS = ["0", "1", "2", "-3", "16777217", "2147483647", "3000000000", "0.5", "-1.5", "2.0", "1e300", "nan", "-0.0", "true"]
for dtype, number in itertools.product(COMPUTED, NUMBERS):
    value = eval(number, {"nan": NAN, "true": True})
    if number == "true":
        # A constant of the text with a dtype: an array of NumPy's.
        value = np.True_
    fixed = lambda value: lambda x, y: np.full(len(x), value)
    first = lambda x, y: x
    for operator in ["+", "-", "*", "/", "==", "<", ">="]:
        add(f"x {operator} {number}", dtype, numpy=f"x {operator} {value!r}".replace("nan", "(nan)").replace("np.True_", "bool(1)"))
        add(f"{number} {operator} x", dtype, numpy=f"{value!r} {operator} x".replace("nan", "(nan)").replace("np.True_", "bool(1)"))
    if number == "true":
        continue
    for operator in ["//", "%"]:
        add(f"x {operator} {number}", dtype, faulty=divided(fixed(value)))
        add(f"{number} {operator} x", dtype, faulty=divided(first))
    add(f"fmod(x, {number})", dtype, faulty=divided(fixed(value)))
    result = np.result_type(np.dtype(dtype), type(value)() if not isinstance(value, bool) else value)
    double = result == np.float32
    is_special = value in (1, 2, 0.5, -1)
    power = None if is_special or not double else f"float32(float64(x) ** float64(float32({number})))"
    is_float = result.kind == "f"
    if (dtype, value) != ("bool", 2):  # int8 in NumPy, where every other int as exponent gives int64, as all do here
        add(f"x ** {number}", dtype, numpy=power, faulty=raised(fixed(value)), ulps=2 if is_float and not is_special else 0)
    power = f"float32(float64(float32({number})) ** float64(x))" if double else None
    base = number if value >= 0 or number == "nan" else f"({number})"
    base = f"({number})" if number.startswith("-") else number
    add(f"{base} ** x", dtype, numpy=power, faulty=raised(first), ulps=2 if is_float else 0)
    for name in ["minimum", "maximum"]:
        add(f"{name}(x, {number})", dtype, unsaid=lambda dtype, x, y: (x == 0) & (value == 0) & (dtype.kind == "f"))
    if (dtype, value) == ("int32", 3000000000):
        continue  # NumPy takes its low 32 bits; darray refuses it, as NumPy does with operators
    add(f"where(x > 0, x, {number})", dtype)
    add(f"where(x > 0, {number}, x)", dtype)

# ---- functions of one value ----

for dtype in COMPUTED:
    for name in ["abs", "sign", "floor", "ceil", "trunc", "sqrt", "isnan", "isinf", "isfinite"]:
        add(f"{name}(x)", dtype)
    if dtype != "bool":
        add("round(x)", dtype)
    add("-x", dtype)
    add("+x", dtype, numpy="x")
    add("not x", dtype, numpy="no(x)")
    for name in ELEMENTARY:
        double = f"float32({name}(float64(x)))" if dtype == "float32" else None
        add(f"{name}(x)", dtype, numpy=double, ulps=2)

# ---- casts ----


def out_of(to):
    def faulty(_, x, __):
        if x.dtype.kind not in "if" or to.kind != "i":
            return np.zeros(len(x), bool)
        info = np.iinfo(to)
        exact = [None if np.isnan(value) or np.isinf(value) else int(value) for value in x.tolist()]
        return np.array([value is None or not info.min <= value <= info.max for value in exact])

    return faulty


for dtype, to in itertools.product(COMPUTED, COMPUTED):
    add(f"{to}(x)", dtype, faulty=out_of(np.dtype(to)))
for to in COMPUTED:
    for number in ["0", "1", "-7", "2.75", "-2.75"]:
        add(f"{to}({number})", "int32")

# ---- put together ----

TOGETHER = {
    "float64": [
        ("x * 2 + 1", None), ("1 - x / 4 * 2", None), ("-x ** 2", None), ("2 ** -1 * x", None), ("(x + 1) * (x - 1)", None),
        ("x - 1 - 1", None), ("x / 2 / 2", None), ("2 ** 3 ** 2 + x", None), ("7 // 2 + -7 // 2 + 7 % -3 + x", None),
        ("-1 < x < 2", "both(-1 < x, x < 2)"), ("1 >= x != 0.5 <= 1", "both(both(1 >= x, x != 0.5), 0.5 <= 1)"),
        ("x < 1 == True", "both(x < 1, 1 == True)"),
        ("not x == 1 and x < 3 or x > 99", "either(both(no(x == 1), x < 3), x > 99)"),
        ("clip(x, -1, 1)", None), ("clip(x, -0.5, 2.5)", None), ("clip(x, nan, 1)", None), ("clip(x, 1, -1)", None),
        ("where(x, 1, 2)", None), ("where(x, 1, 2.0)", None), ("where(isnan(x), 0, x)", None), ("where(x > 0, x, -x) // 1", None),
        ("abs(x) // 0.7 + x % 0.7", None), ("float32(x) + 1", None), ("float32(x) + float64(1)", "float32(x) + float64([1])"),
        ("x > 1 + (x < 3)", "x > (1 + (x < 3))"), ("(x > 1) + (x < 3) + 1", None), ("(x > 1) * 5 - 2", None),
        ("x ** 0.5", None), ("x ** 2", None), ("x ** -1", None), ("x ** 1", None), ("1", None), ("1.5", None), ("true", None),
        ("1_000 + .5 + 5. + 1e3 + 1E-2 + x", None), ("(x > 1) == (x < 3)", None), ("minimum(1, 2.5) + x", None),
        ("sqrt(2) * x", None), ("abs(-3) * (x > 0)", None), ("pi * (x > 0)", None),
    ],
    "float32": [
        ("x * 2 + 1", None), ("x + 0.1", None), ("0.1 * x", None), ("x * 0.1 + 0.2", None), ("x / 3", None), ("x ** 2", None),
        ("x ** 0.5", None), ("x ** -1", None), ("clip(x, -1, 1)", None), ("where(x > 0, x, 1.1)", None), ("x > 0.1", None),
        ("x == 0.1", None), ("where(x > 0, 1, 0.1)", None), ("x % 0.7", None), ("x // 0.7", None), ("(x > 0) * 0.1 + x", None),
    ],
    "int32": [
        ("x * 2 + 1", None), ("x * x * x", None), ("x ** 3", None), ("x ** 5", None), ("x ** 63", None), ("x ** 64", None), ("x ** 65", None), ("-x", None), ("x % 3 == 0", None),
        ("x / 2", None), ("x // 2 * 2 + x % 2", None), ("x % -3", None), ("x + 0.5", None), ("where(x > 0, x, 0.5)", None),
        ("x > 3000000000", None), ("x == 2147483647", None), ("int64(x) * 3000000000", None), ("clip(x, 0, 9)", None),
        ("(x > 0) + 2", None), ("(x > 0) * (x < 9)", None), ("round(x / 2)", None), ("floor(x / 2)", None), ("abs(x)", None),
        ("x != x or x > 9", "either(x != x, x > 9)"), ("sqrt(abs(x))", None), ("x ** 0", None), ("x ** 2.0", None), ("x ** 0.5", None),
    ],
    "int64": [
        ("x * 2 + 1", None), ("x ** 3", None), ("x ** 6", None), ("x ** 0", None), ("x ** 7", None), ("x // 10", None), ("x % 10", None), ("x / 10", None), ("x + 1.0", None),
        ("x > 0.5", None), ("x == 9007199254740993", None), ("x == 9007199254740993.0", None), ("float32(x)", None), ("-x", None),
    ],
    "bool": [
        ("x + x", None), ("x * 3", None), ("x + 0.5", None), ("x == 1", None), ("x < 1", None), ("-(x + 0)", None), ("x / 2", None),
        ("where(x, 1, 0.5)", None), ("where(x, x, x)", None), ("not x", "no(x)"), ("int32(x) - 5", None),
        ("minimum(x, true)", "minimum(x, bool(1))"), ("maximum(x, false)", "maximum(x, bool(0))"),
    ],
}  # fmt: skip
for dtype, expressions in TOGETHER.items():
    for expression, numpy in expressions:
        add(expression, dtype, numpy=numpy)

# ---- arrays from nothing ----

MADE = [
    "zeros(3)", "zeros((2, 3))", "ones((2, 1))", "ones(0)", "zeros(())", "full(3, 7)", "full((2, 2), -0.5)", "full(2, 2 ** 40)",
    "arange(5)", "arange(-5)", "arange(3, 8)", "arange(8, 3)", "arange(10, 0, -3)", "arange(0, 10, 4)", "arange(0, -10, -4)",
    "arange(5, 5)", "arange(2 ** 62, 2 ** 62 + 9, 4)", "arange(-2 ** 62, 2 ** 62, 2 ** 61)", "arange(4.5)", "arange(0, 1, 0.1)",
    "arange(1, 2, 0.3)", "arange(1, 0, -0.25)", "arange(0.1, 1)", "arange(0, 1.0000000001, 0.2)", "arange(1e10, 1e10 + 2, 0.7)",
    "arange(0, 1, 7.5)", "arange(0, -1, 0.5)", "linspace(0, 1, 11)", "linspace(1, 0, 7)", "linspace(-1.5, 2.25, 10)",
    "linspace(0, 1, 1)", "linspace(0, 1, 0)", "linspace(0, 1, 2)", "linspace(5, 5, 4)", "linspace(0, 1e300, 7)",
]  # fmt: skip
for text, requested in itertools.product(MADE, [None, *COMPUTED]):
    makers = {name: getattr(np, name) for name in ["zeros", "ones", "full", "arange", "linspace"]}
    array = np.asarray(eval(text, {}, makers))
    if requested is not None:
        if out_of(np.dtype(requested))(None, array.ravel(), None).any():
            continue
        array = array.astype(requested)
    dtype = str(array.dtype)
    shape = ",".join(map(str, array.shape)) or "()"
    words = " ".join(text_of(value, dtype) for value in array.ravel())
    LINES.append(f"made {requested or '-'} {dtype} {shape} {words} : {text}")

HEAD = f"# Made by make_cases.py with NumPy {np.__version__}; that file says what the lines mean."
path = pathlib.Path(__file__).with_name("cases.txt")
path.write_text("\n".join([HEAD, *LINES]) + "\n")
print(f"{path}: {len(LINES)} lines, {path.stat().st_size} bytes")
