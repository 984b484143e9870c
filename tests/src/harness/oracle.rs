//! What the operations should give, written down a second time: plain loops over the numbers, with the functions of the
//! standard library and not with our kernels.

/// How far a result of example1 may be from the oracle's: the two use different libraries for sine and cosine.
const ABSOLUTE: f64 = 1e-12;
const RELATIVE: f64 = 1e-9;

/// `(sin x + cos x)² / (√|x| + 1)`.
pub fn example1(x: f64) -> f64 {
    let sum = x.sin() + x.cos();
    sum * sum / (x.abs().sqrt() + 1.0)
}

/// `trunc((x · ln x) mod 7)` for multiples of 3 and for 500 to 1000, 0 for multiples of 3 that are not positive; x elsewhere.
pub fn example2(x: i32) -> i32 {
    match x % 3 == 0 || (500..=1000).contains(&x) {
        true if x <= 0 => 0,
        true => ((f64::from(x) * f64::from(x).ln()) % 7.0).trunc() as i32,
        false => x,
    }
}

/// Compares every element; says where the first difference is.
pub fn check_example1(source: &[f64], result: &[f64]) -> Result<(), String> {
    let near = |expected: f64, found: f64| (found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs();
    check(source, result, example1, near)
}

/// Compares every element; says where the first difference is.
pub fn check_example2(source: &[i32], result: &[i32]) -> Result<(), String> {
    check(source, result, example2, |expected, found| expected == found)
}

fn check<T: Copy + std::fmt::Display>(
    source: &[T],
    result: &[T],
    oracle: impl Fn(T) -> T,
    same: impl Fn(T, T) -> bool,
) -> Result<(), String> {
    if source.len() != result.len() {
        return Err(format!("{} elements instead of {}", result.len(), source.len()));
    }
    for (at, (x, found)) in source.iter().zip(result).enumerate() {
        let expected = oracle(*x);
        if !same(expected, *found) {
            return Err(format!("element {at}: of {x} came {found}, expected {expected}"));
        }
    }
    Ok(())
}

/// Numbers for tests, the same for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// One of `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        (u64::from(self.bits()) * below) >> 32
    }

    /// Doubles from -100 to 100.
    pub fn doubles(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| f64::from(self.bits()) / f64::from(u32::MAX) * 200.0 - 100.0).collect()
    }

    /// Ints from -1000 to 2000.
    pub fn ints(&mut self, len: usize) -> Vec<i32> {
        (0..len).map(|_| self.below(3001) as i32 - 1000).collect()
    }
}
