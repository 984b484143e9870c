//! New arrays, reductions and expressions: ours beside each peer's and the machine's, in one run and in turn, with other values in
//! each round. One copy, over TCP. What is computed on is stored before, untimed.

use crate::beside::{Beside, Steps};
use crate::formulas::{FORMULAS, Formula, Inputs, Outputs};
use crate::goals::Goal;
use crate::judge::{Judge, Summary};
use crate::machine::Arithmetic;
use crate::options::Options;
use crate::ours::{Ours, say};
use crate::plain;
use crate::table::{Other, Row, lines};
use array::DType;
use client::cluster::GenerateOptions;
use client::{Cluster, DataPath};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tests::harness::oracle::check_example1;

/// What the first array is called: its dtype, as the formulas say which array they are for.
const X: &str = "float64";

/// example1 as an expression.
const EXAMPLE1: &str = "(sin(x) + cos(x))**2/(sqrt(abs(x)) + 1)";

/// The steps of a round, as the peers call them, and what the table says. The ten formulas follow.
const STEPS: [(&str, &str); 7] = [
    ("generate", "make `uniform(0, 1)`"),
    ("arange", "make `arange`"),
    ("sum", "`sum(x)`"),
    ("reduce5_fused", "`sum`, `min`, `max`, `mean`, `std` at once"),
    ("dot", "`sum(x*b)`"),
    ("apply1", "`example1` as an expression"),
    ("apply1_sum", "its sum, not stored"),
];

/// How a step of ours that gives numbers is asked.
const REDUCTIONS: [(&str, &str); 4] = [
    ("sum", "sum(x)"),
    ("reduce5_fused", "sum(x), min(x), max(x), mean(x), std(x)"),
    ("dot", "sum(x*b)"),
    ("apply1_sum", "sum((sin(x) + cos(x))**2/(sqrt(abs(x)) + 1))"),
];

/// We and the machine.
struct Here {
    ours: Ours,
    steps: Steps,
    machine: Steps,
    /// Warm memory for the machine's results, and for what is read of ours.
    outputs: Outputs,
    memory: Vec<f64>,
}

impl Here {
    fn start(elements: usize) -> Here {
        Here {
            ours: Ours::start(1, DataPath::Tcp),
            steps: Steps::default(),
            machine: Steps::default(),
            outputs: Outputs::new(elements),
            memory: vec![1.0; elements],
        }
    }

    /// The machine's turn.
    fn machine(&mut self, seed: u64, counts: bool, inputs: &Inputs, judge: &Judge) -> Result<(), String> {
        let (x, b, memory) = (&inputs.double, &inputs.b, &mut self.memory);
        let mut add = |step, time| self.machine.add_if(counts, step, time);
        add("generate", timed(|| plain::generate(seed, memory)).1);
        judge.uniform_values(memory)?;
        add("arange", timed(|| plain::arange(memory)).1);
        judge.array("arange", &Summary::of(memory.iter().copied()))?;
        add("apply1", Arithmetic::new(x).run());
        let mut numbers = |step, work: &dyn Fn() -> Vec<f64>| {
            let (found, time) = timed(work);
            add(step, time);
            judge.numbers(step, &found).map_err(|wrong| format!("the machine: {step}: {wrong}"))
        };
        numbers("sum", &|| vec![plain::sum(black_box(x))])?;
        numbers("reduce5_fused", &|| plain::five(black_box(x)).to_vec())?;
        numbers("dot", &|| vec![plain::dot(black_box(x), b)])?;
        numbers("apply1_sum", &|| vec![plain::apply_sum(black_box(x))])?;
        for formula in &FORMULAS {
            let (_, time) = timed(|| (formula.fused)(inputs, &mut self.outputs));
            self.machine.add_if(counts, formula.name, time);
            let found = Summary::of(formula.found(&self.outputs));
            judge.array(formula.name, &found).map_err(|wrong| format!("the machine: {}: {wrong}", formula.name))?;
        }
        Ok(())
    }

    /// Our turn. Leaves nothing.
    fn ours(&mut self, seed: u64, counts: bool, inputs: &Inputs, judge: &Judge) -> Result<(), String> {
        let names = store(&self.ours.client, inputs)?;
        for step in ["generate", "arange"] {
            self.make(step, seed, counts, judge)?;
        }
        for (step, reductions) in REDUCTIONS {
            let (reduced, time) = timed(|| self.ours.client.reduce(X, reductions));
            self.steps.add_if(counts, step, time);
            let values = reduced.map_err(say)?.values;
            let found: Result<Vec<f64>, _> = values.iter().map(|reduced| reduced.value.parse()).collect();
            judge.numbers(step, &found.map_err(say)?).map_err(|wrong| format!("{reductions}: {wrong}"))?;
        }
        let client = &self.ours.client;
        self.steps.add_if(counts, "apply1", apply(client, X, EXAMPLE1)?);
        client.read_into(X, 0..self.memory.len() as u64, &mut self.memory).map_err(say)?;
        check_example1(&inputs.double, &self.memory).map_err(|wrong| format!("{EXAMPLE1}: {wrong}"))?;
        for formula in &FORMULAS {
            self.steps.add_if(counts, formula.name, apply(client, formula.x.name(), formula.text)?);
            check_result(client, formula, inputs).map_err(|wrong| format!("{}: {wrong}", formula.text))?;
        }
        names.iter().try_for_each(|name| client.delete(name).map_err(say))
    }

    /// Has the workers make an array, which is read, compared and deleted.
    fn make(&mut self, step: &str, seed: u64, counts: bool, judge: &Judge) -> Result<(), String> {
        let (client, elements) = (&self.ours.client, self.memory.len());
        let generator = match step {
            "generate" => format!("uniform(0, 1, {elements})"),
            _ => format!("arange({elements})"),
        };
        let options = GenerateOptions { seed: Some(seed), dtype: Some(DType::Float64), ..GenerateOptions::default() };
        let (made, time) = timed(|| client.generate("made", &generator, &options));
        made.map_err(say)?;
        self.steps.add_if(counts, step, time);
        client.read_into("made", 0..elements as u64, &mut self.memory).map_err(say)?;
        client.delete("made").map_err(say)?;
        let checked = match step {
            "generate" => judge.uniform_values(&self.memory),
            _ => judge.array(step, &Summary::of(self.memory.iter().copied())),
        };
        checked.map_err(|wrong| format!("{generator}: {wrong}"))
    }
}

/// Stores the arrays of a round, each called as its dtype, but for b. Gives the names.
fn store(client: &Cluster, inputs: &Inputs) -> Result<[&'static str; 5], String> {
    let names = [X, DType::Int32.name(), DType::Int64.name(), DType::Float32.name(), "b"];
    client.create(names[0], &inputs.double).map_err(say)?;
    client.create(names[1], &inputs.int32).map_err(say)?;
    client.create(names[2], &inputs.int64).map_err(say)?;
    client.create(names[3], &inputs.single).map_err(say)?;
    client.create(names[4], &inputs.b).map_err(say)?;
    Ok(names)
}

/// What an expression takes until its result is stored.
fn apply(client: &Cluster, name: &str, expression: &str) -> Result<Duration, String> {
    let (done, time) = timed(|| client.apply(name, expression));
    done.map_err(|e| format!("{expression}: {e}"))?;
    Ok(time)
}

/// Reads a formula's result, and compares every element.
fn check_result(client: &Cluster, formula: &Formula, inputs: &Inputs) -> Result<(), String> {
    let (layout, bytes) = client.read_bytes(formula.x.name(), false, None, &mut |_| ()).map_err(say)?;
    if layout.dtype != formula.dtype {
        return Err(format!("{} elements instead of {}", layout.dtype, formula.dtype));
    }
    let found: Box<dyn Iterator<Item = f64>> = match formula.dtype {
        DType::Bool => Box::new(bytes.iter().map(|byte| f64::from(*byte))),
        DType::Int64 => Box::new(elements(&bytes).map(|bytes| i64::from_le_bytes(bytes) as f64)),
        DType::Float32 => Box::new(elements(&bytes).map(|bytes| f64::from(f32::from_le_bytes(bytes)))),
        _ => Box::new(elements(&bytes).map(f64::from_le_bytes)),
    };
    formula.check(inputs, found)
}

fn elements<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> {
    bytes.as_chunks::<SIZE>().0.iter().copied()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// What was measured.
pub struct Computed {
    /// In the order of [`STEPS`].
    steps: Vec<Row>,
    /// In the order of [`FORMULAS`].
    formulas: Vec<Row>,
}

/// Has everybody find what is fastest, then measures.
pub fn measure(besides: &mut [Beside], options: &Options) -> Result<Computed, String> {
    let elements = options.large();
    for beside in besides.iter_mut() {
        beside.peer.calibrate_compute(elements)?;
        println!("{}: {}", beside.peer.what, beside.peer.settings);
    }
    println!();
    let mut here = Here::start(elements);
    for (rep, counts) in options.rounds() {
        let seed = rep as u64 + 1; // the calibration had 0
        let inputs = Inputs::new(seed, elements);
        let judge = Judge::new(&inputs);
        here.ours(seed, counts, &inputs, &judge)?;
        here.machine(seed, counts, &inputs, &judge)?;
        for beside in besides.iter_mut() {
            beside.compute(seed, counts, elements, &judge)?;
        }
    }
    here.ours.check();
    let row = |step: &str, what: String| {
        let ours = here.steps.of(step).ok_or_else(|| format!("{step} was not measured"))?;
        let all = besides.iter().map(|beside| (beside.who, &beside.steps));
        let all = [(Other::Machine, &here.machine)].into_iter().chain(all);
        let others = all.filter_map(|(who, steps)| Some((who, steps.of(step)?))).collect();
        Ok::<Row, String>(Row { what, ours, others })
    };
    Ok(Computed {
        steps: STEPS.iter().map(|(step, what)| row(step, what.to_string())).collect::<Result<_, _>>()?,
        formulas: FORMULAS.iter().map(|of| row(of.name, format!("`{}`", of.text))).collect::<Result<_, _>>()?,
    })
}

impl Computed {
    /// All of the table.
    pub fn rows(&self) -> impl Iterator<Item = &Row> + Clone {
        self.steps.iter().chain(&self.formulas)
    }

    /// How the ten formulas stand beside numexpr and the loops by hand.
    pub fn note(&self) -> String {
        let [numexpr, machine] = [Other::NumExpr, Other::Machine].map(|other| {
            let ratios: Vec<f64> = self.formulas.iter().map(|row| 1.0 / row.ratio(other)).collect();
            let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
            (mean, ratios.into_iter().fold(f64::INFINITY, f64::min))
        });
        format!(
            "The ten formulas: numexpr takes {:.1} times as long as darray in the geometric mean, {:.1} at least; loops by hand \
             {:.2} times, {:.2} at least.",
            numexpr.0, numexpr.1, machine.0, machine.1
        )
    }

    /// What must be, and what is aimed at.
    pub fn goals(&self) -> Vec<Goal> {
        let distributed = [(Other::DaskTuned, "of tuned Dask"), (Other::Dask, "of Dask"), (Other::Ray, "of Ray")];
        let processes = [(Other::NumExpr, "of numexpr"), (Other::Numba, "of numba"), (Other::NumPy, "of NumPy")];
        let dask = &distributed[..1];
        let everybody: Vec<_> = distributed.iter().chain(&processes).copied().collect();
        let mut goals: Vec<Goal> = self
            .steps
            .iter()
            .zip(STEPS)
            .filter_map(|(row, (step, _))| match step {
                "generate" | "arange" => Some(goal(row, &everybody, 1.0, 1.5)),
                "sum" | "reduce5_fused" => Some(goal(row, dask, 1.0 / 4.0, 1.5)),
                "apply1" => Some(goal(row, dask, 1.0 / 5.0, 1.5)),
                "apply1_sum" => Some(goal(row, &distributed, 1.0 / 5.0, 1.3)),
                _ => None,
            })
            .collect();
        goals.extend(self.formulas.iter().map(|row| goal(row, &processes[..1], 1.0 / 3.0, 2.0)));
        goals
    }
}

/// At most `must` of what these take, as far as they do it, and at best `aim` of the machine.
fn goal(row: &Row, these: &[(Other, &'static str)], must: f64, aim: f64) -> Goal {
    let theirs = these.iter().filter(|(who, _)| row.others.iter().any(|(other, _)| other == who));
    let goal = theirs.fold(Goal::new(row.what.clone()), |goal, (who, of)| goal.must(row.ratio(*who), of, must));
    goal.aim(row.ratio(Other::Machine), "of two plain threads", aim)
}

/// Measures, and prints.
pub fn run(options: &Options) -> Result<(), String> {
    let python = options.python.as_ref().ok_or("compute needs python=PATH, a Python that has the packages")?;
    let mut besides = Beside::start(python)?;
    let computed = measure(&mut besides, options)?;
    print!("{}", lines(computed.rows()));
    println!("\n{}\n", computed.note());
    for goal in computed.goals() {
        println!("{}", goal.show());
    }
    Ok(())
}
