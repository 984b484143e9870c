//! The steps: each is one loop over a block, for each dtype it can be asked for.

use super::fault::Fault;
use super::fuse::{Arithmetic, Pair, Second};
use super::{Binary, Op, Unary};
use crate::DType::{self, *};
use crate::kernels::elementwise::{Any1, Any2, Map1, Map2, Map2Fast, Map3};
use crate::kernels::number::{Number, int_pow_32, int_pow_64, rem, to_int, to_long};
use crate::kernels::{Build, Loop, elementary};
use crate::random;
use bytemuck::{Pod, cast_slice, cast_slice_mut};

/// Numbers that are made from the place of an element.
pub fn generate(op: Op, dtype: DType, start: u64, out: &mut [u8]) {
    match (op, dtype) {
        (Op::Index, _) => Build::best().run(Count(cast_slice_mut(out), start as i64)),
        (Op::Uniform { seed, low, high }, _) => random::fill_double(seed, start, cast_slice_mut(out), low, high),
        (Op::Integers { seed, low, high }, Int32) => {
            random::fill_int(seed, start, cast_slice_mut(out), low as i32, high as i32)
        }
        (Op::Integers { seed, low, high }, _) => random::fill_long(seed, start, cast_slice_mut(out), low, high),
        (Op::Normal { seed }, _) => random::fill_normal(seed, start, cast_slice_mut(out)),
        (op, _) => unreachable!("{op:?} is an input, a constant, or computed"),
    }
}

/// Numbers from one on.
struct Count<'a>(&'a mut [i64], i64);

impl Loop for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (at, y) in self.0.iter_mut().enumerate() {
            *y = self.1 + at as i64;
        }
    }
}

fn map1<A: Pod, O: Pod>(build: Build, a: &[u8], out: &mut [u8], function: impl Fn(A) -> O) {
    build.run(Map1(cast_slice(a), cast_slice_mut(out), function));
}

fn map2<A: Pod, O: Pod>(build: Build, (a, b): (&[u8], &[u8]), out: &mut [u8], function: impl Fn(A, A) -> O) {
    build.run(Map2(cast_slice(a), cast_slice(b), cast_slice_mut(out), function));
}

/// A division, whose fast way does not hold for all.
fn divide<T: Number>(
    build: Build,
    (a, b): (&[u8], &[u8]),
    out: &mut [u8],
    fast: impl Fn(T, T) -> T,
    slow: impl Fn(T, T) -> T,
) {
    let (a, b, output) = (cast_slice(a), cast_slice(b), cast_slice_mut(out));
    build.run(Map2Fast { a, b, output, holds: T::divides_fast, fast, slow });
}

fn divide_to_rem<T: Number>(build: Build, args: (&[u8], &[u8]), out: &mut [u8]) {
    let fast = |a: T, b: T| rem(a, b, a.modulo_fast(b));
    divide(build, args, out, fast, |a, b| rem(a, b, a.modulo(b)));
}

/// A function of one value.
pub fn run_unary(build: Build, unary: Unary, dtype: DType, a: &[u8], out: &mut [u8]) {
    macro_rules! each {
        ($method:ident) => {
            match dtype {
                Int32 => map1::<i32, _>(build, a, out, Number::$method),
                Int64 => map1::<i64, _>(build, a, out, Number::$method),
                Float32 => map1::<f32, _>(build, a, out, Number::$method),
                _ => map1::<f64, _>(build, a, out, Number::$method),
            }
        };
    }
    macro_rules! floats {
        ($float:ident: $function:expr) => {
            match dtype {
                Float32 => {
                    type $float = f32;
                    map1::<f32, _>(build, a, out, $function)
                }
                _ => {
                    type $float = f64;
                    map1::<f64, _>(build, a, out, $function)
                }
            }
        };
    }
    match unary {
        Unary::Neg => each!(neg),
        Unary::Abs => each!(abs),
        Unary::Sign => each!(sign),
        Unary::Not => map1::<u8, u8>(build, a, out, |x| x ^ 1),
        Unary::Floor => floats!(Float: |x: Float| x.floor()),
        Unary::Ceil => floats!(Float: |x: Float| x.ceil()),
        Unary::Trunc => floats!(Float: |x: Float| x.trunc()),
        Unary::Round => floats!(Float: |x: Float| x.round_ties_even()),
        Unary::Sqrt => floats!(Float: |x: Float| x.sqrt()),
        Unary::IsNan => floats!(Float: |x: Float| u8::from(x.is_nan())),
        Unary::IsInf => floats!(Float: |x: Float| u8::from(x.is_infinite())),
        Unary::IsFinite => floats!(Float: |x: Float| u8::from(x.is_finite())),
        Unary::Elementary(function) if dtype == Float32 => {
            function.run::<f32>(build, cast_slice(a), cast_slice_mut(out));
        }
        Unary::Elementary(function) => function.run::<f64>(build, cast_slice(a), cast_slice_mut(out)),
    }
}

/// Sine and cosine of floats.
pub fn run_sin_cos(build: Build, dtype: DType, input: &[u8], sin: &mut [u8], cos: &mut [u8]) {
    match dtype {
        Float32 => elementary::sin_cos::<f32>(build, cast_slice(input), cast_slice_mut(sin), cast_slice_mut(cos)),
        _ => elementary::sin_cos::<f64>(build, cast_slice(input), cast_slice_mut(sin), cast_slice_mut(cos)),
    }
}

/// A function of two values; fails at the first element that has none, but for those that a guard excuses.
pub fn run_binary(
    build: Build,
    binary: Binary,
    dtype: DType,
    args: (&[u8], &[u8]),
    guard: Option<&[u8]>,
    out: &mut [u8],
) -> Result<(), (usize, Fault)> {
    macro_rules! each {
        ($method:ident) => {
            match dtype {
                Int32 => map2::<i32, _>(build, args, out, Number::$method),
                Int64 => map2::<i64, _>(build, args, out, Number::$method),
                Float32 => map2::<f32, _>(build, args, out, Number::$method),
                _ => map2::<f64, _>(build, args, out, Number::$method),
            }
        };
    }
    macro_rules! each_division {
        ($fast:ident, $slow:ident) => {
            match dtype {
                Int32 => divide::<i32>(build, args, out, Number::$fast, Number::$slow),
                Int64 => divide::<i64>(build, args, out, Number::$fast, Number::$slow),
                Float32 => divide::<f32>(build, args, out, Number::$fast, Number::$slow),
                _ => divide::<f64>(build, args, out, Number::$fast, Number::$slow),
            }
        };
    }
    macro_rules! compare {
        ($operator:tt) => {
            match dtype {
                Bool => map2::<u8, u8>(build, args, out, |a, b| u8::from(a $operator b)),
                Int32 => map2::<i32, u8>(build, args, out, |a, b| u8::from(a $operator b)),
                Int64 => map2::<i64, u8>(build, args, out, |a, b| u8::from(a $operator b)),
                Float32 => map2::<f32, u8>(build, args, out, |a, b| u8::from(a $operator b)),
                _ => map2::<f64, u8>(build, args, out, |a, b| u8::from(a $operator b)),
            }
        };
    }
    match binary {
        Binary::Add => each!(add),
        Binary::Sub => each!(sub),
        Binary::Mul => each!(mul),
        Binary::FloorDiv => each_division!(floor_div_fast, floor_div),
        Binary::Mod => each_division!(modulo_fast, modulo),
        Binary::Minimum => each!(minimum),
        Binary::Maximum => each!(maximum),
        Binary::Div if dtype == Float32 => map2::<f32, _>(build, args, out, |a, b| a / b),
        Binary::Div => map2::<f64, _>(build, args, out, |a, b| a / b),
        Binary::Rem if dtype == Int32 => divide_to_rem::<i32>(build, args, out),
        Binary::Rem => divide_to_rem::<i64>(build, args, out),
        Binary::IntPow if dtype == Int32 => map2::<i32, _>(build, args, out, int_pow_32),
        Binary::IntPow => map2::<i64, _>(build, args, out, int_pow_64),
        Binary::Eq => compare!(==),
        Binary::Ne => compare!(!=),
        Binary::Lt => compare!(<),
        Binary::Le => compare!(<=),
        Binary::And => map2::<u8, u8>(build, args, out, |a, b| a & b),
        Binary::Or => map2::<u8, u8>(build, args, out, |a, b| a | b),
        Binary::Elementary(function) => {
            function.run(build, cast_slice(args.0), cast_slice(args.1), cast_slice_mut(out))
        }
    }
    match (binary, dtype) {
        (Binary::FloorDiv | Binary::Mod | Binary::Rem, Int32) => {
            find(build, args.1, guard, |b: i32| b == 0, |_| Fault::DivisionByZero)
        }
        (Binary::FloorDiv | Binary::Mod | Binary::Rem, Int64) => {
            find(build, args.1, guard, |b: i64| b == 0, |_| Fault::DivisionByZero)
        }
        (Binary::IntPow, Int32) => find(build, args.1, guard, |b: i32| b < 0, |_| Fault::NegativePower),
        (Binary::IntPow, _) => find(build, args.1, guard, |b: i64| b < 0, |_| Fault::NegativePower),
        _ => Ok(()),
    }
}

/// The first element that is faulty and that the guard does not excuse.
fn find<A: Pod>(
    build: Build,
    a: &[u8],
    guard: Option<&[u8]>,
    is_faulty: impl Fn(A) -> bool + Copy,
    fault: impl Fn(A) -> Fault,
) -> Result<(), (usize, Fault)> {
    let a: &[A] = cast_slice(a);
    let any = match guard {
        None => build.run(Any1(a, is_faulty)),
        Some(guard) => build.run(Any2(a, guard, |a, guard| (guard != 0) & is_faulty(a))),
    };
    if !any {
        return Ok(());
    }
    let counts = |at: &usize| is_faulty(a[*at]) && guard.is_none_or(|guard| guard[*at] != 0);
    (0..a.len()).find(counts).map_or(Ok(()), |at| Err((at, fault(a[at]))))
}

/// Two operations of float64 in one loop.
pub fn run_pair(build: Build, pair: Pair, [a, b, c]: [&[u8]; 3], out: &mut [u8]) {
    let (a, b, c): (&[f64], &[f64], &[f64]) = (cast_slice(a), cast_slice(b), cast_slice(c));
    let out = cast_slice_mut(out);
    macro_rules! with_first {
        ($first:tt) => {
            match pair.second {
                Second::Left(Arithmetic::Add) => build.run(Map3(a, b, c, out, |a, b, c| (a $first b) + c)),
                Second::Left(Arithmetic::Sub) => build.run(Map3(a, b, c, out, |a, b, c| (a $first b) - c)),
                Second::Left(Arithmetic::Mul) => build.run(Map3(a, b, c, out, |a, b, c| (a $first b) * c)),
                Second::Left(Arithmetic::Div) => build.run(Map3(a, b, c, out, |a, b, c| (a $first b) / c)),
                Second::Right(Arithmetic::Add) => build.run(Map3(a, b, c, out, |a, b, c| c + (a $first b))),
                Second::Right(Arithmetic::Sub) => build.run(Map3(a, b, c, out, |a, b, c| c - (a $first b))),
                Second::Right(Arithmetic::Mul) => build.run(Map3(a, b, c, out, |a, b, c| c * (a $first b))),
                Second::Right(Arithmetic::Div) => build.run(Map3(a, b, c, out, |a, b, c| c / (a $first b))),
                Second::Square => build.run(Map2(a, b, out, |a: f64, b: f64| (a $first b) * (a $first b))),
            }
        };
    }
    match pair.first {
        Arithmetic::Add => with_first!(+),
        Arithmetic::Sub => with_first!(-),
        Arithmetic::Mul => with_first!(*),
        Arithmetic::Div => with_first!(/),
    }
}

/// The first value where the condition is true, else the second.
pub fn choose(build: Build, dtype: DType, condition: &[u8], a: &[u8], b: &[u8], out: &mut [u8]) {
    fn each<T: Pod>(build: Build, condition: &[u8], a: &[u8], b: &[u8], out: &mut [u8]) {
        let pick = |condition: u8, a: T, b: T| if condition != 0 { a } else { b };
        build.run(Map3(condition, cast_slice(a), cast_slice(b), cast_slice_mut(out), pick));
    }
    match dtype.size() {
        1 => each::<u8>(build, condition, a, b, out),
        4 => each::<u32>(build, condition, a, b, out),
        _ => each::<u64>(build, condition, a, b, out),
    }
}

/// The same value as another dtype; fails as [`run_binary`] does.
pub fn cast(
    build: Build,
    (from, to): (DType, DType),
    a: &[u8],
    guard: Option<&[u8]>,
    out: &mut [u8],
) -> Result<(), (usize, Fault)> {
    macro_rules! plain {
        ($from:ty => $to:ty) => {
            map1::<$from, $to>(build, a, out, |x| x as $to)
        };
    }
    match (from, to) {
        (Bool, Int32) => plain!(u8 => i32),
        (Bool, Int64) => plain!(u8 => i64),
        (Bool, Float32) => plain!(u8 => f32),
        (Bool, _) => plain!(u8 => f64),
        (Int32, Bool) => map1::<i32, u8>(build, a, out, |x| u8::from(x != 0)),
        (Int64, Bool) => map1::<i64, u8>(build, a, out, |x| u8::from(x != 0)),
        (Float32, Bool) => map1::<f32, u8>(build, a, out, |x| u8::from(x != 0.0)),
        (Float64, Bool) => map1::<f64, u8>(build, a, out, |x| u8::from(x != 0.0)),
        (Int32, Int64) => plain!(i32 => i64),
        (Int32, Float32) => plain!(i32 => f32),
        (Int32, _) => plain!(i32 => f64),
        (Int64, Int32) => {
            plain!(i64 => i32);
            let fault = |_| Fault::OutOfRange(Int32);
            return find(build, a, guard, |x: i64| x != i64::from(x as i32), fault);
        }
        (Int64, Float32) => plain!(i64 => f32),
        (Int64, _) => plain!(i64 => f64),
        (Float32, Float64) => plain!(f32 => f64),
        (Float64, Float32) => plain!(f64 => f32),
        (Float32, Int32) => return float_to_int(build, a, guard, out, INT32, |x: f32| to_int(x.trunc().into()) as i32),
        (Float32, _) => return float_to_int(build, a, guard, out, INT64, |x: f32| to_long(x.trunc().into())),
        (_, Int32) => return float_to_int(build, a, guard, out, INT32, |x: f64| to_int(x.trunc()) as i32),
        _ => return float_to_int(build, a, guard, out, INT64, |x: f64| to_long(x.trunc())),
    }
    Ok(())
}

/// An int dtype, and between which numbers a float has to be.
type Range = (DType, f64, f64);

const INT32: Range = (Int32, -2_147_483_649.0, 2_147_483_648.0);

/// Below -2^63, which is an int64, the next double is 2,048 further down.
const INT64: Range = (Int64, -9_223_372_036_854_777_856.0, 9_223_372_036_854_775_808.0);

/// Without the fraction, if that is in the range; else zero.
fn float_to_int<F: Pod + Default + Into<f64>, I: Pod>(
    build: Build,
    a: &[u8],
    guard: Option<&[u8]>,
    out: &mut [u8],
    (to, low, high): Range,
    truncate: impl Fn(F) -> I,
) -> Result<(), (usize, Fault)> {
    let fits = move |x: F| (x.into() > low) & (x.into() < high);
    map1(build, a, out, |x| truncate(if fits(x) { x } else { F::default() }));
    let fault = |x: F| if x.into().is_nan() { Fault::NotANumber(to) } else { Fault::OutOfRange(to) };
    find(build, a, guard, move |x| !fits(x), fault)
}

/// Makes all NaNs of a block the same one: which one the arithmetic gives differs between CPUs and compilations. Most blocks have none
/// and are only read.
pub fn make_nans_equal(build: Build, dtype: DType, bytes: &mut [u8]) {
    fn each<T: Pod + PartialEq>(build: Build, values: &mut [T], nan: T) {
        if build.run(Any1(values, is_nan)) {
            build.run(ReplaceNans(values, nan));
        }
    }
    match dtype {
        Float32 => each(build, cast_slice_mut(bytes), f32::from_bits(0x7FC0_0000)),
        Float64 => each(build, cast_slice_mut(bytes), f64::from_bits(0x7FF8_0000_0000_0000)),
        _ => {}
    }
}

/// Elements, and what NaNs among them shall be.
struct ReplaceNans<'a, T>(&'a mut [T], T);

impl<T: Copy + PartialEq> Loop for ReplaceNans<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.0 {
            *x = if is_nan(*x) { self.1 } else { *x };
        }
    }
}

#[inline(always)]
#[expect(clippy::eq_op, reason = "only a NaN differs from itself")]
fn is_nan<T: Copy + PartialEq>(x: T) -> bool {
    x != x
}
