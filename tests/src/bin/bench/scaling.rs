//! Create, apply, get with one to four workers: the table of the original system.

use crate::times::Times;
use client::Cluster;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::{CALL_TIMEOUT, Setup};

const WORKERS_MAX: usize = 4;

/// Elements of a row, of the original's table and of one that is worth a cluster.
const SMALL: usize = 10_000;
const LARGE: usize = 10_000_000;
const LARGE_QUICKLY: usize = 200_000;

/// The first repetitions find cold caches, and connections not yet made; they are checked, and not counted.
const WARM_UP: usize = 1;

/// One round: store, compute, read.
struct Round {
    steps: [Duration; 3],
    result: Vec<f64>,
}

/// Measures, and prints the table. The words are the number of repetitions, and `quick` for small sizes.
pub fn run(words: &[String]) -> Result<(), String> {
    let (reps, large) = match words {
        [reps] => (reps, LARGE),
        [reps, quick] if quick == "quick" => (reps, LARGE_QUICKLY),
        _ => return Err("scaling needs the number of repetitions, and perhaps the word quick".to_string()),
    };
    let reps: usize = reps.parse().map_err(|e| format!("'{reps}' repetitions: {e}"))?;
    println!(
        "{:>5}  {:>10}  {:>7}  {:>22}  {:>22}  {:>22}  {:>22}",
        "level", "elements", "workers", "create", "apply", "get", "total"
    );
    let mut numbers = Numbers::new(SystemTime::now().duration_since(UNIX_EPOCH).map_err(say)?.as_nanos() as u64);
    for (level, elements) in [(2, SMALL), (2, large), (1, SMALL)] {
        for workers in 1..=WORKERS_MAX {
            row(level, elements, workers, reps, &mut numbers)?;
        }
    }
    Ok(())
}

fn row(level: u32, elements: usize, workers: usize, reps: usize, numbers: &mut Numbers) -> Result<(), String> {
    let mut cluster = Setup::new().workers(workers).start();
    let client = cluster.connect();
    let mut times: [Times; 4] = Default::default();
    for rep in 0..WARM_UP + reps {
        let values = numbers.doubles(elements);
        let name = format!("a{rep}");
        let round = match level {
            1 => level1(cluster.master_address(), &name, &values),
            _ => level2(&client, &name, &values),
        }?;
        check_example1(&values, &round.result).map_err(|wrong| format!("{workers} workers, {name}: {wrong}"))?;
        client.delete(&name).map_err(say)?;
        if rep >= WARM_UP {
            for (times, step) in times.iter_mut().zip(round.steps) {
                times.add(step);
            }
            times[3].add(round.steps.iter().sum());
        }
    }
    cluster.check();
    let [create, apply, get, total] = times.map(|times| times.show());
    println!("{level:>5}  {elements:>10}  {workers:>7}  {create:>22}  {apply:>22}  {get:>22}  {total:>22}");
    Ok(())
}

/// With the library. The operation is done when `apply` returns.
fn level2(client: &Cluster, name: &str, values: &[f64]) -> Result<Round, String> {
    let began = Instant::now();
    client.create(name, values).map_err(say)?;
    let created = Instant::now();
    client.apply(name, "example1").map_err(say)?;
    let applied = Instant::now();
    let result = client.get(name).map_err(say)?;
    Ok(Round { steps: [created - began, applied - created, applied.elapsed()], result })
}

/// As a client of the original does it: a connection and one line for each request. The operation has only begun when
/// `apply` is answered; `get` waits for it. Making JSON of the values, and values of the JSON, is not in the times.
fn level1(master: &str, name: &str, values: &[f64]) -> Result<Round, String> {
    let requests = [
        ("CREATE_ARRAY", json!({"arrayId": name, "dataType": "double", "values": values}), "created"),
        ("APPLY_OPERATION", json!({"arrayId": name, "operation": "example1"}), "processing"),
        ("GET_RESULT", json!({"arrayId": name}), "complete"),
    ];
    let mut steps = [Duration::ZERO; 3];
    let mut reply = Value::Null;
    for (step, (kind, data, expected)) in steps.iter_mut().zip(requests) {
        let message = json!({"type": kind, "from": "client", "to": "master", "timestamp": 0, "data": data});
        let request = format!("{message}\n");
        let began = Instant::now();
        let line = ask(master, &request).map_err(say)?;
        *step = began.elapsed();
        reply = serde_json::from_str(&line).map_err(say)?;
        if reply["data"]["status"] != expected {
            return Err(format!("{kind} is answered with {}", reply["data"]));
        }
    }
    let result = serde_json::from_value(reply["data"]["result"].take()).map_err(say)?;
    Ok(Round { steps, result })
}

/// The reply, read to its end.
fn ask(master: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(master)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CALL_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::with_capacity(1 << 20, stream).read_line(&mut line)?;
    Ok(line)
}

fn say(error: impl Display) -> String {
    error.to_string()
}
