//! Elements to reduce.

use std::ops::Range;

use crate::kernels::Build;
use crate::random;
use crate::reduction::ReductionError;
use crate::reduction::{LEAF, Partial, Reducer, Scalar, Tree, Values};

/// Elements of one of the dtypes that are computed on.
#[derive(Clone, Debug)]
pub enum Data {
    Bool(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

impl Data {
    pub fn values(&self) -> Values<'_> {
        match self {
            Data::Bool(values) => Values::Bool(values),
            Data::Int32(values) => Values::Int32(values),
            Data::Int64(values) => Values::Int64(values),
            Data::Float32(values) => Values::Float32(values),
            Data::Float64(values) => Values::Float64(values),
        }
    }

    pub fn slice(&self, range: Range<usize>) -> Values<'_> {
        match self {
            Data::Bool(values) => Values::Bool(&values[range]),
            Data::Int32(values) => Values::Int32(&values[range]),
            Data::Int64(values) => Values::Int64(&values[range]),
            Data::Float32(values) => Values::Float32(&values[range]),
            Data::Float64(values) => Values::Float64(&values[range]),
        }
    }

    /// The partial of all of it, leaf by leaf.
    pub fn partial(&self, reducer: Reducer, build: Build) -> Partial {
        let mut tree = Tree::new(reducer, self.values().dtype());
        tree.push_leaves(build, 0, self.values());
        tree.finish()
    }

    pub fn reduce(&self, reducer: Reducer) -> Result<Scalar, ReductionError> {
        self.partial(reducer, Build::best()).finish()
    }
}

/// Lengths around the limits of a block of lanes, a leaf, several leaves.
pub fn lengths() -> Vec<usize> {
    let limits = [64, 128, LEAF / 2, LEAF, 2 * LEAF, 3 * LEAF, 4 * LEAF, 8 * LEAF];
    let around = limits.into_iter().flat_map(|limit| [limit - 1, limit, limit + 1]);
    (0..10).chain([31, 32, 33, 100, 5000]).chain(around).collect()
}

/// What NumPy's users stumble over.
const SPECIAL: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    -f64::NAN,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
];

fn bits(seed: u64, len: usize) -> impl Iterator<Item = u64> {
    (0..len as u64).map(move |index| random::bits(seed, index))
}

fn special(bits: u64) -> f64 {
    SPECIAL[(bits % SPECIAL.len() as u64) as usize]
}

fn uniform(bits: u64, bound: f64) -> f64 {
    ((bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) * bound
}

/// Floats of which no sum, product or square leaves the range of float32.
pub fn moderate(seed: u64, len: usize) -> Vec<Data> {
    let doubles: Vec<f64> = bits(seed, len).map(|bits| uniform(bits, 1e3) + (seed % 3) as f64 * 100.0).collect();
    let floats = doubles.iter().map(|&x| x as f32).collect();
    vec![Data::Float64(doubles), Data::Float32(floats)]
}

/// Floats of every kind: random patterns, special ones, zeros of both signs, few distinct ones, all with and without NaN.
pub fn wild(seed: u64, len: usize) -> Vec<Data> {
    let patterns: Vec<f64> = bits(seed, len).map(f64::from_bits).collect();
    let zeros = bits(seed, len).map(|bits| if bits & 1 == 0 { 0.0 } else { -0.0 }).collect();
    let low_zeros =
        bits(seed, len).map(|bits| if bits.is_multiple_of(99) { -0.0 } else { (bits % 5) as f64 }).collect();
    let mut rarely_nan: Vec<f64> = bits(seed, len).map(|bits| uniform(bits, 1.0)).collect();
    if let Some(x) = rarely_nan.get_mut(len * 2 / 3) {
        *x = -f64::NAN;
    }
    let doubles = [
        patterns.iter().map(|x| if x.is_nan() { 1.0 } else { *x }).collect(),
        patterns,
        bits(seed, len).map(special).collect(),
        bits(seed, len)
            .map(|bits| if bits.is_multiple_of(500) { special(bits / 500) } else { uniform(bits, 1.0) })
            .collect(),
        bits(seed, len).map(|bits| -((bits % 3) as f64)).collect(),
        vec![f64::INFINITY; len],
        vec![f64::NEG_INFINITY; len],
        zeros,
        low_zeros,
        rarely_nan,
    ];
    let narrow = |doubles: &Vec<f64>| Data::Float32(doubles.iter().map(|&x| x as f32).collect());
    let narrow_patterns = Data::Float32(bits(seed, len).map(|bits| f32::from_bits(bits as u32)).collect());
    let floats: Vec<Data> = doubles.iter().map(narrow).collect();
    doubles.into_iter().map(Data::Float64).chain(floats).chain([narrow_patterns]).collect()
}

/// Bool and integers: random ones, extremes, few distinct ones, such with and without zeros.
pub fn integers(seed: u64, len: usize) -> Vec<Data> {
    let extremes = [i64::MIN, i64::MAX, i64::MIN + 1, 0, -1, 1];
    let few_extremes = |bits: u64| if bits.is_multiple_of(50) { extremes[(bits / 50 % 6) as usize] } else { -1 };
    vec![
        Data::Bool(bits(seed, len).map(|bits| (bits & 1) as u8).collect()),
        Data::Bool(vec![1; len]),
        Data::Bool(vec![0; len]),
        Data::Int64(bits(seed, len).map(u64::cast_signed).collect()),
        Data::Int64(bits(seed, len).map(|bits| extremes[(bits % 6) as usize]).collect()),
        Data::Int64(bits(seed, len).map(|bits| [1, -1, 1, -1, 2][(bits % 5) as usize]).collect()),
        Data::Int64(bits(seed, len).map(few_extremes).collect()),
        Data::Int64(vec![i64::MIN; len]),
        Data::Int64(vec![i64::MAX; len]),
        Data::Int32(bits(seed, len).map(|bits| bits as i32).collect()),
        Data::Int32(bits(seed, len).map(|bits| if bits.is_multiple_of(40) { -2 } else { 1 }).collect()),
        Data::Int32(vec![i32::MIN; len]),
        Data::Int32(vec![i32::MAX; len]),
    ]
}

/// All of these.
pub fn all(seed: u64, len: usize) -> Vec<Data> {
    [moderate(seed, len), wild(seed, len), integers(seed, len)].concat()
}
