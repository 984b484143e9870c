//! Our cluster beside NumPy, Dask, Ray and the machine itself, in one run and in turn: every round has each of them store,
//! compute and read the same values, which are other ones in each round.
//!
//! Both sides have two workers of one thread. The peers are as their experts would have them, which the files in `tests/peers`
//! say; what depends on the machine they try out before. Every result is compared with an independent loop.

use crate::beside::{Beside, Steps};
use crate::compute::{self, Computed};
use crate::goals::Goal;
use crate::judge::Expected;
use crate::latency::{self, CLIENTS_COMPARED, Latency, counted, median_rate, rate};
use crate::machine::{Arithmetic, Wire};
use crate::memory::{self, FACTOR, Growth, Memory};
use crate::options::{Options, SMALL};
use crate::ours::{Ours, checked_round, doubles, fresh_read};
use crate::peer::Peer;
use crate::readme::write_section;
use crate::table::{Other, Row, lines, markdown};
use crate::times::ms;
use client::DataPath;
use std::fmt::Write;

/// The steps of a round, as the peers call them.
const CREATE_1: &str = "create_1";
const CREATE_2: &str = "create_2";
const APPLY: &str = "apply1";
const GET: &str = "get";
/// Ray's read without a copy: what it gives stays in its shared memory, and cannot be written.
const VIEW: &str = "view";

/// Reading into memory that is not there yet.
const GET_FRESH: &str = "get_fresh";

/// We and the machine.
struct Here {
    /// With one copy and with two over TCP, with one through shared memory, and what they took.
    clusters: [(Ours, Steps); 3],
    /// What is read into.
    memory: Vec<f64>,
    wires: [Wire; 2],
    arithmetic: Arithmetic,
    machine: Steps,
}

impl Here {
    fn start(large: usize) -> Here {
        let clusters = [(1, DataPath::Tcp), (2, DataPath::Tcp), (1, DataPath::Auto)];
        let clusters = clusters.map(|(copies, path)| (Ours::start(copies, path), Steps::default()));
        Here {
            clusters,
            memory: Vec::new(),
            wires: [1, 2].map(|streams| Wire::new(streams, large * 8)),
            arithmetic: Arithmetic::new(&doubles(0, large)),
            machine: Steps::default(),
        }
    }

    fn round(&mut self, rep: usize, counts: bool, values: &[f64]) -> Result<(), String> {
        for ((ours, steps), create) in self.clusters.iter_mut().zip([CREATE_1, CREATE_2, CREATE_1]) {
            let taken = checked_round(&ours.client, &format!("large{rep}"), values, &mut self.memory)?;
            for (step, time) in [create, APPLY, GET].into_iter().zip(taken) {
                steps.add_if(counts, step, time);
            }
        }
        let (same_host, steps) = &mut self.clusters[2];
        steps.add_if(counts, GET_FRESH, fresh_read(&same_host.client, &format!("fresh{rep}"), values)?);
        self.machine.add_if(counts, CREATE_1, self.wires[0].transfer());
        self.machine.add_if(counts, CREATE_2, self.wires[1].transfer());
        self.machine.add_if(counts, APPLY, self.arithmetic.run());
        self.machine.add_if(counts, GET, self.wires[0].transfer());
        Ok(())
    }
}

/// Small operations.
struct Operations {
    latency: Latency,
    /// A second, ours and Ray's.
    rates: [f64; 2],
}

impl Operations {
    /// With one copy, as Ray has it.
    fn measure(ours: &Ours, ray: &mut Peer, options: &Options) -> Result<Operations, String> {
        let expected = Expected::of(&doubles(0, SMALL));
        let mut rates: [Vec<f64>; 2] = Default::default();
        for rep in 0..options.reps {
            rates[0].push(rate(ours, CLIENTS_COMPARED, rep, options)?);
            rates[1].push(ray.operations(counted(options), &expected)?);
        }
        let rates = rates.map(|rates| median_rate(&rates).unwrap_or(f64::NAN));
        Ok(Operations { latency: latency::measure(ours, options)?, rates })
    }

    fn show(&self) -> String {
        let Latency { operations, trips } = &self.latency;
        let [ours, ray] = self.rates;
        format!(
            "`example1` on 10,000, one after the other: {} ms (p99 {} ms), {:.1} blocking round trips of {} ms. \
             {CLIENTS_COMPARED} clients: {ours:.0} a second, Ray {ray:.0}.",
            ms(operations.median()),
            ms(operations.p99()),
            operations.ratio(trips),
            ms(trips.median()),
        )
    }
}

/// Measures, prints, and writes the README's section if that is wanted.
pub fn run(options: &Options) -> Result<(), String> {
    let python = options.python.as_ref().ok_or("peers needs python=PATH, a Python that has the packages")?;
    let mut besides = Beside::start(python)?;
    for beside in besides.iter_mut().filter(|beside| beside.stores()) {
        beside.peer.calibrate(options.large())?;
        println!("{}: {}", beside.peer.what, beside.peer.settings);
    }
    let mut here = Here::start(options.large());
    println!();
    for (rep, counts) in options.rounds() {
        let seed = rep as u64 + 1; // the calibration had 0
        let values = doubles(seed, options.large());
        let expected = Expected::of(&values);
        here.round(rep, counts, &values)?;
        for beside in besides.iter_mut().filter(|beside| beside.stores()) {
            beside.round(seed, counts, &expected)?;
        }
    }
    let rows = Rows::new(&here, &besides)?;
    print!("{}", lines(rows.all()));
    let ray = besides.iter_mut().find(|beside| beside.who == Other::Ray).ok_or("Ray does not take part")?;
    let view = ray.steps.of(VIEW).unwrap_or_default();
    let operations = Operations::measure(&here.clusters[0].0, &mut ray.peer, options)?;
    for (ours, _) in &mut here.clusters {
        ours.check();
    }
    drop(here);
    println!();
    let computed = compute::measure(&mut besides, options)?;
    print!("{}", lines(computed.rows()));
    // What follows is about us alone, and nobody else shall use the machine.
    let settings: Vec<String> = besides.iter().map(|beside| show_settings(&beside.peer)).collect();
    drop(besides);
    let (memory, growth) = (memory::measure(options)?, memory::growth(options)?);
    let notes = [
        format!("Ray's read without a copy of one's own, a view that cannot be written: {} ms.", ms(view.median())),
        operations.show(),
        show_memory(&memory),
        show_growth(&growth),
        computed.note(),
    ];
    println!("\n{}\n", notes.join("\n"));
    for goal in goals(&rows, &operations, &memory, &growth).into_iter().chain(computed.goals()) {
        println!("{}", goal.show());
    }
    match &options.readme {
        Some(readme) => write_section(readme, "peers", &section(options, &rows, &computed, &notes, &settings)),
        None => Ok(()),
    }
}

/// Each of our workloads with the step that the others have for it.
struct Rows {
    create_1: Row,
    create_2: Row,
    get: Row,
    apply_1: Row,
    apply_2: Row,
    /// Store and read.
    same_host: [Row; 3],
}

impl Rows {
    fn new(here: &Here, besides: &[Beside]) -> Result<Rows, String> {
        let row = |what: &str, steps: &Steps, step: &str| {
            let ours = steps.of(step).ok_or("a step was not measured")?;
            let all = besides.iter().map(|beside| (beside.who, &beside.steps));
            let all = [(Other::Machine, &here.machine)].into_iter().chain(all);
            let others = all.filter_map(|(who, steps)| Some((who, steps.of(step)?))).collect();
            Ok::<Row, String>(Row { what: what.to_string(), ours, others })
        };
        let [(_, one), (_, two), (_, same_host)] = &here.clusters;
        Ok(Rows {
            create_1: row("store, one copy", one, CREATE_1)?,
            create_2: row("store, two copies", two, CREATE_2)?,
            get: row("read", two, GET)?,
            apply_1: row("`example1`, one copy", one, APPLY)?,
            apply_2: row("`example1`, two copies", two, APPLY)?,
            same_host: [
                row("store, one copy, same host", same_host, CREATE_1)?,
                row("read, same host", same_host, GET)?,
                row("read, same host, into fresh memory", same_host, GET_FRESH)?,
            ],
        })
    }

    fn all(&self) -> impl Iterator<Item = &Row> + Clone {
        let rows = [&self.create_1, &self.create_2, &self.get, &self.apply_1, &self.apply_2];
        rows.into_iter().chain(&self.same_host)
    }
}

/// What must be, and what is aimed at. The wire is the measure where bytes go over it, Ray's memory where they don't.
fn goals(rows: &Rows, operations: &Operations, memory: &Memory, growth: &Growth) -> Vec<Goal> {
    let (dask, machine) = (Other::DaskTuned, Other::Machine);
    let mut goals = Vec::new();
    for row in [&rows.create_2, &rows.get] {
        let goal = Goal::new(&row.what).must(row.ratio(dask), "of tuned Dask", 1.0);
        goals.push(goal.aim(row.ratio(machine), "of raw TCP", 1.2));
    }
    for row in &rows.same_host {
        let ratio = row.ratio(Other::Ray);
        goals.push(Goal::new(&row.what).must(ratio, "of Ray", 1.5).aim(ratio, "of Ray", 1.0));
    }
    let threads = "of two plain threads";
    let (one, two) = (&rows.apply_1, &rows.apply_2);
    let goal = Goal::new(&one.what).must(one.ratio(dask), "of tuned Dask", 0.2);
    goals.push(goal.must(one.ratio(machine), threads, 2.0).aim(one.ratio(machine), threads, 1.3));
    let goal = Goal::new(&two.what).must(two.ratio(dask), "of tuned Dask with one copy", 1.0 / 3.0);
    goals.push(goal.aim(two.ratio(machine), threads, 2.2));
    let Latency { operations: small, trips } = &operations.latency;
    let [p50, p99] = [small.median(), small.p99()].map(|time| time.as_secs_f64() * 1e3);
    let latency = Goal::new("10,000 elements, one after the other").must(p50, "ms p50", 1.0).must(p99, "ms p99", 5.0);
    goals.push(latency.aim(small.ratio(trips), "round trips", 2.5));
    let [ours, rays] = operations.rates;
    goals.push(Goal::new("small operations, 8 clients").must(rays / ours, "of ours are Ray's", 1.0 / 3.0));
    let used = memory.workers.resident as f64 / memory.payload as f64;
    let memory_goal = Goal::new("memory of the workers").must(used, "of one array", 2.2);
    goals.push(memory_goal.aim(used, "of one array", 2.05));
    for (what, [short, long]) in ["store, longer", "example1, longer", "read, longer"].into_iter().zip(growth) {
        goals.push(Goal::new(what).must(long.ratio(short), "of the shorter", 5.5));
    }
    goals
}

fn show_memory(memory: &Memory) -> String {
    let (payload, resident) = (memory.payload as f64 / 1e6, memory.workers.resident as f64 / 1e6);
    format!(
        "Memory of both workers with {} million elements and their `example1`, one copy, {payload:.0} MB each: {resident:.0} MB.",
        memory.payload as f64 / 8e6
    )
}

fn show_growth(growth: &Growth) -> String {
    let [create, apply, get] = growth.each_ref().map(|[short, long]| format!("{:.1}", long.ratio(short)));
    format!(
        "{FACTOR} times as many elements take {create} times as long to store, {apply} to compute, {get} to read, one copy."
    )
}

fn show_settings(peer: &Peer) -> String {
    format!("{}: {}", peer.what, peer.settings)
}

/// What the README says.
fn section(options: &Options, rows: &Rows, computed: &Computed, notes: &[String], settings: &[String]) -> String {
    let mut text = format!(
        "One run of `scripts/bench peers`, {} million float64, two workers with one thread each on both sides; medians of {} rounds in\n\
         which each takes its turn, with other values in each. In brackets how many times as long as darray it takes.\n\
         {}\n\n",
        options.large() as f64 / 1e6,
        options.reps,
        options.about
    );
    text.push_str(&markdown(rows.all(), &Other::STORING));
    text.push_str("\nExpressions, reductions and new arrays, one copy, over TCP, in the same way:\n\n");
    text.push_str(&markdown(computed.rows(), &Other::COMPUTING));
    text.push('\n');
    for line in notes {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "- {}.", settings.join(". "));
    text
}
