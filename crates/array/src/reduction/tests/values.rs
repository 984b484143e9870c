//! Names, scalars and errors.

use proptest::prelude::*;

use crate::DType;
use crate::kernels::Build;
use crate::reduction::{LEAF, Partial, Reducer, ReductionError, Scalar, Tree, Values};

#[test]
fn names_round_trip_and_the_error_lists_them() {
    for reducer in Reducer::ALL {
        assert_eq!(reducer.to_string().parse(), Ok(reducer));
    }
    assert!(Reducer::ALL.windows(2).all(|pair| pair[0] < pair[1]), "ALL follows the enum");
    let error = "median".parse::<Reducer>().unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown reduction 'median', there are sum, prod, min, max, argmin, argmax, mean, var, std, count, any, all"
    );
}

#[test]
fn outputs_are_numpys() {
    use DType::{Bool, Float32, Float64, Int32, Int64};
    for (reducers, outputs) in [
        (&[Reducer::Sum, Reducer::Prod][..], [Int64, Int64, Int64, Float32, Float64]),
        (&[Reducer::Min, Reducer::Max], [Bool, Int32, Int64, Float32, Float64]),
        (&[Reducer::Argmin, Reducer::Argmax, Reducer::Count], [Int64; 5]),
        (&[Reducer::Any, Reducer::All], [Bool; 5]),
        (&[Reducer::Mean, Reducer::Var, Reducer::Std], [Float64, Float64, Float64, Float32, Float64]),
    ] {
        for reducer in reducers {
            assert_eq!([Bool, Int32, Int64, Float32, Float64].map(|dtype| reducer.output(dtype)), outputs, "{reducer}");
        }
    }
}

#[test]
fn scalars_are_written_in_the_shortest_way() {
    for (scalar, text) in [
        (Scalar::Float64(0.1), "0.1"),
        (Scalar::Float64(1e300), "1e300"),
        (Scalar::Float64(-0.0), "-0.0"),
        (Scalar::Float64(2.0), "2.0"),
        (Scalar::Float64(5e-324), "5e-324"),
        (Scalar::Float32(0.1), "0.1"),
        (Scalar::Float32(f32::MAX), "3.4028235e38"),
        (Scalar::Float64(f64::NAN), "NaN"),
        (Scalar::Float64(f64::INFINITY), "inf"),
        (Scalar::Float32(f32::NEG_INFINITY), "-inf"),
        (Scalar::Int64(i64::MIN), "-9223372036854775808"),
        (Scalar::Bool(true), "true"),
    ] {
        assert_eq!(scalar.to_string(), text);
        let back = Scalar::parse(scalar.dtype(), text).unwrap();
        assert_eq!(format!("{back:?}"), format!("{scalar:?}"));
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for (dtype, text) in [
        (DType::Bool, "1"),
        (DType::Int32, "2147483648"),
        (DType::Int32, "1.0"),
        (DType::Int64, ""),
        (DType::Float32, "1e39"),
        (DType::Float64, "1e309"),
        (DType::Float64, "one"),
        (DType::Int8, "1"),
    ] {
        let error = Scalar::parse(dtype, text).unwrap_err().to_string();
        assert_eq!(error, format!("'{text}' is no value of {dtype}"));
    }
}

#[test]
fn errors_name_the_reducer_and_what_to_do() {
    let overflow = ReductionError::Overflow { reducer: Reducer::Sum }.to_string();
    assert_eq!(overflow, "the sum does not fit int64; take sum(float64(...)) for a rounded one");
    let empty = ReductionError::Empty { reducer: Reducer::Argmin }.to_string();
    assert_eq!(empty, "no elements have no argmin; it needs one at least");
}

#[test]
#[should_panic = "a leaf of 1025 elements, 1024 at most"]
fn more_than_a_leaf_is_refused() {
    Partial::of(Reducer::Sum, Build::best(), 0, Values::Bool(&[0; LEAF + 1]));
}

#[test]
#[should_panic = "sum of int32 and max of int32"]
fn another_reducer_is_refused() {
    Tree::new(Reducer::Sum, DType::Int32).push(&Partial::empty(Reducer::Max, DType::Int32));
}

#[test]
#[should_panic = "nothing is computed on int8"]
fn a_dtype_without_arithmetic_is_refused() {
    Tree::new(Reducer::Min, DType::Int8);
}

proptest! {
    #[test]
    fn floats_are_read_back_to_the_same_bits(bits: u64) {
        let double = Scalar::Float64(f64::from_bits(bits));
        let Ok(Scalar::Float64(back)) = Scalar::parse(DType::Float64, &double.to_string()) else { panic!("{double}") };
        let float = Scalar::Float32(f32::from_bits(bits as u32));
        let Ok(Scalar::Float32(narrow)) = Scalar::parse(DType::Float32, &float.to_string()) else { panic!("{float}") };
        prop_assert!(back.to_bits() == bits || f64::from_bits(bits).is_nan());
        prop_assert!(narrow.to_bits() == bits as u32 || f32::from_bits(bits as u32).is_nan());
    }
}
