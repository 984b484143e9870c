//! Where connections come in: a TCP port for everybody, and a socket for programs of the same machine.

#[cfg(target_os = "linux")]
use super::same_host;
use super::{Connection, Shared};
use crate::peer::Peers;
use crate::replies::Replies;
use log::{debug, warn};
use protocol::door::{Capacity, Door, Entry};
use protocol::frame::Documents;
use protocol::limits::JSON_PAYLOAD_BYTES_MAX;
use protocol::net::Stream;
use protocol::{Message, WireError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Pauses after an error of `accept`: mostly there are no file descriptors left, and somebody has to close
/// one.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest of them.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// For waking the acceptor, when this worker ends.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// The threads that accept connections.
pub(crate) struct DataPort {
    ending: Arc<AtomicBool>,
    acceptors: Vec<Running>,
}

struct Running {
    /// Makes the thread look around; whether that was possible.
    wake: Box<dyn Fn() -> bool + Send>,
    thread: JoinHandle<()>,
}

impl DataPort {
    /// Begins to accept connections, and to serve so many of them at once; with `shared_memory` also some from this
    /// machine that go through it, if the system has that.
    pub(crate) fn start(
        listener: TcpListener,
        shared: Shared,
        capacity: Capacity,
        shared_memory: bool,
    ) -> io::Result<DataPort> {
        let address = listener.local_addr()?;
        #[cfg(target_os = "linux")]
        let same_host = shared_memory.then(same_host::listen).flatten();
        #[cfg(target_os = "linux")]
        let shared = Shared { shared_memory: same_host.as_ref().map(|door| door.name().to_string()), ..shared };
        #[cfg(not(target_os = "linux"))]
        let _ = shared_memory;

        let shared = Arc::new(shared);
        let mut port = DataPort { ending: Arc::new(AtomicBool::new(false)), acceptors: Vec::new() };
        let wake = move || TcpStream::connect_timeout(&reachable(address), WAKE_TIMEOUT).is_ok();
        let entrance = Guarded { listener, door: Door::new(capacity) };
        debug!("connections: {:?}", entrance.door.capacity());
        port.accept("accept", entrance, shared.clone(), wake)?;
        #[cfg(target_os = "linux")]
        if let Some(door) = same_host {
            let wake = same_host::waker(&door);
            port.accept("accept-shared", door, shared, wake)?;
        }
        Ok(port)
    }

    fn accept<E: Entrance>(
        &mut self,
        name: &str,
        entrance: E,
        shared: Arc<Shared>,
        wake: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<()> {
        let ending = self.ending.clone();
        let documents = Documents::new(JSON_PAYLOAD_BYTES_MAX);
        let acceptor = Acceptor { entrance, shared, ending, connections: Vec::new(), documents };
        let thread = thread::Builder::new().name(name.into()).spawn(move || acceptor.run())?;
        self.acceptors.push(Running { wake: Box::new(wake), thread });
        Ok(())
    }

    /// Accepts no more, and waits for the threads of all connections. Those must have been hung up.
    pub(crate) fn end(self) {
        self.ending.store(true, Ordering::Relaxed);
        for acceptor in self.acceptors {
            if (acceptor.wake)() {
                let _ = acceptor.thread.join();
            }
        }
    }
}

/// Where to reach a listener from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Something that connections come from.
pub(super) trait Entrance: Send + 'static {
    /// Who wants a connection.
    type Caller;

    /// Waits for somebody; also gives his name for the log.
    fn accept(&self) -> io::Result<(Self::Caller, String)>;

    /// Makes the connection, with its place in the door if it has one; none if there are too many already, `open`
    /// of them through this entrance.
    fn admit(&self, caller: Self::Caller, open: usize, shared: &Shared) -> io::Result<Option<(Stream, Option<Entry>)>>;

    /// Nothing more can be accepted: somebody who has said nothing yet should go.
    fn make_room(&self);
}

/// The TCP port.
struct Guarded {
    listener: TcpListener,
    door: Arc<Door>,
}

impl Entrance for Guarded {
    type Caller = TcpStream;

    fn accept(&self) -> io::Result<(TcpStream, String)> {
        self.listener.accept().map(|(stream, peer)| (stream, peer.to_string()))
    }

    fn admit(&self, caller: TcpStream, _: usize, shared: &Shared) -> io::Result<Option<(Stream, Option<Entry>)>> {
        match self.door.admit(&caller)? {
            Ok(entry) => Ok(Some((caller.into(), Some(entry)))),
            Err(error) => turn_away(caller, shared, error).map(|()| None),
        }
    }

    fn make_room(&self) {
        self.door.make_room();
    }
}

/// Tells a caller why there is no connection for him. A new one has room for a line, so this does not wait; whoever does not get it
/// sees the connection close.
fn turn_away(caller: TcpStream, shared: &Shared, error: WireError) -> io::Result<()> {
    let (_, mut writer) = shared.sockets.open(caller, shared.worker.as_str(), "")?;
    let _ = writer.write(&Message::new(error), &[]);
    Ok(())
}

struct Acceptor<E> {
    entrance: E,
    shared: Arc<Shared>,
    ending: Arc<AtomicBool>,
    connections: Vec<JoinHandle<()>>,
    /// For what they read as JSON payloads, though nobody needs any here.
    documents: Arc<Documents>,
}

impl<E: Entrance> Acceptor<E> {
    fn run(mut self) {
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            let accepted = self.entrance.accept();
            if self.ending.load(Ordering::Relaxed) {
                break;
            }
            match accepted.and_then(|(caller, peer)| self.start(caller, peer)) {
                Ok(()) => pause = ACCEPT_PAUSE_MIN,
                Err(e) => {
                    warn!("cannot take a connection: {e}; trying again in {pause:?}");
                    self.entrance.make_room();
                    thread::sleep(pause);
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
        for connection in self.connections {
            let _ = connection.join();
        }
    }

    fn start(&mut self, caller: E::Caller, peer: String) -> io::Result<()> {
        self.connections.retain(|connection| !connection.is_finished());
        let admitted = self.entrance.admit(caller, self.connections.len(), &self.shared)?;
        let Some((stream, entry)) = admitted else { return Ok(()) };
        let (receiver, writer) = self.shared.sockets.open(stream, self.shared.worker.as_str(), "")?;
        let receiver = receiver.sharing(self.documents.clone());
        let Shared { worker, sockets, shared_memory, .. } = &*self.shared;
        let peers = || Peers::new(worker.clone(), sockets.clone(), shared_memory.is_some());
        let (replies, peers) = (Replies::new(writer, peers(), self.shared.clone()), peers());
        let name = format!("data {peer}");
        debug!("{peer}: one of {} connections here", self.connections.len() + 1);
        let connection = Connection { shared: self.shared.clone(), peer, receiver, replies, peers, entry };
        self.connections.push(thread::Builder::new().name(name).spawn(move || connection.run())?);
        Ok(())
    }
}
