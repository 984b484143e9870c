//! The ten formulas that are computed as expressions: what darray is asked, what must come, and the loop by hand, which is what
//! the machine can do. `tests/peers/formulas.py` has the same ten, by the same names.

use crate::judge::TOLERANCE;
use crate::ours::doubles;
use array::DType;
use array::kernels::{Build, Loop};
use std::thread;

/// The seed of the second array is so far from that of the first, as `peer.py` has it too.
const SECOND: u64 = 1_000_000;

/// The arrays of a round. What a formula calls x is one of the first four.
pub struct Inputs {
    pub double: Vec<f64>,
    pub int32: Vec<i32>,
    pub int64: Vec<i64>,
    pub single: Vec<f32>,
    pub b: Vec<f64>,
}

impl Inputs {
    /// Those of a seed. There is no negative int64: numexpr's remainder of one is not NumPy's.
    pub fn new(seed: u64, elements: usize) -> Inputs {
        let double = doubles(seed, elements);
        Inputs {
            int32: double.iter().map(|x| (x * 1e4) as i32).collect(),
            int64: double.iter().map(|x| (x.abs() * 1e10) as i64).collect(),
            single: double.iter().map(|x| (x / 20.0) as f32).collect(),
            b: doubles(seed + SECOND, elements),
            double,
        }
    }
}

/// Memory for results, which is warm: it is there already.
pub struct Outputs {
    double: Vec<f64>,
    int64: Vec<i64>,
    single: Vec<f32>,
    truth: Vec<bool>,
}

impl Outputs {
    pub fn new(elements: usize) -> Outputs {
        Outputs {
            double: vec![1.0; elements],
            int64: vec![1; elements],
            single: vec![1.0; elements],
            truth: vec![true; elements],
        }
    }
}

/// One of the ten.
pub struct Formula {
    pub name: &'static str,
    /// As darray is asked.
    pub text: &'static str,
    /// Which of the inputs is x.
    pub x: DType,
    /// Of the result.
    pub dtype: DType,
    /// How far an element may be from the judge's, relative to its size or to 1.
    pub tolerance: f64,
    /// An element of the result, for the judge.
    value: fn(&Inputs, usize) -> f64,
    /// All elements, in one loop by hand on two threads.
    pub fused: fn(&Inputs, &mut Outputs),
}

impl Formula {
    /// What must come.
    pub fn values<'a>(&self, inputs: &'a Inputs) -> impl Iterator<Item = f64> + Clone + use<'a> {
        let value = self.value;
        (0..inputs.double.len()).map(move |at| value(inputs, at))
    }

    /// Compares every element of a result; says which one is wrong.
    pub fn check(&self, inputs: &Inputs, found: impl Iterator<Item = f64>) -> Result<(), String> {
        let mut count = 0;
        for (at, (expected, found)) in self.values(inputs).zip(found).enumerate() {
            let near = (found - expected).abs() <= self.tolerance * (1.0 + expected.abs());
            if !near {
                return Err(format!("element {at} is {found}, expected {expected}"));
            }
            count += 1;
        }
        match count == inputs.double.len() {
            true => Ok(()),
            false => Err(format!("{count} elements instead of {}", inputs.double.len())),
        }
    }

    /// What is there after [`Formula::fused`].
    pub fn found<'a>(&self, outputs: &'a Outputs) -> impl Iterator<Item = f64> + Clone + use<'a> {
        let dtype = self.dtype;
        (0..outputs.double.len()).map(move |at| match dtype {
            DType::Bool => f64::from(outputs.truth[at]),
            DType::Int64 => outputs.int64[at] as f64,
            DType::Float32 => f64::from(outputs.single[at]),
            _ => outputs.double[at],
        })
    }
}

/// Formulas of the kinds that numexpr's users have. In the loops by hand, exp, log, sine and cosine are the standard library's, one
/// element at a time, as with numexpr and numba.
pub const FORMULAS: [Formula; 10] = [
    Formula {
        name: "powers",
        text: "0.5*x**5 + 1.5*x**4 - 2.5*x**3 + 3.0*x**2 - 4.0*x + 5.0",
        value: |of, at| {
            let x = of.double[at];
            0.5 * x.powi(5) + 1.5 * x.powi(4) - 2.5 * x.powi(3) + 3.0 * x.powi(2) - 4.0 * x + 5.0
        },
        fused: |of, out| {
            map(&of.double, &mut out.double, |x| {
                let (x2, x3) = (x * x, x * x * x);
                0.5 * (x2 * x3) + 1.5 * (x2 * x2) - 2.5 * x3 + 3.0 * x2 - 4.0 * x + 5.0
            });
        },
        ..DOUBLE
    },
    Formula {
        name: "where",
        text: "where(x > 0, x*x, -x)",
        value: |of, at| if of.double[at] > 0.0 { of.double[at].powi(2) } else { of.double[at].abs() },
        fused: |of, out| map(&of.double, &mut out.double, |x| if x > 0.0 { x * x } else { -x }),
        ..DOUBLE
    },
    Formula {
        name: "gauss",
        text: "exp(-x*x/2)",
        x: DType::Float32,
        dtype: DType::Float32,
        tolerance: 1e-6, // some units in the last place of float32
        value: |of, at| (-f64::from(of.single[at]).powi(2) / 2.0).exp(),
        fused: |of, out| map(&of.single, &mut out.single, |x| (-x * x / 2.0).exp()),
    },
    Formula {
        name: "log",
        text: "log(abs(x) + 1)",
        value: |of, at| of.double[at].abs().ln_1p(),
        fused: |of, out| map(&of.double, &mut out.double, |x| (x.abs() + 1.0).ln()),
        ..DOUBLE
    },
    Formula {
        name: "logistic",
        text: "1/(1 + exp(-x))",
        value: |of, at| 1.0 / (1.0 + (-of.double[at]).exp()),
        fused: |of, out| map(&of.double, &mut out.double, |x| 1.0 / (1.0 + (-x).exp())),
        ..DOUBLE
    },
    Formula {
        name: "hypotenuse",
        text: "sqrt(x*x + b*b)",
        value: |of, at| of.double[at].hypot(of.b[at]),
        fused: |of, out| map_two(&of.double, &of.b, &mut out.double, |x, b| (x * x + b * b).sqrt()),
        ..DOUBLE
    },
    Formula {
        name: "scale",
        text: "x*2.5 + 1",
        x: DType::Int32,
        value: |of, at| f64::from(of.int32[at]) * 2.5 + 1.0,
        fused: |of, out| map(&of.int32, &mut out.double, |x| f64::from(x) * 2.5 + 1.0),
        ..DOUBLE
    },
    Formula {
        name: "remainder",
        text: "x % 1000",
        x: DType::Int64,
        dtype: DType::Int64,
        value: |of, at| of.int64[at].rem_euclid(1000) as f64,
        // As a number without sign, which it is, and which is faster.
        fused: |of, out| map(&of.int64, &mut out.int64, |x| (x as u64 % 1000) as i64),
        ..DOUBLE
    },
    Formula {
        name: "circle",
        text: "sin(x)**2 + cos(b)**2",
        value: |of, at| of.double[at].sin().powi(2) + of.b[at].cos().powi(2),
        fused: |of, out| {
            map_two(&of.double, &of.b, &mut out.double, |x, b| {
                let (sine, cosine) = (x.sin(), b.cos());
                sine * sine + cosine * cosine
            });
        },
        ..DOUBLE
    },
    Formula {
        name: "logic",
        text: "x > 0 and b < x or x < -50",
        dtype: DType::Bool,
        value: |of, at| {
            let (x, b) = (of.double[at], of.b[at]);
            f64::from(u8::from(x > 0.0 && b < x || x < -50.0))
        },
        fused: |of, out| map_two(&of.double, &of.b, &mut out.truth, |x, b| (x > 0.0) & (b < x) | (x < -50.0)),
        ..DOUBLE
    },
];

/// What most of them are.
const DOUBLE: Formula = Formula {
    name: "",
    text: "",
    x: DType::Float64,
    dtype: DType::Float64,
    tolerance: TOLERANCE,
    value: |_, _| f64::NAN,
    fused: |_, _| (),
};

/// One array into another.
struct Map<'a, X, Y, F>(&'a [X], &'a mut [Y], F);

impl<X: Copy, Y, F: Fn(X) -> Y> Loop for Map<'_, X, Y, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, y) in self.0.iter().zip(self.1) {
            *y = (self.2)(*x);
        }
    }
}

fn map<X: Copy + Sync, Y: Send>(x: &[X], y: &mut [Y], of: impl Fn(X) -> Y + Copy + Send) {
    let half = x.len() / 2;
    let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
    thread::scope(|scope| {
        scope.spawn(move || Build::best().run(Map(x1, y1, of)));
        Build::best().run(Map(x2, y2, of));
    });
}

/// Two arrays into another.
struct MapTwo<'a, A, B, Y, F>(&'a [A], &'a [B], &'a mut [Y], F);

impl<A: Copy, B: Copy, Y, F: Fn(A, B) -> Y> Loop for MapTwo<'_, A, B, Y, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((a, b), y) in self.0.iter().zip(self.1).zip(self.2) {
            *y = (self.3)(*a, *b);
        }
    }
}

fn map_two<A, B, Y>(a: &[A], b: &[B], y: &mut [Y], of: impl Fn(A, B) -> Y + Copy + Send)
where
    A: Copy + Sync,
    B: Copy + Sync,
    Y: Send,
{
    let half = a.len() / 2;
    let ((a1, a2), (b1, b2), (y1, y2)) = (a.split_at(half), b.split_at(half), y.split_at_mut(half));
    thread::scope(|scope| {
        scope.spawn(move || Build::best().run(MapTwo(a1, b1, y1, of)));
        Build::best().run(MapTwo(a2, b2, y2, of));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Judge, Summary};

    #[test]
    fn the_loops_give_what_the_judge_expects() {
        let inputs = Inputs::new(5, 3000);
        let judge = Judge::new(&inputs);
        for formula in FORMULAS {
            let mut outputs = Outputs::new(3000);
            let untouched = Summary::of(formula.found(&outputs));
            assert!(judge.array(formula.name, &untouched).is_err(), "{}", formula.name);
            (formula.fused)(&inputs, &mut outputs);
            assert_eq!(judge.array(formula.name, &Summary::of(formula.found(&outputs))), Ok(()), "{}", formula.name);
        }
    }
}
