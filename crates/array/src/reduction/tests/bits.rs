//! The same bits for any cut and any build, and bytes that are no partial.

use proptest::prelude::*;

use super::data::{self, Data, lengths};
use crate::kernels::Build;
use crate::reduction::{LEAF, Leaf, Partial, Reducer, Tree};
use crate::{DType, KERNELS_ID, checksum};

const COMPUTED: [DType; 5] = [DType::Bool, DType::Int32, DType::Int64, DType::Float32, DType::Float64];

#[test]
fn builds_give_the_same_bits() {
    for len in lengths() {
        for data in data::all(7, len) {
            for reducer in Reducer::ALL {
                let expected = data.partial(reducer, Build::all()[0]).to_bytes();
                for build in Build::all() {
                    let found = data.partial(reducer, build).to_bytes();
                    assert_eq!(found, expected, "{reducer} of {len} {}, {build:?}", data.values().dtype());
                }
            }
        }
    }
}

/// What reducers share of a leaf gives what each would have by itself, whichever is first.
#[test]
fn a_shared_leaf_gives_the_same_bits() {
    for data in data::all(10, 1000) {
        let alone = |reducer| Partial::of(reducer, Build::best(), 7, data.values()).to_bytes();
        let mut leaves = [(); 2].map(|()| Leaf::new(Build::best(), 7, data.values()));
        for reducer in Reducer::ALL {
            assert_eq!(leaves[0].partial(reducer).to_bytes(), alone(reducer), "{reducer}");
        }
        for reducer in Reducer::ALL.into_iter().rev() {
            assert_eq!(leaves[1].partial(reducer).to_bytes(), alone(reducer), "{reducer}");
        }
    }
}

/// The bits that [`KERNELS_ID`] names, of partials, which workers send to each other. If this fails, the id must change together
/// with the checksum.
#[test]
fn the_bits_have_not_changed() {
    let bytes = [0, 1, 100, 5000].into_iter().flat_map(|len| data::all(9, len)).flat_map(|data| {
        Reducer::ALL.into_iter().flat_map(move |reducer| data.partial(reducer, Build::best()).to_bytes())
    });
    let crc = checksum::crc32c(&bytes.collect::<Vec<u8>>());
    assert_eq!((KERNELS_ID, crc), ("darray-3", 2_774_036_340));
}

/// A tree over pieces of `lens[0]` elements, each reduced by a tree over pieces of `lens[1]`, and so on to the leaves.
fn nested(data: &Data, reducer: Reducer, start: usize, end: usize, lens: &[usize]) -> Partial {
    let mut tree = Tree::new(reducer, data.values().dtype());
    let Some((&len, inner)) = lens.split_first() else {
        tree.push_leaves(Build::best(), start as u64, data.slice(start..end));
        return tree.finish();
    };
    for start in (start..end).step_by(len) {
        let piece = nested(data, reducer, start, end.min(start + len), inner);
        // As it comes from another machine.
        let piece = Partial::from_bytes(reducer, piece.dtype(), &piece.to_bytes()).unwrap();
        tree.push(&piece);
    }
    tree.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn trees_of_trees_are_one_tree(
        seed: u64,
        len in 0..40 * LEAF,
        segment_leaves in 2..5_u32,
        chunk_leaves in 0..4_u32,
    ) {
        let segment = LEAF << segment_leaves;
        let chunk = (LEAF << chunk_leaves).min(segment);
        for data in data::all(seed, len) {
            for reducer in Reducer::ALL {
                let expected = data.partial(reducer, Build::best()).to_bytes();
                for lens in [&[segment][..], &[chunk], &[segment, chunk]] {
                    let found = nested(&data, reducer, 0, len, lens).to_bytes();
                    prop_assert_eq!(found, expected, "{} of {} {}", reducer, len, data.values().dtype());
                }
            }
        }
    }

    /// Any order of merging neighbours gives the bits of those whose arithmetic is exact.
    #[test]
    fn exact_reductions_do_not_depend_on_the_tree(seed: u64, cuts in prop::collection::vec(0..900_usize, 0..8)) {
        for data in data::all(seed, cuts.iter().sum()) {
            let is_float = matches!(data, Data::Float32(_) | Data::Float64(_));
            let rounds = [Reducer::Sum, Reducer::Prod, Reducer::Mean];
            let exact = Reducer::ALL.into_iter().filter(|reducer| !(is_float && rounds.contains(reducer)));
            for reducer in exact.filter(|reducer| !matches!(reducer, Reducer::Var | Reducer::Std)) {
                let mut start = 0;
                let mut merged = Partial::empty(reducer, data.values().dtype());
                for len in &cuts {
                    let values = data.slice(start..start + len);
                    merged.merge(&Partial::of(reducer, Build::best(), start as u64, values));
                    start += len;
                }
                prop_assert_eq!(merged.to_bytes(), data.partial(reducer, Build::best()).to_bytes(), "{}", reducer);
            }
        }
    }

    /// Whatever comes is refused or is a partial with these very bytes, which can be merged and finished.
    #[test]
    fn hostile_bytes_do_no_harm(
        seed: u64,
        changes in prop::collection::vec((0..Partial::BYTES, any::<u8>()), 1..6),
        words in any::<[u64; 3]>(),
    ) {
        for reducer in Reducer::ALL {
            for data in data::all(seed, 5) {
                let dtype = data.values().dtype();
                let honest = data.partial(reducer, Build::best());
                let mut changed = honest.to_bytes();
                for &(place, byte) in &changes {
                    changed[place] = byte;
                }
                let mut random = honest.to_bytes();
                for (place, word) in random[8..].chunks_exact_mut(8).zip(words) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
                for bytes in [changed, random] {
                    let Ok(partial) = Partial::from_bytes(reducer, dtype, &bytes) else { continue };
                    prop_assert_eq!(partial.to_bytes(), bytes);
                    let _ = partial.finish();
                    let mut merged = honest;
                    merged.merge(&partial);
                    for _ in 0..130 {
                        let again = merged;
                        merged.merge(&again);
                        merged.merge(&partial);
                    }
                    let _ = merged.finish();
                }
            }
        }
    }
}

#[test]
fn partials_come_back_from_their_bytes_and_from_no_others() {
    for reducer in Reducer::ALL {
        for data in data::all(8, 100).into_iter().chain(data::all(8, 0)) {
            let dtype = data.values().dtype();
            let bytes = data.partial(reducer, Build::best()).to_bytes();
            let back = Partial::from_bytes(reducer, dtype, &bytes).unwrap();
            assert_eq!((back.reducer(), back.dtype(), back.to_bytes()), (reducer, dtype, bytes));
            for other in Reducer::ALL.into_iter().filter(|other| *other != reducer) {
                assert!(Partial::from_bytes(other, dtype, &bytes).is_err(), "{reducer} as {other}");
            }
            for other in COMPUTED.into_iter().filter(|other| *other != dtype) {
                assert!(Partial::from_bytes(reducer, other, &bytes).is_err(), "{dtype} as {other}");
            }
            assert!(Partial::from_bytes(reducer, dtype, &bytes[1..]).is_err());
            assert!(Partial::from_bytes(reducer, dtype, &[&bytes[..], &[0]].concat()).is_err());
            for place in 3..8 {
                let mut padded = bytes;
                padded[place] = 1;
                assert!(Partial::from_bytes(reducer, dtype, &padded).is_err(), "byte {place}");
            }
        }
        for dtype in DType::ALL.into_iter().filter(|dtype| !COMPUTED.contains(dtype)) {
            let error = Partial::from_bytes(reducer, dtype, &[0; Partial::BYTES]).unwrap_err();
            assert!(error.to_string().contains(dtype.name()), "{error}");
        }
    }
}

/// Numbers that no array can have, and a NaN with a payload.
#[test]
fn impossible_partials_are_refused() {
    let with_words = |reducer, dtype, words: [u64; 3]| {
        let mut bytes = Partial::empty(reducer, dtype).to_bytes();
        for (place, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Partial::from_bytes(reducer, dtype, &bytes).map(|partial| partial.to_bytes())
    };
    let (one, minus_one, odd_nan) = (1_f64.to_bits(), (-1_f64).to_bits(), 0xFFF8 << 48);
    assert!(with_words(Reducer::Count, DType::Bool, [1, 2, 0]).is_ok());
    assert!(with_words(Reducer::Count, DType::Bool, [3, 2, 0]).is_err());
    assert!(with_words(Reducer::Mean, DType::Int32, [1 << 45, 0, 0]).is_ok());
    assert!(with_words(Reducer::Mean, DType::Int32, [(1 << 45) + 1, 0, 0]).is_err());
    assert!(with_words(Reducer::Var, DType::Float64, [2, one, one]).is_ok());
    assert!(with_words(Reducer::Var, DType::Float64, [2, one, minus_one]).is_err());
    assert!(with_words(Reducer::Sum, DType::Float64, [2, odd_nan, 0]).is_err());
    assert!(with_words(Reducer::Prod, DType::Float32, [odd_nan, 0, 0]).is_err());
}
