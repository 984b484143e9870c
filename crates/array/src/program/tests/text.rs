//! Programs as text: what is printed is read again, and what is sent by somebody else breaks nothing.

use super::random::programs;
use super::*;
use crate::Operation;
use proptest::prelude::*;

/// Words that programs consist of, and some that they do not.
const WORDS: [&str; 34] = [
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "uint8",
    "input",
    "constant",
    "index",
    "uniform",
    "integers",
    "normal",
    "cast",
    "where",
    "add",
    "mod",
    "sin",
    "pow",
    "if",
    "elements",
    "sum",
    "argmax",
    ":",
    ";",
    "0",
    "1",
    "2",
    "-1",
    "63",
    "4294967295",
    "18446744073709551616",
    "7ff8000000000000",
    "ffffffffffffffff",
    "é",
];

#[test]
fn this_is_how_a_program_looks() {
    let program = program_of("where(y > 0, x / y, 0.5)", DType::Float64, DType::Int32);
    let text = "float64 int32: int32 input 1; int32 constant 0; bool lt 1 0; float64 input 0; float64 cast 0; float64 div 3 4; \
                bool not 2; float64 constant 3fe0000000000000; float64 where 2 5 7; elements 8";
    assert_eq!(program.to_string(), text);
    assert_eq!(text.parse(), Ok(program));
    let guarded = program_of("where(x != 0, 10 // x, 7)", DType::Int32, DType::Int32);
    assert!(guarded.to_string().contains("; int32 floordiv 3 0 if 2;"), "{guarded}");
    let (sums, _) = parse_reductions("sum(x), max(x * 2)", DType::Int32, &mut |_| Err("no".into())).unwrap();
    assert!(sums.to_string().ends_with("; sum 0; max 2"), "{sums}");
    assert_eq!(sums.to_string().parse(), Ok(sums));
}

#[test]
fn named_operations_are_their_names() {
    for operation in Operation::ALL {
        let program = operation.program();
        assert_eq!((program.to_string().as_str(), program.named()), (operation.name(), Some(operation)));
        assert_eq!(operation.name().parse(), Ok((*program).clone()));
    }
    let error = "example3".parse::<Program>().unwrap_err().to_string();
    assert!(error.contains("example3"), "{error}");
}

#[test]
fn what_is_no_program_is_refused() {
    let cases = [
        "",
        ":",
        "float64:",
        "float64: ",
        "float64: elements 0",
        "float64: float64 input 0",
        "float64: float64 input 1; elements 0",
        "float64: int32 input 0; elements 0",
        "uint8: uint8 input 0; elements 0",
        "float64: float64 input 0; elements 1",
        "float64: float64 input 0; elements 0; elements 0 x",
        "float64: float64 add 0 0; elements 0",
        "float64: float64 input 0; float64 add 0 1; elements 1",
        "float64: float64 input 0; float64 and 0 0; elements 1",
        "float64: float64 input 0; float64 input 0 0; elements 0",
        "float64: bool constant 2; elements 0",
        "float64: int32 constant 100000000; elements 0",
        "float64: float64 constant xyz; elements 0",
        "float64: float64 uniform 1 0 0; elements 0",
        "float64: int64 integers 1 5 4; elements 0",
        "float64: int32 integers 1 0 4294967296; elements 0",
        "float64: float64 input 0; float64 add 0 0 if 0; elements 1",
        "int32: int32 input 0; int32 mod 0 0 if 0; elements 1",
        "float64: float64 input 0; sum 0; elements 0",
        "float64: float64 input 0; median 0",
        "float64: float64 input 0; float64 cast 0; elements 1",
        "nonsense: elements 0",
    ];
    for text in cases {
        assert!(text.parse::<Program>().is_err(), "{text}");
    }
}

#[test]
fn limits_are_kept() {
    let inputs = |n: usize| format!("{}: float64 input {}; elements 0", vec!["float64"; n].join(" "), n - 1);
    assert!(inputs(INPUTS_MAX).parse::<Program>().is_ok());
    assert!(inputs(INPUTS_MAX + 1).parse::<Program>().unwrap_err().0.contains("64 at most"));
    let sums = |n: usize| format!("float64: float64 input 0; {}", vec!["sum 0"; n].join("; "));
    assert!(sums(REDUCTIONS_MAX).parse::<Program>().is_ok());
    assert!(sums(REDUCTIONS_MAX + 1).parse::<Program>().unwrap_err().0.contains("1 to 64"));
    let steps = |n: usize| {
        let steps: Vec<String> = (0..n).map(|step| format!("int64 constant {step:x}")).collect();
        format!("float64: {}; elements {}", steps.join("; "), n - 1)
    };
    assert!(steps(NODES_MAX).parse::<Program>().is_ok());
    assert!(steps(NODES_MAX + 1).parse::<Program>().unwrap_err().0.contains("4096 steps"));
}

/// Runs what was read, if it was: nothing may panic.
fn try_out(text: &str) {
    let Ok(program) = text.parse::<Program>() else { return };
    assert_eq!(program.to_string().parse(), Ok(program.clone()), "{text}");
    let inputs: Vec<Buffer> = program.inputs().iter().map(|dtype| Buffer::zeroed(3 * dtype.size())).collect();
    let sources: Vec<Source> = inputs.iter().map(|input| Source { bytes: input.as_bytes(), crc32c: None }).collect();
    match program.output() {
        Some(_) => drop(run(&program, &sources, crate::LEN_MAX - 3, 3)),
        None => drop(program.reduce(&sources, 0, 3)),
    }
}

proptest! {
    #[test]
    fn programs_round_trip(program in programs()) {
        prop_assert_eq!(program.to_string().parse(), Ok(program));
    }

    #[test]
    fn changed_programs_break_nothing(
        program in programs(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&WORDS[..])), 1..4),
    ) {
        let text = program.to_string();
        let mut words: Vec<&str> = text.split(' ').collect();
        for (at, word) in changes {
            let at = at.index(words.len());
            words[at] = word;
        }
        try_out(&words.join(" "));
    }

    #[test]
    fn random_words_break_nothing(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        try_out(&words.join(" "));
        try_out(&format!("float64 int32: float64 input 0; {}", words.join(" ")));
    }

    #[test]
    fn random_text_breaks_nothing(text in ".{0,200}") {
        try_out(&text);
    }
}
