//! Peers that take what they can get: thousands of connections, requests without end, bytes that drip. Whatever they do, the
//! memory of the processes stays below a cap, and another client is served meanwhile.
//!
//! Each case has a cluster of its own, whose processes can be looked at afterwards.
#![cfg(target_os = "linux")]

use client::Cluster;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::raw::{ANSWER, Raw};
use tests::harness::wait::until;
use tests::harness::{Processes, SOON, Setup};

/// Memory that no process of these clusters may ever have taken: the buffers of 4,096 connections, their threads, what waits
/// for slow readers, and the arrays of these tests. Without a flood it is a tenth of that.
const BYTES_MAX: u64 = 400 << 20;

/// Elements of what the other client computes: several segments, 800 KB.
const LEN: usize = 100_000;

/// The cluster, and a client that was there before.
struct Flooded {
    cluster: Processes,
    client: Cluster,
}

impl Flooded {
    fn start() -> Flooded {
        let cluster = Setup::new().workers(2).start();
        let client = cluster.connect();
        let flooded = Flooded { cluster, client };
        flooded.check_client(&flooded.client);
        flooded
    }

    fn master(&self) -> &str {
        self.cluster.master_address()
    }

    /// A client gets the right values.
    fn check_client(&self, client: &Cluster) {
        let values = Numbers::new(3).doubles(LEN);
        client.create("other", &values).unwrap();
        let done = client.apply("other", "example1").unwrap();
        check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
        client.delete("other").unwrap();
    }

    /// While it lasts and after it: the client that was there before and a new one are served.
    fn check(&mut self) {
        self.check_client(&self.client);
        self.check_client(&self.cluster.connect());
        for name in ["master", "w1", "w2"] {
            let peak = self.cluster.footprint(name).peak;
            assert!(peak <= BYTES_MAX, "{name} has taken {} MiB", peak >> 20);
        }
        self.cluster.check();
    }

    /// Descriptors and threads of the master.
    fn open_things(&self) -> [usize; 2] {
        self.cluster.open_things("master")
    }

    /// Whoever has gone has left nothing.
    fn wait_for_less_than(&self, before: [usize; 2]) {
        // A thread of the client or of the log more or less does not matter.
        let few = |now: [usize; 2]| now[0] <= before[0] + 8 && now[1] <= before[1] + 8;
        until("the end of what belonged to the flood", SOON, || few(self.open_things()).then_some(()));
    }
}

/// A request of level 2 with the newline.
fn request(kind: &str, id: usize) -> String {
    format!("{{\"type\":\"{kind}\",\"id\":{id},\"data\":{{}}}}\n")
}

const HELLO: &[u8] = b"{\"type\":\"HELLO\",\"data\":{\"role\":\"client\"}}\n";

/// Whether the other side took all of it, let us wait, or hung up.
#[derive(Debug, PartialEq)]
enum Sent {
    All,
    Stuck,
    HungUp,
}

/// Sends as long as the other side goes on taking something.
fn send_without_reading(address: &str, bytes: &[u8]) -> (TcpStream, Sent) {
    /// Who takes nothing for so long has stopped reading.
    const STUCK: Duration = Duration::from_secs(2);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(STUCK)).unwrap();
    let sent = match stream.write_all(bytes) {
        Ok(()) => Sent::All,
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Sent::Stuck,
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Sent::HungUp,
        Err(e) => panic!("{e}"),
    };
    (stream, sent)
}

/// So many, one after the other, that send without reading; each must end as is expected. They stay connected as long as what is returned.
fn flood(address: &str, count: usize, bytes: &[u8], expected: impl Fn(&Sent) -> bool) -> Vec<TcpStream> {
    let (streams, sent): (Vec<_>, Vec<_>) = (0..count).map(|_| send_without_reading(address, bytes)).unzip();
    assert!(sent.iter().all(expected), "{sent:?}");
    streams
}

/// Raises how many descriptors this process and those it starts may have, as far as that goes.
fn raise_descriptors(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let enough = limit.maximum.is_none_or(|maximum| maximum >= wanted);
        assert!(enough, "this test needs {wanted} descriptors; raise the hard limit of open files (ulimit -Hn)");
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
    }
}

/// Almost as many as the master serves at once, and a thousand at a worker. They have a minute to say something.
#[test]
fn five_thousand_silent_connections() {
    raise_descriptors(12_000);
    let mut flooded = Flooded::start();
    let before = flooded.open_things();
    let address = flooded.client.workers().unwrap().remove(0).address;
    let silent: Vec<Raw> = (0..4000).map(|_| Raw::connect(flooded.master())).collect();
    let more: Vec<Raw> = (0..1000).map(|_| Raw::connect(&address)).collect();
    flooded.check();
    // Whoever wakes up is served, though he was late.
    for mut peer in [silent.into_iter().next_back(), more.into_iter().next_back()].into_iter().flatten() {
        peer.send(HELLO);
        assert_eq!(peer.message().line["type"], "HELLO");
    }
    flooded.wait_for_less_than(before);
    flooded.check();
}

/// The master stops reading when 64 answers wait: it does not read more from who does not read them.
#[test]
fn a_hundred_thousand_requests_of_level_2_and_no_reads() {
    let mut flooded = Flooded::start();
    // Long ones: the kernel alone takes ten megabytes of what nobody reads.
    let from = "x".repeat(500);
    let request = |id| format!("{{\"type\":\"LIST_WORKERS\",\"from\":\"{from}\",\"id\":{id}}}\n");
    let requests: String = (1..=100_000).map(request).collect();
    let bytes = [HELLO, requests.as_bytes()].concat();
    let _floods = flood(flooded.master(), 4, &bytes, |sent| *sent == Sent::Stuck);
    flooded.check();
}

/// The master stops reading: it answers the next request when the last answer is gone.
#[test]
fn a_hundred_thousand_requests_of_level_1_and_no_reads() {
    let mut flooded = Flooded::start();
    // Long ones: the kernel alone takes ten megabytes of what nobody reads.
    let request =
        format!("{{\"type\":\"GET_RESULT\",\"data\":{{\"arrayId\":\"nobody\"}},\"x\":\"{}\"}}\n", "x".repeat(500));
    let requests = request.repeat(100_000);
    let _floods = flood(flooded.master(), 4, requests.as_bytes(), |sent| *sent == Sent::Stuck);
    flooded.check();
}

/// A worker stops reading too: the next segment is sent when the last one is gone.
#[test]
fn ten_thousand_requests_to_a_worker_and_no_reads() {
    let mut flooded = Flooded::start();
    flooded.client.create("large", &vec![7.0; 4_000_000]).unwrap();
    let segments = flooded.client.array_info("large").unwrap().versions.remove(0);
    let version = segments.handle.trim_start_matches("large@v").to_string();
    let get = |id: usize| {
        let segment = id % segments.segments.len();
        format!("{{\"type\":\"GET_SEGMENT\",\"id\":{id},\"data\":{{\"version\":{version},\"segment\":{segment}}}}}\n")
    };
    let requests: String = (1..=10_000).map(get).collect();
    let address = flooded.client.workers().unwrap().remove(0).address;
    // What the kernel's buffers take of 900 KB of requests is not much.
    let _floods = flood(&address, 8, &[HELLO, requests.as_bytes()].concat(), |sent| *sent != Sent::HungUp);
    assert_eq!(flooded.client.get::<f64>("large").unwrap().len(), 4_000_000);
    flooded.check();
}

/// Whoever sends one byte a second has a minute for a line. It costs nobody else anything, and he is answered if he is in time.
#[test]
fn lines_at_one_byte_a_second() {
    let mut flooded = Flooded::start();
    let mut slow: Vec<Raw> = (0..100).map(|_| Raw::connect(flooded.master())).collect();
    let address = flooded.client.workers().unwrap().remove(0).address;
    slow.extend((0..100).map(|_| Raw::connect(&address)));
    for byte in &HELLO[..4] {
        slow.iter().for_each(|peer| peer.send([*byte]));
        thread::sleep(Duration::from_secs(1));
    }
    flooded.check();
    for peer in &mut slow {
        peer.send(&HELLO[4..]);
        assert_eq!(peer.message().line["type"], "HELLO");
    }
}

/// Answers that are read one byte a second are kept for the reader, and wait for nobody else.
#[test]
fn readers_of_one_byte_a_second() {
    let mut flooded = Flooded::start();
    let mut slow: Vec<Raw> = (0..20).map(|_| Raw::connect_level_2(flooded.master())).collect();
    for peer in &slow {
        peer.send((1..=1000).map(|id| request("LIST_WORKERS", id)).collect::<String>());
    }
    for _ in 0..3 {
        slow.iter_mut().for_each(|peer| assert!(peer.byte() > 0));
        flooded.check_client(&flooded.client);
        thread::sleep(Duration::from_secs(1));
    }
    flooded.check();
    // And nothing of it is lost: the rest of the first answer, and all others.
    for peer in &mut slow {
        assert!(peer.line().expect("an answer").contains("\"id\":1,"));
        (2..=1000).for_each(|id| assert_eq!(peer.message().line["id"], id));
    }
}

/// Four at a time come and go, some without a word, some in the middle of one, some with a session.
#[test]
fn ten_thousand_connections_that_come_and_go() {
    let mut flooded = Flooded::start();
    let before = flooded.open_things();
    let address = flooded.client.workers().unwrap().remove(0).address;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let storm: Vec<_> = [flooded.master(), flooded.master(), flooded.master(), &address]
            .map(|address| {
                scope.spawn(move || {
                    for n in 0..2500 {
                        let mut stream = TcpStream::connect(address).unwrap();
                        // The other side may have hung up: that is its right.
                        let _ = stream.write_all([&b""[..], b"{\"type\":", HELLO, b"nonsense\n\n\n"][n % 4]);
                    }
                })
            })
            .into();
        let other = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                flooded.check_client(&flooded.client);
            }
        });
        storm.into_iter().for_each(|thread| thread.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        other.join().unwrap();
    });
    flooded.check();
    flooded.wait_for_less_than(before);
}

/// Ten documents of a million keys that mean nothing, and one key that does.
#[test]
fn a_million_keys_ten_times_at_once() {
    let mut flooded = Flooded::start();
    flooded.client.create("ints", &[1]).unwrap();
    let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let document = format!("{{{keys}\"arrayId\":\"ints\"}}");
    let (bytes, crc32c) = (document.len(), array::checksum::crc32c(document.as_bytes()));
    let line = format!(
        "{{\"type\":\"DESCRIBE_ARRAY\",\"id\":1,\"payload\":{{\"dtype\":\"json\",\"bytes\":{bytes},\"crc32c\":{crc32c}}}}}\n"
    );
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut peer = Raw::connect_level_2(flooded.master());
                peer.send(format!("{line}{document}"));
                assert_eq!(peer.message().line["type"], "ARRAY_INFO");
            });
        }
    });
    flooded.check();
}

/// 200 clients that have a document of 64 MiB announced, and send none of it: memory is not taken before bytes come.
#[test]
fn large_documents_announced_and_not_sent() {
    let mut flooded = Flooded::start();
    let line =
        "{\"type\":\"DESCRIBE_ARRAY\",\"id\":1,\"payload\":{\"dtype\":\"json\",\"bytes\":67108864,\"crc32c\":0}}\n";
    let silent: Vec<Raw> = (0..200).map(|_| Raw::connect_level_2(flooded.master())).collect();
    silent.iter().for_each(|peer| peer.send(format!("{line}{{")));
    thread::sleep(ANSWER / 20);
    flooded.check();
}
