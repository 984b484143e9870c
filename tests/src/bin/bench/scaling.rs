//! Create, apply, get with one to four workers: the table of the original system.

use crate::options::{Options, SMALL};
use crate::ours::{Round, round, say};
use crate::times::Times;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::{CALL_TIMEOUT, Setup};

const WORKERS_MAX: usize = 4;

/// Measures, and prints the table.
pub fn run(options: &Options) -> Result<(), String> {
    println!(
        "{:>5}  {:>10}  {:>7}  {:>22}  {:>22}  {:>22}  {:>22}",
        "level", "elements", "workers", "create", "apply", "get", "total"
    );
    let mut numbers = Numbers::new(SystemTime::now().duration_since(UNIX_EPOCH).map_err(say)?.as_nanos() as u64);
    for (level, elements) in [(2, SMALL), (2, options.large()), (1, SMALL)] {
        for workers in 1..=WORKERS_MAX {
            row(level, elements, workers, options, &mut numbers)?;
        }
    }
    Ok(())
}

fn row(level: u32, elements: usize, workers: usize, options: &Options, numbers: &mut Numbers) -> Result<(), String> {
    let mut cluster = Setup::new().workers(workers).start();
    let client = cluster.connect();
    let mut times: [Times; 4] = Default::default();
    let mut memory = Vec::new();
    for (rep, counts) in options.rounds() {
        let values = numbers.doubles(elements);
        let name = format!("a{rep}");
        let round = match level {
            1 => level1(cluster.master_address(), &name, &values),
            _ => round(&client, &name, &values, memory),
        }?;
        check_example1(&values, &round.result).map_err(|wrong| format!("{workers} workers, {name}: {wrong}"))?;
        client.delete(&name).map_err(say)?;
        for (times, step) in times.iter_mut().zip(round.steps) {
            times.add_if(counts, step);
        }
        times[3].add_if(counts, round.steps.iter().sum());
        memory = round.result;
    }
    cluster.check();
    let [create, apply, get, total] = times.map(|times| times.show());
    println!("{level:>5}  {elements:>10}  {workers:>7}  {create:>22}  {apply:>22}  {get:>22}  {total:>22}");
    Ok(())
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
