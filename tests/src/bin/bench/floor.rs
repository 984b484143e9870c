//! What the machine itself can do, in the same run as the cluster: the bytes over plain TCP, the arithmetic on plain threads, one
//! blocking round trip. Memory of both is warm: the floors use theirs again in every repetition.

use crate::times::Times;
use array::{Buffer, kernels};
use client::Cluster;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::oracle::Numbers;
use tests::harness::{Processes, Setup};

/// Float64 elements, as in the other tables.
const LARGE: usize = 10_000_000;
const LARGE_QUICKLY: usize = 200_000;
const SMALL: usize = 10_000;

/// Operations on 10,000 elements in each repetition, and round trips as many.
const SMALL_OPERATIONS: usize = 200;

/// Bytes written at a time.
const BLOCK: usize = 1 << 20;

const WARM_UP: usize = 1;

/// Two workers with one thread each, and what is measured on them.
struct Subject {
    cluster: Processes,
    client: Cluster,
    create: Times,
    get: Times,
    apply: Times,
    small: Times,
}

impl Subject {
    fn start(replication: u32) -> Subject {
        let cluster = Setup::new().workers(2).replication(replication).start();
        let client = cluster.connect();
        let times = Times::default;
        Subject { cluster, client, create: times(), get: times(), apply: times(), small: times() }
    }

    fn round(&mut self, rep: usize, large: usize, numbers: &mut Numbers) -> Result<(), client::Error> {
        let counts = rep >= WARM_UP;
        let name = format!("large{rep}");
        let values = numbers.doubles(large);
        self.create.add_if(counts, timed(|| self.client.create(&name, &values))?);
        self.apply.add_if(counts, timed(|| self.client.apply(&name, "example1"))?);
        self.get.add_if(counts, timed(|| self.client.get::<f64>(&name))?);
        self.client.delete(&name)?;
        let name = format!("small{rep}");
        self.client.create(&name, &numbers.doubles(SMALL))?;
        for _ in 0..SMALL_OPERATIONS {
            self.small.add_if(counts, timed(|| self.client.apply(&name, "example1"))?);
        }
        self.client.delete(&name)
    }
}

/// Measures, and prints the table. The words are the number of repetitions, and `quick` for small sizes.
pub fn run(words: &[String]) -> Result<(), String> {
    let (reps, large) = match words {
        [reps] => (reps, LARGE),
        [reps, quick] if quick == "quick" => (reps, LARGE_QUICKLY),
        _ => return Err("floor needs the number of repetitions, and perhaps the word quick".to_string()),
    };
    let reps: usize = reps.parse().map_err(|e| format!("'{reps}' repetitions: {e}"))?;
    let mut numbers = Numbers::new(7);
    let mut subjects = [Subject::start(1), Subject::start(2)];
    let mut wires = [Wire::new(1, large * 8), Wire::new(2, large * 8)];
    let mut arithmetic = Arithmetic::new(&numbers.doubles(large));
    let (mut one_copy, mut two_copies, mut computed, mut trips) =
        (Times::default(), Times::default(), Times::default(), Times::default());
    for rep in 0..WARM_UP + reps {
        let counts = rep >= WARM_UP;
        for subject in &mut subjects {
            subject.round(rep, large, &mut numbers).map_err(|e| e.to_string())?;
        }
        one_copy.add_if(counts, wires[0].transfer());
        two_copies.add_if(counts, wires[1].transfer());
        computed.add_if(counts, arithmetic.run());
        for _ in 0..SMALL_OPERATIONS {
            trips.add_if(counts, wires[0].round_trip());
        }
    }
    for subject in &mut subjects {
        subject.cluster.check();
    }
    let [r1, r2] = &subjects;
    let row = |what: &str, ours: &Times, floor: &str, its: &Times| {
        let ratio = ours.median_s() / its.median_s();
        println!("{what:>34}  {:>22}   {floor:<34}  {:>22}  {ratio:>6.2}x", ours.show(), its.show());
    };
    println!("{:>34}  {:>22}   {:<34}  {:>22}  {:>7}", "darray", "ms", "floor", "ms", "ratio");
    row("create, 1 copy", &r1.create, "raw TCP, one stream", &one_copy);
    row("create, 2 copies", &r2.create, "raw TCP, two streams at once", &two_copies);
    row("get", &r2.get, "raw TCP, one stream", &one_copy);
    row("example1, 1 copy", &r1.apply, "two plain threads", &computed);
    row("example1, 2 copies", &r2.apply, "two plain threads", &computed);
    row("example1 on 10,000, 1 copy", &r1.small, "blocking round trip", &trips);
    row("example1 on 10,000, 2 copies", &r2.small, "blocking round trip", &trips);
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T, client::Error>) -> Result<Duration, client::Error> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// Streams over loopback, each with a thread that receives into memory of its own and answers one byte.
struct Wire {
    streams: Vec<TcpStream>,
    payload: Vec<u8>,
}

impl Wire {
    fn new(streams: usize, bytes: usize) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let streams = (0..streams).map(|_| {
            let sender = TcpStream::connect(address).expect("a connection");
            let (receiver, _) = listener.accept().expect("its other end");
            sender.set_nodelay(true).and_then(|()| receiver.set_nodelay(true)).expect("no Nagle");
            thread::spawn(move || receive(receiver, bytes));
            sender
        });
        Wire { streams: streams.collect(), payload: vec![7; bytes] }
    }

    /// Sends the payload on every stream at once, until each receiver has all of it.
    fn transfer(&mut self) -> Duration {
        let begun = Instant::now();
        thread::scope(|scope| {
            for stream in &self.streams {
                let payload = &self.payload;
                scope.spawn(move || {
                    exchange(stream, payload.len() as u64, payload);
                });
            }
        });
        begun.elapsed()
    }

    /// One byte there, one byte back.
    fn round_trip(&mut self) -> Duration {
        let begun = Instant::now();
        exchange(&self.streams[0], 1, &[1]);
        begun.elapsed()
    }
}

fn exchange(mut stream: &TcpStream, bytes: u64, payload: &[u8]) {
    stream.write_all(&bytes.to_le_bytes()).expect("the receiver lives");
    for block in payload.chunks(BLOCK) {
        stream.write_all(block).expect("the receiver lives");
    }
    stream.read_exact(&mut [0]).expect("the receiver lives");
}

/// Receives what is announced into the same memory again and again, until the sender is gone.
fn receive(mut stream: TcpStream, bytes_max: usize) {
    let mut memory = vec![1; bytes_max];
    let mut announced = [0; 8];
    while stream.read_exact(&mut announced).is_ok() {
        let bytes = u64::from_le_bytes(announced) as usize;
        if stream.read_exact(&mut memory[..bytes]).is_err() || stream.write_all(&[1]).is_err() {
            return;
        }
    }
}

/// The kernel on two threads, from and into memory that is there already.
struct Arithmetic {
    input: Buffer,
    output: Buffer,
}

impl Arithmetic {
    fn new(values: &[f64]) -> Arithmetic {
        Arithmetic { input: Buffer::from_slice(values), output: Buffer::from_slice(values) }
    }

    fn run(&mut self) -> Duration {
        let begun = Instant::now();
        let input: &[f64] = self.input.as_slice();
        let half = input.len() / 2;
        let (first, second) = self.output.as_mut_slice::<f64>().split_at_mut(half);
        thread::scope(|scope| {
            scope.spawn(|| kernels::example1(&input[..half], first));
            kernels::example1(&input[half..], second);
        });
        begun.elapsed()
    }
}
