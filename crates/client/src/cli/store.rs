//! `create`, `create-int`, `create-double`, `generate`.

use super::args::{Command, CreateFile, CreateRandom, Generate};
use super::compute::watched;
use super::console::Console;
use super::failure::Failure;
use super::progress::Meter;
use super::render::receipt;
use super::render::table::grouped;
use super::render::time::duration;
use super::{Context, level};
use crate::cluster::{Cluster, GenerateOptions, random_seed};
use crate::error::Error;
use crate::format::{self, Content, Format};
use crate::original::Original;
use crate::original::find::Master;
use array::expression::parse_generator;
use array::program::{Node, Op};
use array::{DType, Element, random};
use protocol::message::client::{ArrayCommitted, OperationComplete};
use protocol::size::format_size;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Random ints are 1 to 1000, doubles from 1 up to 100, as in the original system.
const INTS: (i32, i32) = (1, 1000);
const DOUBLES: (f64, f64) = (1.0, 100.0);

/// What `create` will store, read before a cluster is looked for.
pub type Source = Content;

/// The answer to a create.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    stored: Stored,
    #[serde(with = "protocol::dtype")]
    dtype: DType,
    shape: Vec<u64>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    elapsed_ms: u64,
}

/// What the master says of it.
#[derive(Serialize)]
#[serde(untagged)]
enum Stored {
    Committed(ArrayCommitted),
    Generated(OperationComplete),
    #[serde(rename_all = "camelCase")]
    OnLevelOne {
        array_id: String,
        status: &'static str,
    },
}

/// Reads the file of a `create`.
pub fn prepare(console: Console, command: &Command) -> Result<Option<Source>, Failure> {
    let Command::Create(create) = command else {
        return Ok(None);
    };
    let path = create.file.as_path();
    let file = read_file(console, path)?;
    let by_name = create.format.map(Format::from).or_else(|| Format::of_path(path));
    let format = by_name.unwrap_or_else(|| Format::of_content(&file));
    let content = format::read(format, file, create.dtype);
    content.map(Some).map_err(|e| Failure::File(format!("{}: {e}", name_of(path))))
}

fn name_of(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".to_string(),
        false => path.display().to_string(),
    }
}

fn read_file(console: Console, path: &Path) -> Result<Vec<u8>, Failure> {
    match path == Path::new("-") {
        true => console.read_input(),
        false => std::fs::read(path).map_err(|e| Failure::File(format!("{}: {e}", path.display()))),
    }
}

/// `create`.
pub fn file(context: &Context, create: &CreateFile, source: Option<Source>) -> Result<(), Failure> {
    let content = source.ok_or_else(|| Failure::File("nothing was read".to_string()))?;
    let array = Array { dtype: content.dtype, shape: content.shape.clone(), bytes: content.bytes(), seed: None };
    store(context, &create.name, &array, create.replace)
}

/// `create-int` and `create-double`.
pub fn random(context: &Context, command: &Command, create: &CreateRandom) -> Result<(), Failure> {
    let seed = create.seed.unwrap_or_else(random_seed);
    let shape = vec![create.size];
    match command {
        Command::CreateInt(_) => {
            let mut values = room::<i32>(create.size)?;
            random::fill_int(seed, 0, &mut values, INTS.0, INTS.1);
            let bytes = bytemuck::cast_slice(&values);
            store(context, &create.name, &Array { dtype: DType::Int32, shape, bytes, seed: Some(seed) }, create.replace)
        }
        _ => {
            let mut values = room::<f64>(create.size)?;
            random::fill_double(seed, 0, &mut values, DOUBLES.0, DOUBLES.1);
            let bytes = bytemuck::cast_slice(&values);
            store(
                context,
                &create.name,
                &Array { dtype: DType::Float64, shape, bytes, seed: Some(seed) },
                create.replace,
            )
        }
    }
}

fn room<T: Clone + Default>(size: u64) -> Result<Vec<T>, Failure> {
    let mut values = Vec::new();
    let count = usize::try_from(size).unwrap_or(usize::MAX);
    values.try_reserve_exact(count).map_err(|_| {
        let bytes = size.saturating_mul(size_of::<T>() as u64);
        Failure::File(format!("{size} elements are {}, more than this machine's memory", format_size(bytes)))
    })?;
    values.resize(count, T::default());
    Ok(values)
}

/// `generate`.
pub fn generate(context: &Context, generate: &Generate) -> Result<(), Failure> {
    let Generate { name, generator, dtype, replace, .. } = generate;
    let (cluster, started) = (context.cluster()?, Instant::now());
    let seed = generate.seed.unwrap_or_else(random_seed);
    let options = GenerateOptions { dtype: *dtype, seed: Some(seed), replace: *replace };
    let make = || cluster.generate(name, generator, &options);
    let done = watched(cluster, &format!("making {name}"), Cluster::own_operations, make)
        .map_err(|e| Failure::of_expression(generator, e))?;
    let elapsed = started.elapsed();
    let receipt = done.receipt.as_ref().filter(|_| context.verbose).map(receipt::text);
    let layout = cluster.describe(&done.handle, false)?;
    let created = Created {
        stored: Stored::Generated(done),
        dtype: layout.dtype,
        bytes: layout.shape.iter().product::<u64>() * layout.dtype.size() as u64,
        shape: layout.shape,
        seed: is_random(generator).then_some(seed),
        elapsed_ms: elapsed.as_millis() as u64,
    };
    context.console.answer(&created, || sentence(&created, elapsed) + &receipt.unwrap_or_default())
}

/// Whether a seed matters. The master may know generators that are unknown here.
fn is_random(generator: &str) -> bool {
    let is_random = |node: &Node| matches!(node.op, Op::Uniform { .. } | Op::Integers { .. } | Op::Normal { .. });
    parse_generator(generator, None, 0).map_or(true, |made| made.program.nodes().iter().any(is_random))
}

/// An array on its way.
struct Array<'a> {
    dtype: DType,
    shape: Vec<u64>,
    bytes: &'a [u8],
    seed: Option<u64>,
}

fn store(context: &Context, name: &str, array: &Array, replace: bool) -> Result<(), Failure> {
    let started = Instant::now();
    let stored = match &context.master {
        Master::Cluster(cluster) => Stored::Committed(upload(cluster, name, array, replace)?),
        Master::Original(original) => send(original, name, array)?,
    };
    let elapsed = started.elapsed();
    let created = Created {
        stored,
        dtype: array.dtype,
        shape: array.shape.clone(),
        bytes: array.bytes.len() as u64,
        seed: array.seed,
        elapsed_ms: elapsed.as_millis() as u64,
    };
    context.console.answer(&created, || sentence(&created, elapsed))
}

fn upload(cluster: &Cluster, name: &str, array: &Array, replace: bool) -> Result<ArrayCommitted, Error> {
    let mut meter = Meter::bytes(format!("storing {name}"));
    let mut progress = |progress| meter.update(progress);
    cluster.create_with_progress(name, array.dtype, &array.shape, array.bytes, replace, &mut progress)
}

/// Stores it on level 1, in one line.
fn send(original: &Original, name: &str, array: &Array) -> Result<Stored, Failure> {
    level::check_array(name, array.dtype, &array.shape)?;
    match array.dtype {
        DType::Int32 => original.create_ints(name, &elements(array.bytes))?,
        _ => original.create_doubles(name, &elements(array.bytes))?,
    }
    Ok(Stored::OnLevelOne { array_id: name.to_string(), status: "created" })
}

/// The elements in the bytes of a file, where they can lie anywhere.
fn elements<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

fn sentence(created: &Created, elapsed: Duration) -> String {
    let Created { stored, dtype, shape, bytes, seed, .. } = created;
    let (name, copies) = match stored {
        Stored::Committed(committed) => {
            (&committed.handle, format!(", {} of {} copies", committed.copies, committed.target))
        }
        Stored::Generated(done) => (&done.handle, format!(", {} of {} copies", done.copies, done.target)),
        Stored::OnLevelOne { array_id, .. } => (array_id, String::new()),
    };
    let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    let (shape, size, elapsed) = (describe_shape(shape), format_size(*bytes), duration(elapsed));
    format!("{name}: {shape} of {dtype}, {size}{copies}, in {elapsed}{seed}\n")
}

/// A shape for people: `10 000 000 elements`, `3 x 4 elements`, `one element`.
pub fn describe_shape(shape: &[u64]) -> String {
    match shape {
        [] | [1] => "one element".to_string(),
        sides => format!("{} elements", sides.iter().map(|&side| grouped(side)).collect::<Vec<_>>().join(" x ")),
    }
}
