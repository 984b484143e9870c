//! A TCP proxy that a test can spoil while it runs, each direction on its own: late, slow, cut, swallowed, damaged, reset.
//!
//! For each direction of each connection one thread reads what comes, and another one passes it on when its time has come; a
//! bounded queue is between them, so whoever sends too much waits, as on a real link.

use crate::sim::random::Random;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is passed on at once.
const BLOCK_BYTES: usize = 64 << 10;

/// Blocks on their way in one direction of a connection: a megabyte, about what the buffers of a long link hold.
const BLOCKS_MAX: usize = 16;

/// How long a write waits before it looks whether its connection was reset meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From whoever connects to whoever listens.
    There,
    /// From whoever listens to whoever has connected.
    Back,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::There, Direction::Back];
}

/// How a direction behaves. By default nothing is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// How long everything takes at least.
    pub delay: Duration,
    /// What may come on top, by chance.
    pub jitter: Duration,
    /// How much all connections together get through; none: as much as the machine can.
    pub bytes_per_second: Option<u64>,
    /// Nothing comes through until this ends, and then everything: as TCP sees a partition.
    pub cut: bool,
    /// What is sent is never delivered, though nothing tells so: as to a machine that has vanished and come back without memory.
    pub swallowing: bool,
}

/// One direction of a proxy, that of all its connections.
#[derive(Debug)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
    passed: AtomicU64,
}

#[derive(Debug)]
struct State {
    quality: Quality,
    random: Random,
    /// When the link has room for the next block, if its rate is limited.
    free_at: Instant,
    /// The next block is to arrive with one bit flipped.
    damage: bool,
}

impl Way {
    fn new(seed: u64) -> Way {
        let state =
            State { quality: Quality::default(), random: Random::new(seed), free_at: Instant::now(), damage: false };
        Way { state: Mutex::new(state), changed: Condvar::new(), passed: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until what was read at a time may be passed on. Gives what is to be done to it, or none if the connection was reset.
    fn wait_turn(&self, read_at: Instant, bytes: usize, connection: &Connection) -> Option<Treatment> {
        let mut state = self.state();
        let luck = state.random.below(1 << 20) as f64 / f64::from(1 << 20);
        loop {
            if connection.is_reset() {
                return None;
            }
            let Quality { delay, jitter, bytes_per_second, cut, swallowing } = state.quality;
            let now = Instant::now();
            let mut due = read_at + delay + jitter.mul_f64(luck);
            if bytes_per_second.is_some() {
                due = due.max(state.free_at);
            }
            if cut {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if now < due {
                state = self.changed.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                if let Some(rate) = bytes_per_second {
                    state.free_at = now + Duration::from_secs_f64(bytes as f64 / rate as f64);
                }
                let flip = bytes > 0 && std::mem::take(&mut state.damage);
                let flip = flip.then(|| state.random.below(8 * bytes as u64) as usize);
                return Some(Treatment { swallow: swallowing, flip });
            }
        }
    }
}

/// What is done to a block.
struct Treatment {
    swallow: bool,
    /// The bit that arrives as its opposite.
    flip: Option<usize>,
}

/// Both halves of a connection. Closed when the last of its threads ends.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    reset: AtomicBool,
}

impl Connection {
    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// Has both sides see `connection reset by peer`, whatever was on its way. The threads must be woken after that.
    fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        for stream in [&self.client, &self.server] {
            // With a linger time of zero the close, which comes as soon as nobody uses it any more, sends RST instead of FIN.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO)); // it may have ended by itself
            let _ = stream.shutdown(Shutdown::Read); // wakes a reader, and tells the other side nothing
        }
    }

    /// From, and to.
    fn streams(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::There => (&self.client, &self.server),
            Direction::Back => (&self.server, &self.client),
        }
    }
}

/// What is on its way.
enum Item {
    Block(Vec<u8>),
    /// The sender has said that nothing more will come.
    End,
    /// The sender's end has broken.
    Broken,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<Option<String>>,
    target_known: Condvar,
    there: Way,
    back: Way,
    connections: Mutex<Vec<Weak<Connection>>>,
    over: AtomicBool,
}

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::There => &self.there,
            Direction::Back => &self.back,
        }
    }

    fn reset(&self, connections: impl IntoIterator<Item = Arc<Connection>>) {
        connections.into_iter().for_each(|connection| connection.reset());
        Direction::BOTH.into_iter().for_each(|direction| self.way(direction).change(|_| ()));
    }

    fn set_target(&self, target: Option<String>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.target_known.notify_all();
    }

    /// Waits until there is a target, or it is over.
    fn target(&self) -> Option<String> {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        while target.is_none() && !self.over.load(Ordering::Acquire) {
            target = self.target_known.wait(target).unwrap_or_else(PoisonError::into_inner);
        }
        target.clone()
    }

    fn open_connections(&self) -> Vec<Arc<Connection>> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.iter().filter_map(Weak::upgrade).collect()
    }
}

/// A proxy on a port of its own. Dropping it resets its connections.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one whose connections wait until it is known where they [lead](Proxy::lead_to). The seed decides jitter and which bits are flipped.
    pub fn start(seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let shared = Arc::new(Shared {
            target: Mutex::default(),
            target_known: Condvar::new(),
            there: Way::new(seed),
            back: Way::new(!seed),
            connections: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where new connections lead.
    pub fn lead_to(&self, address: &str) {
        self.shared.set_target(Some(address.to_string()));
    }

    /// Has new connections wait until it is known where they lead.
    pub fn lead_nowhere_yet(&self) {
        self.shared.set_target(None);
    }

    /// Has a direction behave differently from now on, for what is on its way too.
    pub fn set(&self, direction: Direction, quality: Quality) {
        self.shared.way(direction).change(|state| state.quality = quality);
    }

    /// Both directions.
    pub fn set_both(&self, quality: Quality) {
        Direction::BOTH.into_iter().for_each(|direction| self.set(direction, quality));
    }

    /// Nothing comes through in this direction until it is mended.
    pub fn cut(&self, direction: Direction) {
        self.set(direction, Quality { cut: true, ..Quality::default() });
    }

    /// Nothing is wrong any more.
    pub fn mend(&self) {
        self.set_both(Quality::default());
    }

    /// The next bytes in this direction arrive with one bit flipped.
    pub fn damage(&self, direction: Direction) {
        self.shared.way(direction).change(|state| state.damage = true);
    }

    /// Whether a damage that was asked for is still to come.
    pub fn is_damage_pending(&self, direction: Direction) -> bool {
        self.shared.way(direction).state().damage
    }

    /// Resets all connections. Gives how many that were.
    pub fn reset(&self) -> usize {
        let connections = self.shared.open_connections();
        let count = connections.len();
        self.shared.reset(connections);
        count
    }

    /// How many bytes have been passed on in a direction.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.way(direction).passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.set_target(Some(String::new()));
        let _ = TcpStream::connect(&self.address); // wakes the acceptor, if it is still there
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join(); // it has nothing to say
        }
        self.reset();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.over.load(Ordering::Acquire) {
            return;
        }
        let Ok(client) = client else { continue };
        match shared.target().map(TcpStream::connect) {
            Some(Ok(server)) => connect(client, server, shared),
            // As near as a proxy comes to a refused connection.
            _ => drop(SockRef::from(&client).set_linger(Some(Duration::ZERO))),
        }
    }
}

fn connect(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an open socket");
        stream.set_write_timeout(Some(LOOK_EVERY)).expect("an open socket");
    }
    let connection = Arc::new(Connection { client, server, reset: AtomicBool::new(false) });
    shared.open_connections(); // forgets those that have ended
    shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
    for direction in Direction::BOTH {
        let (sender, receiver) = sync_channel(BLOCKS_MAX);
        let reads = connection.clone();
        thread::spawn(move || read(&reads, direction, &sender));
        let (connection, shared) = (connection.clone(), shared.clone());
        thread::spawn(move || pass_on(&connection, direction, &receiver, &shared));
    }
}

fn read(connection: &Connection, direction: Direction, sender: &SyncSender<(Instant, Item)>) {
    let (mut from, _) = connection.streams(direction);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let item = match from.read(&mut block) {
            Ok(0) => Item::End,
            Ok(bytes) => Item::Block(block[..bytes].to_vec()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Item::Broken,
        };
        let is_last = !matches!(item, Item::Block(_));
        // Nobody takes it if the connection was reset.
        if sender.send((Instant::now(), item)).is_err() || is_last {
            return;
        }
    }
}

fn pass_on(connection: &Arc<Connection>, direction: Direction, blocks: &Receiver<(Instant, Item)>, shared: &Shared) {
    let way = shared.way(direction);
    let (_, to) = connection.streams(direction);
    for (read_at, item) in blocks {
        let bytes = if let Item::Block(block) = &item { block.len() } else { 0 };
        let Some(treatment) = way.wait_turn(read_at, bytes, connection) else { return };
        match item {
            _ if treatment.swallow => {}
            Item::Block(mut block) => {
                if let Some(bit) = treatment.flip {
                    block[bit / 8] ^= 1 << (bit % 8);
                }
                if !write(&block, to, connection) {
                    return shared.reset([connection.clone()]);
                }
                way.passed.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Item::End => drop(to.shutdown(Shutdown::Write)), // whoever was there may have gone
            Item::Broken => return shared.reset([connection.clone()]),
        }
    }
}

/// Writes all of a block, however long the other side takes. False if the connection has ended.
fn write(mut block: &[u8], mut to: &TcpStream, connection: &Connection) -> bool {
    while !block.is_empty() {
        match to.write(block) {
            _ if connection.is_reset() => return false,
            Ok(bytes) => block = &block[bytes..],
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::SOON;
    use crate::harness::wait::until;

    /// Between these two ends is a proxy.
    fn link() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(1);
        let client = TcpStream::connect(proxy.address()).unwrap(); // before it is known where to
        proxy.lead_to(&listener.local_addr().unwrap().to_string());
        let server = listener.accept().unwrap().0;
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        (proxy, client, server)
    }

    fn read_some(mut from: &TcpStream, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn everything_comes_through_in_both_directions_and_so_does_the_end() {
        let (proxy, mut client, mut server) = link();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).unwrap();
            assert!(received == sent);
        });
        server.write_all(b"still open").unwrap();
        assert_eq!(read_some(&client, 10), b"still open");
        assert_eq!((proxy.passed(Direction::There), proxy.passed(Direction::Back)), (3_000_000, 10));
    }

    #[test]
    fn a_cut_holds_one_direction_back_until_it_is_mended() {
        let (proxy, mut client, mut server) = link();
        proxy.cut(Direction::There);
        client.write_all(b"held").unwrap();
        server.write_all(b"free").unwrap();
        assert_eq!(read_some(&client, 4), b"free");
        server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(server.read(&mut [0; 4]).is_err(), "nothing arrives");
        proxy.mend();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(read_some(&server, 4), b"held");
    }

    #[test]
    fn what_is_swallowed_never_arrives() {
        let (proxy, mut client, server) = link();
        proxy.set(Direction::There, Quality { swallowing: true, ..Quality::default() });
        client.write_all(b"lost").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!((&server).read(&mut [0; 4]).is_err(), "nothing arrives");
        proxy.mend();
        client.write_all(b"here").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(read_some(&server, 4), b"here");
    }

    #[test]
    fn damage_is_one_bit_once() {
        let (proxy, mut client, server) = link();
        proxy.damage(Direction::There);
        assert!(proxy.is_damage_pending(Direction::There));
        client.write_all(&[0; 1000]).unwrap();
        let ones = |bytes: Vec<u8>| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!(ones(read_some(&server, 1000)), 1);
        assert!(!proxy.is_damage_pending(Direction::There));
        client.write_all(&[0; 1000]).unwrap();
        assert_eq!(ones(read_some(&server, 1000)), 0);
    }

    #[test]
    fn a_reset_is_one_for_both_ends_also_while_nothing_comes_through() {
        let (proxy, mut client, server) = link();
        Direction::BOTH.into_iter().for_each(|direction| proxy.cut(direction));
        client.write_all(b"held").unwrap();
        let reset =
            until("the proxy to know of it", SOON, || Some(proxy.reset()).filter(|connections| *connections > 0));
        assert_eq!(reset, 1);
        for mut end in [&client, &server] {
            assert_eq!(end.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        until_none_is_open(&proxy);
    }

    #[test]
    fn the_reset_of_one_end_reaches_the_other() {
        let (proxy, client, mut server) = link();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        until_none_is_open(&proxy);
    }

    fn until_none_is_open(proxy: &Proxy) {
        let none = || proxy.shared.open_connections().is_empty().then_some(());
        crate::harness::wait::until("the threads of the connection to end", Duration::from_secs(20), none);
    }

    #[test]
    fn what_is_late_takes_its_time_and_what_is_slow_its_rate() {
        let (proxy, mut client, server) = link();
        let delay = Duration::from_millis(100);
        proxy.set(Direction::There, Quality { delay, jitter: delay / 10, ..Quality::default() });
        let began = Instant::now();
        client.write_all(b"late").unwrap();
        read_some(&server, 4);
        assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
        proxy.set(Direction::There, Quality { bytes_per_second: Some(4_000_000), ..Quality::default() });
        let began = Instant::now();
        client.write_all(&[0; 1_000_000]).unwrap();
        read_some(&server, 1_000_000);
        // The last block need not wait for the time that it takes itself.
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
