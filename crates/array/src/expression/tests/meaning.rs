//! What words, signs and their order mean.

use super::*;

/// Two texts that are the same program.
fn assert_same(a: &str, b: &str) {
    let program = |text: &str| parse(text, Float64, Float64).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(program(a), program(b), "{a} and {b}");
}

#[test]
fn operators_bind_as_in_python() {
    let cases = [
        ("x + y * x", "x + (y * x)"),
        ("x - y - x", "(x - y) - x"),
        ("x / y / x", "(x / y) / x"),
        ("x // y % x * y", "((x // y) % x) * y"),
        ("-x ** 2", "-(x ** 2)"),
        ("x ** -y", "x ** (-y)"),
        ("x ** y ** x", "x ** (y ** x)"),
        ("-x * y", "(-x) * y"),
        ("x - -y", "x - (-y)"),
        ("+x", "x"),
        ("x + y < x * y", "(x + y) < (x * y)"),
        ("x < y < x", "(x < y) and (y < x)"),
        ("x < y == y >= x != y", "x < y and y == y and y >= x and x != y"),
        ("not x < y", "not (x < y)"),
        ("not x and y", "(not x) and y"),
        ("not not x", "not (not x)"),
        ("  x\n+\ty ", "x+y"),
        ("(((x)))", "x"),
    ];
    cases.iter().for_each(|(a, b)| assert_same(a, b));
    // `or` below `and`: guards tell the difference, so these are compared where there are none.
    let guards_apart = [("x < 1 or x > 2 and x < 3", "x < 1 or (x > 2 and x < 3)")];
    guards_apart.iter().for_each(|(a, b)| assert_same(a, b));
}

#[test]
fn names_of_the_same_function() {
    let cases = [
        ("absolute(x)", "abs(x)"),
        ("arcsin(x) + arccos(x) + arctan(x)", "asin(x) + acos(x) + atan(x)"),
        ("arctan2(x, y)", "atan2(x, y)"),
        ("rint(x)", "round(x)"),
        ("pow(x, y)", "x ** y"),
        ("power(x, y)", "x ** y"),
        ("ln(x)", "log(x)"),
        ("int(x)", "int32(x)"),
        ("float(int64(x))", "float64(int64(x))"),
        ("double(int64(x))", "float64(int64(x))"),
        ("clip(x, 1, 2)", "minimum(maximum(x, 1), 2)"),
        ("where(x, 1, 2)", "where(x != 0, 1, 2)"),
        ("true or false", "True or False"),
        ("`y` + `my-array`", "y + `my-array`"),
    ];
    cases[..11].iter().chain(&cases[12..]).for_each(|(a, b)| assert_same(a, b));
}

#[test]
fn dividing_by_a_power_of_two_is_multiplying() {
    assert_same("x / 2", "x * 0.5");
    assert_same("x / -0.125", "x * -8.0");
    let divides = |text: &str, x: DType| parse(text, x, Float64).unwrap().to_string().contains("div");
    let cases = [
        ("x / 3", Float64, true),
        ("x / 0", Float64, true),
        ("2 / x", Float64, true),
        ("x / 4", Int32, false),
        // Where the reciprocal has fewer digits, or is out of range.
        ("x / 2.0**-1022", Float64, false),
        ("x / 2.0**-1023", Float64, true),
        ("x / 2.0**1022", Float64, false),
        ("x / 2.0**1023", Float64, true),
        ("x / 2.0**126", Float32, false),
        ("x / 2.0**127", Float32, true),
        ("x / 2.0**-126", Float32, false),
        ("x / 2.0**-127", Float32, true),
    ];
    for (text, x, expected) in cases {
        assert_eq!(divides(text, x), expected, "{text} of {x}");
    }
}

#[test]
fn numbers_are_pythons() {
    let constants = |text: &str| {
        let program = parse(text, Float64, Float64).unwrap_or_else(|e| panic!("{text}: {e}"));
        let text = program.to_string();
        text.rsplit_once("constant ").map(|(_, bits)| bits.split(';').next().unwrap().to_string()).unwrap()
    };
    let ints = [("7", 7_i64), ("1_000", 1000), ("007", 7), ("9223372036854775807", i64::MAX), ("2 ** 10", 1024)];
    for (text, value) in ints {
        assert_eq!(constants(text), format!("{value:x}"), "{text}");
    }
    let more =
        [("-7 // 2", -4_i64), ("7 // -2", -4), ("-7 % 3", 2), ("7 % -3", -2), ("2 ** 3 ** 2", 512), ("-2 ** 2", -4)];
    for (text, value) in more {
        assert_eq!(constants(text), format!("{value:x}"), "{text}");
    }
    let floats = [
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("1_0.2_5e+1", 102.5),
        ("7 / 2", 3.5),
        ("2 ** -1", 0.5),
        ("-7.5 // 2", -4.0),
        ("-7.5 % 2", 0.5),
        ("pi", std::f64::consts::PI),
        ("inf", f64::INFINITY),
        ("1e400", f64::INFINITY),
        ("0.1 + 0.2", 0.1 + 0.2),
    ];
    for (text, value) in floats {
        assert_eq!(constants(text), format!("{:x}", value.to_bits()), "{text}");
    }
}

/// What is written twice is computed once.
#[test]
fn equal_parts_are_one() {
    let nodes = |text: &str| parse(text, Float64, Float64).unwrap().nodes().len();
    assert_eq!(nodes("(x + y) * (x + y)"), 4);
    assert_eq!(nodes("sin(x) + sin(x) + sin(x)"), 4);
    assert_eq!(nodes("1 + 1 + 1"), 1);
    // Those that may fail are one only where the same is looked at.
    let guarded = parse("where(x, 1 // y, 0) + where(x, 1 // y, 1)", Int32, Int32).unwrap();
    assert_eq!(guarded.to_string().matches("floordiv").count(), 1, "{guarded}");
    let apart = parse("where(x, 1 // y, 0) + 1 // y", Int32, Int32).unwrap();
    assert_eq!(apart.to_string().matches("floordiv").count(), 2, "{apart}");
}

#[test]
fn arrays_are_numbered_as_they_come() {
    let program = parse("`my-array` + x + größe + `my-array`", Float32, Int64).unwrap();
    assert_eq!(program.inputs(), [Float32, Int64, Int64]);
    assert_eq!(parse("y", Float32, Int64).unwrap().output(), Some(Int64));
}

#[test]
fn dtypes_are_numpys() {
    let dtype = |text: &str, x, y| parse(text, x, y).unwrap_or_else(|e| panic!("{text}: {e}")).output().unwrap();
    for (x, y, sum) in [
        (Bool, Int32, Int32),
        (Int32, Int64, Int64),
        (Int32, Float32, Float64),
        (Int64, Float32, Float64),
        (Bool, Float32, Float32),
        (Float32, Float64, Float64),
    ] {
        assert_eq!((dtype("x + y", x, y), dtype("x + y", y, x)), (sum, sum), "{x} and {y}");
        assert_eq!(dtype("where(true, x, y)", x, y), sum, "{x} and {y}");
    }
    for (text, x, expected) in [
        ("x + 1", Bool, Int64),
        ("x + 1", Int32, Int32),
        ("x + 1", Float32, Float32),
        ("x + 0.5", Bool, Float64),
        ("x + 0.5", Int32, Float64),
        ("x + 0.5", Float32, Float32),
        ("x + 1e300", Float32, Float32),
        ("x / 2", Int32, Float64),
        ("x / x", Float32, Float32),
        ("x / x", Bool, Float64),
        ("x + x", Bool, Bool),
        ("sqrt(x)", Int32, Float64),
        ("exp(x)", Float32, Float32),
        ("exp(x)", Bool, Float64),
        ("floor(x)", Int32, Int32),
        ("isnan(x)", Int64, Bool),
        ("x < 1", Int64, Bool),
        ("x and 2", Float64, Bool),
        ("1", Int32, Int64),
        ("1.0", Int32, Float64),
        ("true", Int32, Bool),
        ("where(x, 1, 2)", Int32, Int64),
        ("where(x, 1, x)", Int32, Int32),
        ("x < 3000000000", Int32, Bool),
        ("x ** 2", Int32, Int32),
        ("x ** 0.5", Int32, Float64),
        ("x ** 2.0", Int64, Float64),
    ] {
        assert_eq!(dtype(text, x, x), expected, "{text} of {x}");
    }
}

#[test]
fn reductions_and_their_texts() {
    let (program, texts) = parse_sums(" sum( sin(x) ) , max(x),argmin((x - 1) ** 2) ").unwrap();
    assert_eq!(texts, ["sum( sin(x) )", "max(x)", "argmin((x - 1) ** 2)"]);
    let reducers: Vec<String> =
        program.reductions().iter().map(|(reducer, dtype)| format!("{reducer} {dtype}")).collect();
    assert_eq!(reducers, ["sum float64", "max float64", "argmin float64"]);
    assert_eq!(program.output(), None);
    // A number is of as many elements as the array has.
    assert_eq!(parse_sums("sum(1)").unwrap().0.reductions().len(), 1);
}
