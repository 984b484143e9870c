//! What the machine itself can do: bytes over plain TCP, the arithmetic on plain threads. Their memory is warm: it is used again in
//! every repetition.

use array::{Buffer, kernels};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes written at a time.
const BLOCK: usize = 1 << 20;

/// Streams over loopback, each with a thread that receives into memory of its own and answers one byte.
pub struct Wire {
    streams: Vec<TcpStream>,
    payload: Vec<u8>,
}

impl Wire {
    pub fn new(streams: usize, bytes: usize) -> Wire {
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
    pub fn transfer(&mut self) -> Duration {
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
    pub fn round_trip(&mut self) -> Duration {
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
pub struct Arithmetic {
    input: Buffer,
    output: Buffer,
}

impl Arithmetic {
    pub fn new(values: &[f64]) -> Arithmetic {
        Arithmetic { input: Buffer::from_slice(values), output: Buffer::from_slice(values) }
    }

    pub fn run(&mut self) -> Duration {
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
