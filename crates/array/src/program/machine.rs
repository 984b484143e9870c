//! The machine that runs a compiled program on one block of elements after the other.
//!
//! Every step is one loop over the block, whose values stay in the first-level cache; so memory is gone through once, whatever the
//! length of the program.

use super::compile::{Compiled, Instruction, Place, Step};
use super::fuse::{Arithmetic, Pair, Second, Work};
use super::register::Register;
use super::{Binary, Op, Unary};
use crate::DType::{self, *};
use crate::kernels::elementary;
use crate::kernels::elementwise::{Any1, Any2, Map1, Map2, Map2Fast, Map3};
use crate::kernels::number::{Number, int_pow_32, int_pow_64, rem, to_int, to_long};
use crate::kernels::{self, Build, Loop};
use crate::{Operation, random};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use std::fmt;

/// Elements of a block. A register is 8 KiB at most: a handful of them stay in the first-level cache (32 to 48 KiB), and
/// beginning a step, some 10 ns, is little beside 1,024 elements.
pub const BLOCK: usize = 1024;

/// Why an element has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not a number, where an int is wanted.
    NotANumber(DType),
    /// Above or below what the dtype holds.
    OutOfRange(DType),
    /// An int divided by zero.
    DivisionByZero,
    /// An int to the power of a negative one.
    NegativePower,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotANumber(dtype) => write!(f, "NaN has no value as {dtype}; choose one with where(isnan(…), …, …)"),
            Fault::OutOfRange(dtype) => write!(f, "the value is out of the range of {dtype}; see clip and where"),
            Fault::DivisionByZero => f.write_str("an int is divided by zero; leave those out with where(… != 0, …, …)"),
            Fault::NegativePower => f.write_str("an int to the power of a negative int; make one of them float64(…)"),
        }
    }
}

/// Registers and constants of one thread.
pub struct Machine<'a> {
    compiled: &'a Compiled,
    build: Build,
    registers: Vec<Register>,
    constants: Vec<Register>,
}

/// A block of elements to compute.
pub struct Block<'a> {
    /// The place of its first element in the array.
    pub start: u64,
    /// How many there are, [`BLOCK`] at most.
    pub len: usize,
    /// Their bytes in each of the inputs.
    pub inputs: &'a [&'a [u8]],
}

impl<'a> Machine<'a> {
    /// A machine for a program.
    pub fn new(compiled: &'a Compiled, build: Build) -> Machine<'a> {
        let constant = |(number, (dtype, bits)): (usize, &(DType, u64))| {
            let mut register = Register::new(compiled.registers + number);
            let bytes = register.bytes_mut(BLOCK * dtype.size());
            match dtype.size() {
                1 => bytes.fill(*bits as u8),
                4 => cast_slice_mut(bytes).fill(*bits as u32),
                _ => cast_slice_mut(bytes).fill(*bits),
            }
            register
        };
        Machine {
            compiled,
            build,
            registers: (0..compiled.registers).map(Register::new).collect(),
            constants: compiled.constants.iter().enumerate().map(constant).collect(),
        }
    }

    /// Computes a block: into `output`, if the program gives elements. Fails at the first element that has no value.
    pub fn run(&mut self, block: &Block<'_>, output: &mut [u8]) -> Result<(), (usize, Fault)> {
        let compiled = self.compiled;
        let mut fault: Option<(usize, Fault)> = None;
        for instruction in &compiled.instructions {
            if let Err(found) = self.step(instruction, block, output) {
                // All steps are looked at: the first element counts, whatever step it fails in.
                fault = Some(fault.map_or(found, |before| if found.0 < before.0 { found } else { before }));
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// The bytes of a value of the block that was run last.
    pub fn value<'b>(&'b self, place: Place, dtype: DType, block: &Block<'b>) -> &'b [u8] {
        let bytes = block.len * dtype.size();
        match place {
            Place::Input(input) => block.inputs[input],
            Place::Constant(constant) => self.constants[constant].bytes(bytes),
            Place::Register(register) => self.registers[register].bytes(bytes),
            Place::Output => unreachable!("nothing is computed from the result"),
        }
    }

    fn step(&mut self, instruction: &Instruction, block: &Block<'_>, output: &mut [u8]) -> Result<(), (usize, Fault)> {
        let bytes = block.len * instruction.dtype.size();
        // The register that is written is taken out while the others are read.
        let Place::Register(register) = instruction.out else {
            return self.step_into(instruction, block, output);
        };
        let mut taken = std::mem::take(&mut self.registers[register]);
        let result = self.step_into(instruction, block, taken.bytes_mut(bytes));
        self.registers[register] = taken;
        result
    }

    fn step_into(
        &mut self,
        instruction: &Instruction,
        block: &Block<'_>,
        out: &mut [u8],
    ) -> Result<(), (usize, Fault)> {
        if let Step::SinCos(other) | Step::CosSin(other) = instruction.op {
            let mut taken = std::mem::take(&mut self.registers[other]);
            let second = cast_slice_mut(taken.bytes_mut(block.len * size_of::<f64>()));
            let input = cast_slice(self.value(instruction.args[0], Float64, block));
            let (sin, cos) = match instruction.op {
                Step::SinCos(_) => (cast_slice_mut(out), second),
                _ => (second, cast_slice_mut(out)),
            };
            elementary::sin_cos(self.build, input, sin, cos);
            self.registers[other] = taken;
            return Ok(());
        }
        let arg = |at: usize| self.value(instruction.args[at], instruction.input, block);
        let build = self.build;
        match instruction.op {
            Step::Copy => out.copy_from_slice(arg(0)),
            Step::Work(Work::Named(Operation::Example1)) => kernels::example1(cast_slice(arg(0)), cast_slice_mut(out)),
            Step::Work(Work::Named(Operation::Example2)) => kernels::example2(cast_slice(arg(0)), cast_slice_mut(out)),
            Step::Work(Work::Pair(pair)) => {
                let third = if pair.second == Second::Square { arg(0) } else { arg(2) };
                run_pair(build, pair, [arg(0), arg(1), third], out);
            }
            Step::Work(Work::Node(Op::Power(exponent))) => {
                elementary::integer_power(build, exponent, cast_slice(arg(0)), cast_slice_mut(out));
            }
            Step::Work(Work::Node(Op::Unary(unary))) => run_unary(build, unary, instruction.input, arg(0), out),
            Step::Work(Work::Node(Op::Where)) => {
                let condition = self.value(instruction.args[0], Bool, block);
                choose(build, instruction.dtype, condition, arg(1), arg(2), out);
            }
            Step::Work(Work::Node(Op::Cast)) => {
                let guard = instruction.guard.map(|guard| self.value(guard, Bool, block));
                return cast(build, (instruction.input, instruction.dtype), arg(0), guard, out);
            }
            Step::Work(Work::Node(Op::Binary(binary))) => {
                let guard = instruction.guard.map(|guard| self.value(guard, Bool, block));
                return run_binary(build, binary, instruction.input, (arg(0), arg(1)), guard, out);
            }
            Step::Work(Work::Node(op)) => generate(op, instruction.dtype, block.start, out),
            Step::SinCos(_) | Step::CosSin(_) => unreachable!("done above"),
        }
        Ok(())
    }
}

/// Numbers that are made from the place of an element.
fn generate(op: Op, dtype: DType, start: u64, out: &mut [u8]) {
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

fn run_unary(build: Build, unary: Unary, dtype: DType, a: &[u8], out: &mut [u8]) {
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
        Unary::Elementary(function) => function.run(build, cast_slice(a), cast_slice_mut(out)),
    }
}

fn run_binary(
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
fn run_pair(build: Build, pair: Pair, [a, b, c]: [&[u8]; 3], out: &mut [u8]) {
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

fn choose(build: Build, dtype: DType, condition: &[u8], a: &[u8], b: &[u8], out: &mut [u8]) {
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

fn cast(
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

/// Makes all NaNs of a block the same one: which one the arithmetic gives differs between CPUs and compilations.
pub fn make_nans_equal(build: Build, dtype: DType, bytes: &mut [u8]) {
    struct Canonical<'a, T>(&'a mut [T], T);
    impl<T: PartialEq + Copy> Loop for Canonical<'_, T> {
        type Output = ();

        #[inline(always)]
        #[expect(clippy::eq_op, reason = "only a NaN differs from itself")]
        fn run(self) {
            for x in self.0 {
                *x = if *x == *x { *x } else { self.1 };
            }
        }
    }
    match dtype {
        Float32 => build.run(Canonical(cast_slice_mut(bytes), f32::from_bits(0x7FC0_0000))),
        Float64 => build.run(Canonical(cast_slice_mut(bytes), f64::from_bits(0x7FF8_0000_0000_0000))),
        _ => {}
    }
}
