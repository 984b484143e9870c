//! Floats of a leaf combined in a fixed order that vector instructions can follow.

/// Combinations that are computed side by side: four registers of AVX-512.
const LANES: usize = 32;

/// Elements that go into each lane at a time, combined in pairs first. That halves the additions in a row twice, and the error
/// of a sum with them: an element of a full leaf goes through 2 + 7 + 5 = 14 roundings, one less than LEAF / (LANES * GROUP) in
/// the lanes, where NumPy's pairwise sum of as many has 21.
const GROUP: usize = 4;

const BLOCK: usize = LANES * GROUP;

/// What the compiler turns into float64 by itself.
pub trait Number: Copy {
    /// The number, rounded to float64 if it must be.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Number for $type {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        })*
    };
}
numbers!(u8, i32, i64, f32, f64);

/// Combines what `map` makes of each element. `identity` stands for elements that the last block lacks.
#[inline(always)]
pub fn combine<T: Number>(
    values: &[T],
    identity: f64,
    map: impl Fn(f64) -> f64,
    combine: impl Fn(f64, f64) -> f64,
) -> f64 {
    let mut lanes = [identity; LANES];
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for block in blocks {
        add(&mut lanes, &std::array::from_fn(|place| map(block[place].to_f64())), &combine);
    }
    if !rest.is_empty() {
        let mut block = [identity; BLOCK];
        for (place, x) in block.iter_mut().zip(rest) {
            *place = map(x.to_f64());
        }
        add(&mut lanes, &block, &combine);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

#[inline(always)]
fn add(lanes: &mut [f64; LANES], block: &[f64; BLOCK], combine: &impl Fn(f64, f64) -> f64) {
    for (place, lane) in lanes.iter_mut().enumerate() {
        let [a, b, c, d] = std::array::from_fn(|row| block[row * LANES + place]);
        *lane = combine(*lane, combine(combine(a, b), combine(c, d)));
    }
}
