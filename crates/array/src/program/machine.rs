//! The machine that runs a compiled program on one block of elements after the other.
//!
//! Every step is one loop over the block, whose values stay in the first-level cache; so memory is gone through once, whatever the
//! length of the program.

use super::compile::{Compiled, Instruction, Place, Step};
use super::fault::Fault;
use super::fuse::{Second, Work};
use super::op::can_fail;
use super::register::Register;
use super::steps::{cast, choose, generate, make_nans_equal, run_binary, run_pair, run_sin_cos, run_unary};
use super::{Binary, Op};
use crate::DType::{self, *};
use crate::kernels::elementwise::PART;
use crate::kernels::{self, Build, elementary};
use crate::{Operation, checksum};
use bytemuck::{cast_slice, cast_slice_mut};

/// Elements of a block. A register is 8 KiB at most: a handful of them stay in the first-level cache (32 to 48 KiB), and
/// beginning a step, some 10 ns, is little beside 1,024 elements.
pub const BLOCK: usize = 1024;

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
    /// Those of the next block.
    pub next: &'a [&'a [u8]],
}

impl Block<'_> {
    /// Has a part of the next block fetched while this one is computed: a CPU waits for some 50 lines of memory at a time.
    fn fetch_next(&self, part: usize, parts: usize) {
        self.next.iter().for_each(|next| checksum::fetch_other_half(next, part, parts));
    }
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

    /// Computes a block: into `output`, if the program gives elements, with all NaNs the same. Fails at the first element that has no
    /// value.
    pub fn run(&mut self, block: &Block<'_>, output: &mut [u8]) -> Result<(), (usize, Fault)> {
        let compiled = self.compiled;
        let mut fault: Option<(usize, Fault)> = None;
        let parts = 1 + compiled.instructions.len();
        block.fetch_next(0, parts);
        for (at, instruction) in compiled.instructions.iter().enumerate() {
            if let Err(found) = self.step(instruction, block, output) {
                // All steps are looked at: the first element counts, whatever step it fails in.
                fault = Some(fault.map_or(found, |before| if found.0 < before.0 { found } else { before }));
            }
            block.fetch_next(at + 1, parts);
        }
        if let Some(result) = compiled.result
            && !compiled.has_one_nan()
        {
            make_nans_equal(self.build, result, output);
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

    /// The same for a step that repeats what is the same for all elements: [`PART`] of those are enough then, and leave the cache to
    /// others.
    fn operand<'b>(&'b self, place: Place, dtype: DType, block: &Block<'b>) -> &'b [u8] {
        match place {
            Place::Constant(constant) => self.constants[constant].bytes(block.len.min(PART) * dtype.size()),
            other => self.value(other, dtype, block),
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
            let second = taken.bytes_mut(out.len());
            let input = self.value(instruction.args[0], instruction.input, block);
            let (sin, cos) = if let Step::SinCos(_) = instruction.op { (out, second) } else { (second, out) };
            run_sin_cos(self.build, instruction.input, input, sin, cos);
            self.registers[other] = taken;
            return Ok(());
        }
        let arg = |at: usize| self.value(instruction.args[at], instruction.input, block);
        let operand = |at: usize| self.operand(instruction.args[at], instruction.input, block);
        let build = self.build;
        match instruction.op {
            Step::Copy => out.copy_from_slice(arg(0)),
            Step::Work(Work::Named(Operation::Example1)) => kernels::example1(cast_slice(arg(0)), cast_slice_mut(out)),
            Step::Work(Work::Named(Operation::Example2)) => kernels::example2(cast_slice(arg(0)), cast_slice_mut(out)),
            Step::Work(Work::Pair(pair)) => {
                let third = if pair.second == Second::Square { operand(0) } else { operand(2) };
                run_pair(build, pair, [operand(0), operand(1), third], out);
            }
            Step::Work(Work::Node(Op::Power(exponent))) => {
                elementary::integer_power(build, exponent, cast_slice(arg(0)), cast_slice_mut(out));
            }
            Step::Work(Work::Node(Op::Unary(unary))) => run_unary(build, unary, instruction.input, arg(0), out),
            Step::Work(Work::Node(Op::Where)) => {
                let condition = self.value(instruction.args[0], Bool, block);
                choose(build, instruction.dtype, condition, operand(1), operand(2), out);
            }
            Step::Work(Work::Node(Op::Cast)) => {
                let guard = instruction.guard.map(|guard| self.value(guard, Bool, block));
                return cast(build, (instruction.input, instruction.dtype), arg(0), guard, out);
            }
            Step::Work(Work::Node(Op::Binary(binary))) if is_pure(binary, instruction.input) => {
                return run_binary(build, binary, instruction.input, (operand(0), operand(1)), None, out);
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

/// Whether a function is one loop that cannot fail.
fn is_pure(binary: Binary, input: DType) -> bool {
    !matches!(binary, Binary::Elementary(_)) && !can_fail(Op::Binary(binary), Some(input), input)
}
