//! Elements that can't fail, as nobody looks at them, and those that do.

use super::super::Fault::{self, *};
use super::*;
use DType::{Int32, Int64};

/// What is expected of each element of `x`.
type Values<'a> = (&'a str, &'a [i32], &'a [i32]);

#[test]
fn what_is_not_looked_at_cannot_fail() {
    let cases: [Values<'_>; 12] = [
        ("where(x != 0, 10 // x, -1)", &[5, 0, 3], &[2, -1, 3]),
        ("where(x == 0, -1, 10 // x)", &[5, 0, 3], &[2, -1, 3]),
        ("where(x > 0, where(x > 5, 10 // (x - 5), 10 // x), 10 // (x - 1))", &[5, 0, 7, 6], &[2, -10, 5, 10]),
        // The same quotient on both sides has a guard of its own on each.
        ("where(x > 0, 10 // x, 0) + where(x < 0, 10 // x, 0)", &[5, 0, -5], &[2, 0, -2]),
        ("where(x > 0, where(x < 9, 8 % x, 1), where(x < 0, 8 % x, 2))", &[5, 0, 9, -5], &[3, 2, 1, -2]),
        ("int32(x != 0 and 10 // x > 2)", &[5, 0, 3], &[0, 0, 1]),
        ("int32(x == 0 or 10 // x > 2)", &[5, 0, 3], &[0, 1, 1]),
        ("int32(not (x == 0 or 10 // x > 2))", &[5, 0, 3], &[1, 0, 0]),
        ("int32(x != 0 and x != 1 and 10 // (x * (x - 1)) > 2)", &[2, 0, 1, 9], &[1, 0, 0, 0]),
        ("int32(x == 0 or x == 1 or 10 // (x * (x - 1)) > 2)", &[2, 0, 1, 9], &[1, 1, 1, 0]),
        ("where(x != 0 and 10 // x > 2, 100 // x, where(x == 0, 7, 50 // x))", &[5, 0, 3], &[10, 7, 33]),
        ("where(x > 0, 2 ** x, where(x < 0, fmod(7, x), 0))", &[5, 0, -4], &[32, 0, 3]),
    ];
    for (text, x, expected) in cases {
        assert_eq!(apply::<i32, i32>(text, x), Ok(expected.to_vec()), "{text}");
    }
}

#[test]
fn a_guard_excuses_casts() {
    let x = [f64::NAN, 1e300, -2.5, f64::NEG_INFINITY];
    let text = "where(isfinite(x) and abs(x) < 1e9, int32(x), -1)";
    assert_eq!(apply::<f64, i32>(text, &x), Ok(vec![-1, -1, -2, -1]));
    let text = "where(x > -9 and x < 9, int64(x), where(x > 0, 1, where(x < 0, -1, 0)))";
    assert_eq!(apply::<f64, i64>(text, &x), Ok(vec![0, 1, -2, -1]));
    let text = "where(x > 2147483647, 0, where(x < -2147483648, 1, int32(x)))";
    assert_eq!(apply::<i64, i32>(text, &[1 << 31, -1 << 40, -5]), Ok(vec![0, 1, -5]));
}

/// A condition that is computed inside a branch is under the guard of that branch.
#[test]
fn conditions_have_the_guards_around_them() {
    let text = "where(x != 0, where(10 // x > 2, 1, 2), 3)";
    assert_eq!(apply::<i32, i64>(text, &[5, 0, 3]), Ok(vec![2, 3, 1]));
    let text = "where(x != 0 and (10 // x == 2 or 10 % x == 1), 1, 0)";
    assert_eq!(apply::<i32, i64>(text, &[5, 0, 3, 4]), Ok(vec![1, 0, 1, 1]));
}

#[test]
fn what_is_looked_at_fails() {
    let cases: [(&str, &[i32], (u64, Fault)); 9] = [
        ("10 // x", &[5, 0, 3], (1, DivisionByZero)),
        ("10 % x", &[5, 1, 0, 0], (2, DivisionByZero)),
        ("fmod(10, x)", &[0], (0, DivisionByZero)),
        ("10 ** x", &[1, -1], (1, NegativePower)),
        // The guard of one of them excuses no other.
        ("where(x != 0, 10 // x, 0) + 10 // x", &[5, 0], (1, DivisionByZero)),
        ("10 // x + where(x != 0, 10 // x, 0)", &[5, 0], (1, DivisionByZero)),
        ("where(x == 0, 10 // x, 0)", &[5, 0], (1, DivisionByZero)),
        ("where(10 // x > 2, 1, 0)", &[5, 0], (1, DivisionByZero)),
        // A chain looks at all its parts.
        ("0 < x < 10 // x", &[5, 0], (1, DivisionByZero)),
    ];
    for (text, x, expected) in cases {
        assert_eq!(fault(text, x), Some(expected), "{text}");
    }
    assert_eq!(fault("int32(x)", &[1.0, f64::NAN]), Some((1, NotANumber(Int32))));
    assert_eq!(fault("int64(x)", &[1.0, f32::INFINITY]), Some((1, OutOfRange(Int64))));
    assert_eq!(fault("int32(x)", &[1, 1_i64 << 31]), Some((1, OutOfRange(Int32))));
}

/// The first element counts, whichever step it fails in.
#[test]
fn the_first_element_is_named() {
    let text = "10 // (x - 3) + 10 % (x - 1) + int32(float64(x) * 1e9)";
    assert_eq!(fault(text, &[0, 2, 3, 1]), Some((2, DivisionByZero)));
    assert_eq!(fault(text, &[0, 2, 1, 3]), Some((2, DivisionByZero)));
    assert_eq!(fault(text, &[0, 9, 1, 3]), Some((1, OutOfRange(Int32))));
}

/// Around the bounds, where a cast is still a value.
#[test]
fn casts_at_the_edges() {
    let p31 = 2_f64.powi(31);
    for (x, expected) in [(p31 - 0.5, i32::MAX), (p31 - 1.0, i32::MAX), (-p31 - 0.9, i32::MIN), (-0.9, 0)] {
        assert_eq!(apply("int32(x)", &[x]), Ok(vec![expected]), "{x}");
    }
    for x in [p31, -p31 - 1.0, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        assert_eq!(fault("int32(x)", &[0.0, x]), Some((1, OutOfRange(Int32))), "{x}");
    }
    let p63 = 2_f64.powi(63);
    for (x, expected) in [(p63 - 1024.0, i64::MAX - 1023), (-p63, i64::MIN), (-p63 + 1024.0, i64::MIN + 1024)] {
        assert_eq!(apply("int64(x)", &[x]), Ok(vec![expected]), "{x}");
    }
    for x in [p63, -p63 - 2048.0, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(fault("int64(x)", &[0.0, x]), Some((1, OutOfRange(Int64))), "{x}");
    }
    let (p31, p63) = (p31 as f32, p63 as f32);
    assert_eq!(apply("int32(x)", &[p31.next_down(), -p31]), Ok(vec![2_147_483_520, i32::MIN]));
    assert_eq!(apply("int64(x)", &[p63.next_down(), -p63]), Ok(vec![i64::MAX - (1 << 39) + 1, i64::MIN]));
    for x in [p31, (-p31).next_down()] {
        assert_eq!(fault("int32(x)", &[x]), Some((0, OutOfRange(Int32))), "{x}");
    }
    for x in [p63, (-p63).next_down()] {
        assert_eq!(fault("int64(x)", &[x]), Some((0, OutOfRange(Int64))), "{x}");
    }
    let x = [i64::from(i32::MAX), i64::from(i32::MIN)];
    assert_eq!(apply("int32(x)", &x), Ok(vec![i32::MAX, i32::MIN]));
    assert_eq!(fault("int32(x)", &[0, i64::from(i32::MIN) - 1]), Some((1, OutOfRange(Int32))));
}
