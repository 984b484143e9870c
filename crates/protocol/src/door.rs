//! Who may have a connection: a bound on all of them, and one on those of each address.
//!
//! A connection is *silent* until it has said its first line. When there are too many, the silent one that has waited longest
//! gives way to the newcomer: so a thousand connections that say nothing keep nobody out, and a peer that means it says
//! HELLO at once. Those that have spoken stay; if all have, the newcomer is refused with `Busy`.

use crate::error::{ErrorCode, WireError};
use crate::net::hang_up;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When a refused peer should try again, in milliseconds: connections of people and programs last longer than that.
const RETRY_AFTER_MS: u64 = 1000;

/// Descriptors of one connection: its reading end, its writing end, and one to hang it up while it is silent.
const DESCRIPTORS_EACH: u64 = 3;

/// Descriptors for everything else: the log, listeners, connections to others.
const DESCRIPTORS_SPARE: u64 = 32;

/// How many connections a program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub per_address: usize,
}

/// Lets connections in. Usable from many threads.
#[derive(Debug)]
pub struct Door {
    capacity: Capacity,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// By number, so the oldest first.
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    address: IpAddr,
    /// To hang it up with, while it has said nothing.
    silent: Option<TcpStream>,
}

/// A connection's place, until this is dropped.
#[derive(Debug)]
pub struct Entry {
    door: Arc<Door>,
    number: u64,
    address: IpAddr,
}

impl Door {
    /// A door of this capacity, or of less if the process may not have so many descriptors.
    pub fn new(capacity: Capacity) -> Arc<Door> {
        let affordable = descriptors().saturating_sub(DESCRIPTORS_SPARE) / DESCRIPTORS_EACH;
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX).max(1);
        let capacity = Capacity { connections: capacity.connections.min(affordable), ..capacity };
        Arc::new(Door { capacity, inside: Mutex::default() })
    }

    /// How many it lets in.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Lets a connection in.
    ///
    /// # Errors
    /// Those of the socket, when it has ended already. The refusal is `Busy`, with the limit and when to try again.
    pub fn admit(self: &Arc<Door>, stream: &TcpStream) -> io::Result<Result<Entry, WireError>> {
        let (address, silent) = (stream.peer_addr()?.ip().to_canonical(), stream.try_clone()?);
        let mut inside = self.lock();
        let of_address = inside.guests.values().filter(|guest| guest.address == address).count();
        let Capacity { connections, per_address } = self.capacity;
        if of_address >= per_address && !inside.drop_silent(|guest| guest.address == address) {
            let why = format!(
                "{per_address} connections from {address} are open; the limit is --connections-per-address; \
                 use fewer of them for more requests, or try again later"
            );
            return Ok(Err(busy(why)));
        }
        if inside.guests.len() >= connections && !inside.drop_silent(|_| true) {
            let why = format!("{connections} connections are open, and no more are served (--connections-max)");
            return Ok(Err(busy(why)));
        }
        let number = inside.next;
        inside.next += 1;
        inside.guests.insert(number, Guest { address, silent: Some(silent) });
        Ok(Ok(Entry { door: self.clone(), number, address }))
    }

    /// Hangs up the silent connection that has waited longest, because there are no descriptors left. False if there is none.
    pub fn make_room(&self) -> bool {
        self.lock().drop_silent(|_| true)
    }

    #[cfg(test)]
    fn open(&self) -> usize {
        self.lock().guests.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner) // every change is complete before anything can panic
    }
}

impl Inside {
    /// Hangs up the oldest silent connection of some; its thread ends by that.
    fn drop_silent(&mut self, is_meant: impl Fn(&Guest) -> bool) -> bool {
        let mut silent = self.guests.iter().filter(|(_, guest)| guest.silent.is_some() && is_meant(guest));
        let Some(number) = silent.next().map(|(number, _)| *number) else { return false };
        if let Some(Guest { silent: Some(stream), .. }) = self.guests.remove(&number) {
            hang_up(&stream);
        }
        true
    }
}

impl Entry {
    /// Takes note that the connection has said its first line: it keeps its place from now on. False if it has lost it.
    pub fn introduced(&self) -> bool {
        match self.door.lock().guests.get_mut(&self.number) {
            Some(guest) => {
                guest.silent = None;
                true
            }
            None => false,
        }
    }

    /// Where it comes from.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.door.lock().guests.remove(&self.number);
    }
}

fn busy(why: String) -> WireError {
    WireError::new(ErrorCode::Busy, why).retry_after_ms(RETRY_AFTER_MS)
}

/// Descriptors that this process may have; as many as it is ever allowed, from the first call on.
fn descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }); // then it stays as it is
        limit = getrlimit(Resource::Nofile);
    }
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    struct Street {
        listener: TcpListener,
        door: Arc<Door>,
    }

    impl Street {
        fn new(connections: usize, per_address: usize) -> Street {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Street { listener, door: Door::new(Capacity { connections, per_address }) }
        }

        /// Somebody comes: his end, and what he gets.
        fn come(&self) -> (TcpStream, Result<Entry, WireError>) {
            let peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let (stream, _) = self.listener.accept().unwrap();
            let entry = self.door.admit(&stream).unwrap();
            (peer, entry)
        }
    }

    #[test]
    fn the_oldest_silent_connection_gives_way() {
        let street = Street::new(3, 3);
        let (_a, spoken) = street.come();
        let spoken = spoken.unwrap();
        assert!(spoken.introduced());
        let (mut oldest, first) = street.come();
        let (_c, second) = street.come();
        let (_d, third) = street.come();
        assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "the oldest silent one was hung up");
        assert!(!first.unwrap().introduced(), "it has lost its place, whatever it says now");
        assert!(second.unwrap().introduced() && third.unwrap().introduced() && spoken.introduced());
    }

    #[test]
    fn who_has_spoken_stays_and_the_newcomer_is_told() {
        for (connections, per_address, flag) in [(2, 9, "--connections-max"), (9, 2, "--connections-per-address")] {
            let street = Street::new(connections, per_address);
            let inside: Vec<_> = (0..2).map(|_| street.come()).collect();
            assert!(inside.iter().all(|(_, entry)| entry.as_ref().unwrap().introduced()));
            let error = street.come().1.unwrap_err();
            assert_eq!((error.code, error.retry_after_ms), (ErrorCode::Busy, Some(RETRY_AFTER_MS)));
            assert!(error.message.contains(flag) && error.message.contains('2'), "{error}");
            drop(inside);
            assert_eq!(street.door.open(), 0);
            assert!(street.come().1.is_ok(), "there is room again");
        }
    }

    #[test]
    fn without_descriptors_a_silent_one_makes_room() {
        let street = Street::new(9, 9);
        assert!(!street.door.make_room());
        let (mut peer, entry) = street.come();
        assert!(street.door.make_room() && !street.door.make_room());
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        assert!(!entry.unwrap().introduced());
    }

    #[test]
    fn there_are_never_more_connections_than_descriptors() {
        let door = Door::new(Capacity { connections: usize::MAX, per_address: 1 });
        assert!((door.capacity.connections as u64) < descriptors());
    }
}
