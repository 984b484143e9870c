//! Text that is long, deep or random: a clear error or a result, and soon.

use super::*;
use proptest::prelude::*;

/// Words that expressions consist of, and some that they do not.
const WORDS: [&str; 44] = [
    "x",
    "y",
    "`my-array`",
    "größe",
    "and",
    "or",
    "not",
    "True",
    "pi",
    "nan",
    "inf",
    "where(",
    "sin(",
    "int32(",
    "int64(",
    "clip(",
    "fmod(",
    "sqrt(",
    "isnan(",
    "sum(",
    "(",
    ")",
    ")",
    ",",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "<",
    ">=",
    "==",
    "!=",
    "0",
    "1",
    "2.5",
    "3000000000",
    "1e300",
    "[",
    "&&",
    "`",
    "…",
];

/// Every error is about a place in the text.
fn check(text: &str, x: DType) -> Result<Program, ExpressionError> {
    let found = parse(text, x, Float32);
    if let Err(error) = &found {
        let chars = text.chars().count();
        assert!((1..=chars + 1).contains(&error.column), "{text}: column {}", error.column);
        assert!(!error.problem.is_empty() && error.to_string().len() < 2000, "{text}: {error}");
    }
    if let Ok(program) = &found {
        assert_eq!(program.to_string().parse().as_ref(), Ok(program), "{text}");
    }
    found
}

fn problem(text: &str) -> String {
    check(text, Float64).map(|program| program.nodes().len()).expect_err("it is too much").problem
}

#[test]
fn what_is_too_long_is_refused() {
    assert!(problem(&"x + ".repeat(250_000)).contains("1000000 bytes, 16384 at most"));
    // Cut between characters.
    assert!(problem(&"漢".repeat(TEXT_BYTES_MAX / 3 + 1)).contains("16384 at most"));
    assert!(check(&" ".repeat(TEXT_BYTES_MAX - 1).replacen(' ', "x", 1), Float64).is_ok());
}

#[test]
fn what_is_too_deep_is_refused() {
    for repeated in ["(", "-", "not ", "sin(", "x**", "where(x,", "where(x,1,", "x**-", "abs(-"] {
        let count = TEXT_BYTES_MAX / repeated.len();
        assert!(problem(&repeated.repeat(count)).contains("100 deep"), "{repeated}");
    }
    let nested = |depth: usize| format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
    assert!(check(&nested(DEPTH_MAX), Float64).is_ok());
    assert!(problem(&nested(DEPTH_MAX + 1)).contains("100 deep"));
    assert!(check(&("-".repeat(DEPTH_MAX) + "x"), Float64).is_ok());
    assert!(check(&format!("x{}", "**x".repeat(DEPTH_MAX)), Float64).is_ok());
}

/// Whoever gets an error wants to read it: it quotes the beginning of what is wrong.
#[test]
fn what_an_error_quotes_is_short() {
    let (name, digits) = ("n".repeat(4000), "7".repeat(4000));
    let texts = [
        format!("{name}(x)"),
        format!("x + {digits}"),
        format!("x + 1e{digits}"),
        format!("sum(x), {name}(x)"),
        format!("zeros(`{name}`)"),
        format!("{name}(4)"),
    ];
    for text in texts {
        let nobody = |name: &str| Err(format!("there is no array '{}'", name.len()));
        let errors = [
            parse_expression(&text, DType::Float64, &mut { nobody }).err(),
            parse_reductions(&text, DType::Float64, &mut { nobody }).err(),
            parse_generator(&text, None, 1).err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(error.to_string().len() < 1000, "{error}");
        }
    }
}

#[test]
fn long_but_shallow_is_no_matter() {
    assert_eq!(check(&format!("1{}", "+1".repeat(5000)), Float64).unwrap().nodes().len(), 1);
    assert_eq!(check(&format!("x{}", "+x".repeat(5000)), Float64), Err(too_many("x", "+x", 5000)));
    assert!(check(&format!("x{}", "+x".repeat(4000)), Float64).is_ok());
    let terms: Vec<String> = (1..1200).map(|n| format!("x*{n}")).collect();
    assert!(check(&terms.join("+"), Float64).is_ok());
    let terms: Vec<String> = (1..2000).map(|n| format!("x*{n}")).collect();
    assert!(problem(&terms.join("+")).contains("4096 steps"));
    assert!(check(&format!("x{}", "<x".repeat(4000)), Float64).is_ok());
    assert!(check(&format!("x{}", " and x".repeat(2500)), Float64).is_ok());
    let error = parse_sums(&vec!["sum(x)"; 2000].join(",")).unwrap_err();
    assert!(error.problem.contains("1 to 64"), "{error}");
}

/// More than 4096 steps, at the operator that is too much.
fn too_many(first: &str, repeated: &str, times: usize) -> ExpressionError {
    let text = first.to_string() + &repeated.repeat(times);
    let error = check(&text, Float64).unwrap_err();
    assert!(error.problem.contains("4096 steps"), "{error}");
    assert_eq!(error.column, first.len() + repeated.len() * 4095 + 1);
    error
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_words_break_nothing(
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..40),
        x in prop::sample::select(&DType::ALL[..]),
    ) {
        for between in ["", " "] {
            let text = words.join(between);
            let _ = check(&text, x);
            let _ = parse_sums(&format!("sum({text})"));
            let _ = parse_generator(&text, None, 1);
            let _ = parse_generator(&format!("arange({text})"), Some(x), 1);
        }
    }

    #[test]
    fn random_text_breaks_nothing(text in ".{0,60}", x in prop::sample::select(&DType::ALL[..])) {
        let _ = check(&text, x);
        let _ = check(&format!("x + {text}"), x);
        let _ = parse_generator(&text, Some(x), 1);
    }
}
