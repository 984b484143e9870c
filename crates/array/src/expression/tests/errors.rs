//! What is wrong with a text, where, and what to do.

use super::*;

/// The column of an error and what it must say.
type Expected<'a> = (&'a str, DType, usize, &'a str);

const ERRORS: [Expected<'static>; 67] = [
    ("", Float64, 1, "a value is missing"),
    ("   ", Float64, 4, "a value is missing"),
    ("x +", Float64, 4, "a value is missing"),
    ("x + * 2", Float64, 5, "a value is missing before this"),
    ("x 2", Float64, 3, "an operator is missing before this"),
    ("2x", Float64, 1, "a product needs a `*`"),
    ("x y", Float64, 3, "an operator is missing"),
    ("(x", Float64, 3, "a `)` is missing"),
    ("(x))", Float64, 4, "a `)` without its `(`"),
    ("sin x", Float64, 1, "sin is a function; write sin(…)"),
    ("sin", Float64, 1, "sin is a function"),
    ("sin()", Float64, 1, "sin takes 1 value"),
    ("sin(x, 2)", Float64, 1, "sin takes 1 value"),
    ("atan2(x)", Float64, 1, "atan2 takes 2 values"),
    ("where(x)", Float64, 8, "a `,` is missing"),
    ("where(x, 1, 2, 3)", Float64, 14, "a `)` is missing"),
    ("clip(x, 1)", Float64, 1, "clip takes 3 values"),
    ("sni(x)", Float64, 1, "no function is called 'sni'"),
    ("sqr(x)", Float64, 1, "is it sqrt?"),
    ("sum(x)", Float64, 1, "use `reduce`"),
    ("z + 1", Float64, 1, "there is no array 'z'"),
    ("x + `z z`", Float64, 5, "there is no array 'z z'"),
    ("x + `z", Float64, 5, "the backquote is not closed"),
    ("and", Float64, 1, "a value is missing before this"),
    ("x and", Float64, 6, "a value is missing"),
    ("x && y", Float64, 3, "write `and`"),
    ("x || y", Float64, 3, "write `or`"),
    ("x & y", Float64, 3, "write `and`"),
    ("x | y", Float64, 3, "write `or`"),
    ("~x", Float64, 1, "write `not`"),
    ("!x", Float64, 1, "write `not`"),
    ("x ^ 2", Float64, 3, "a power is `**`"),
    ("x = 2", Float64, 3, "equal is `==`"),
    ("np.sin(x)", Float64, 3, "there are no attributes"),
    ("x[0]", Float64, 2, "an operator is missing"),
    ("[x]", Float64, 1, "every element is computed, none is picked"),
    ("x ? 1 : 2", Float64, 3, "'?' means nothing"),
    ("x + 'a'", Float64, 5, "means nothing"),
    ("x, y", Float64, 2, "one expression gives one result"),
    ("9223372036854775808", Float64, 1, "does not fit int64"),
    ("1.5.5", Float64, 4, "an operator is missing"),
    ("1e", Float64, 1, "directly after a number"),
    ("x + 3000000000", Int32, 3, "3000000000 does not fit int32"),
    ("where(x > 0, x, 3000000000)", Int32, 1, "3000000000 does not fit int32"),
    ("9223372036854775807 + 1", Int32, 21, "does not fit int64; write a number as a float"),
    ("10 ** 30", Int32, 4, "does not fit int64"),
    ("x // 0", Int32, 3, "an int divided by zero"),
    ("x % 0", Int64, 3, "an int divided by zero"),
    ("fmod(x, 0)", Int64, 1, "an int divided by zero"),
    ("1 / 0", Int64, 3, "division by zero"),
    ("1.0 % 0.0", Int64, 5, "division by zero"),
    ("0 ** -1", Int64, 3, "division by zero"),
    ("x ** -1", Int64, 3, "negative int has no value"),
    ("x - x", Bool, 3, "different is `!=`"),
    ("x // x", Bool, 3, "write int32(…)"),
    ("x % x", Bool, 3, "write int32(…)"),
    ("x ** x", Bool, 3, "write int32(…)"),
    ("-x", Bool, 1, "write `not`"),
    ("sign(x)", Bool, 1, "no sign of bool"),
    ("fmod(x, x)", Bool, 1, "no fmod of bool and bool"),
    ("x", UInt8, 1, "stored only; bool, int32, int64, float32 and float64 are computed"),
    ("1 + x", Complex64, 5, "stored only"),
    ("uint8(x)", Int32, 1, "stored only"),
    // Columns count characters, not bytes.
    ("größe + ß", Float64, 9, "there is no array 'ß'"),
    ("`größe` + 漢字", Float64, 11, "there is no array '漢字'"),
    ("x + 𝛑𝛑 + 1", Float64, 5, "there is no array '𝛑𝛑'"),
    ("größe → 1", Float64, 7, "means nothing"),
];

#[test]
fn errors_say_what_and_where() {
    for (text, x, column, problem) in ERRORS {
        let error = parse(text, x, Float64).map(|program| program.to_string()).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
        let rest: String = text.chars().skip(column - 1).take(24).collect();
        assert_eq!(error.excerpt.trim_end_matches('…'), rest, "{text}");
    }
}

#[test]
fn errors_of_reductions() {
    for (text, column, problem) in [
        ("", 1, "begins with its name"),
        ("x", 1, "no reduction is called 'x'"),
        ("sum", 4, "a `(` is missing"),
        ("sum(x", 6, "a `)` is missing"),
        ("sum(x) + 1", 8, "an operator is missing"),
        ("sum(x), ", 9, "begins with its name"),
        ("median(x)", 1, "there are sum, prod, min"),
        ("sum(x, x)", 6, "a `)` is missing"),
        ("sum(sum(x))", 5, "use `reduce`"),
    ] {
        let error = parse_sums(text).map(|(program, _)| program.to_string()).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
    }
    let many = vec!["sum(x)"; 65].join(",");
    assert!(parse_sums(&many).unwrap_err().problem.contains("1 to 64"));
}

#[test]
fn this_is_how_an_error_looks() {
    let error = parse("x + bogus(x) * 12345678901234567890", Float64, Float64).unwrap_err();
    assert!(error.to_string().starts_with("column 5, at 'bogus(x) * 1234567890123…': no function is called 'bogus'"));
    let error = parse("x +", Float64, Float64).unwrap_err();
    assert_eq!(error.to_string(), "column 4, at the end: a value is missing");
}
