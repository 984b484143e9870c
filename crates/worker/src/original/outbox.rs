//! When which line is written.
//!
//! One reply is handed out at a time, and the next when that one is written: the distance between two lines is then
//! kept whatever delays the thread that writes.

use super::reply::Reply;
use crate::store::Room;
use std::collections::VecDeque;
use std::time::Duration;

/// From REGISTER_WORKER to whatever comes next. What an original master reads together with REGISTER_WORKER it throws
/// away, and a line that is cut in two by that ends its reading of this worker.
pub const FIRST_LINE_AFTER: Duration = Duration::from_secs(1);

/// How often it hears that this worker lives, as from its own workers; it gives up after 10 s.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);

/// From one line to the next for a Python master, which must not find two of them in one read. 5 ms were enough on a
/// machine with nothing else to do; but a master that turns a large array into text reads nothing meanwhile, and 50 ms lost
/// a worker now and then. As it uses no result, waiting longer costs nothing.
pub const LINE_GAP: Duration = Duration::from_millis(200);

/// Replies that wait for their time. It has no bound of its own: all replies of a connection together have one.
#[derive(Debug)]
pub(super) struct Outbox {
    replies: VecDeque<(Reply, Option<Room>)>,
    /// The reply that is handed out, and the memory of its values.
    writing: Option<Option<Room>>,
    /// Before this nothing is written to anybody.
    opens: Duration,
    /// When a line was written last.
    written: Option<Duration>,
    /// When the next heartbeat is due.
    next_heartbeat: Duration,
}

impl Outbox {
    pub(super) fn new(registered: Duration) -> Outbox {
        let opens = registered + FIRST_LINE_AFTER;
        Outbox { replies: VecDeque::new(), writing: None, opens, written: None, next_heartbeat: opens }
    }

    pub(super) fn push(&mut self, reply: Reply, room: Option<Room>) {
        self.replies.push_back((reply, room));
    }

    /// Replies that are not written yet.
    pub(super) fn len(&self) -> usize {
        self.replies.len() + usize::from(self.writing.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What to write now. A heartbeat goes before any reply: they may be many, and it is what keeps this worker alive.
    pub(super) fn next(&mut self, now: Duration, paced: bool) -> Option<Reply> {
        if self.writing.is_some() || now < self.ready(paced) {
            return None;
        }
        let (reply, room) = match now >= self.next_heartbeat {
            true => {
                self.next_heartbeat = now + HEARTBEAT_EVERY;
                (Reply::Heartbeat, None)
            }
            false => self.replies.pop_front()?,
        };
        self.writing = Some(room);
        Some(reply)
    }

    /// Takes note that it is written; gives the memory of its values.
    pub(super) fn written(&mut self, now: Duration) -> Option<Room> {
        self.written = Some(now);
        self.writing.take().flatten()
    }

    /// When there will be something to write; `None` while a line is being written.
    pub(super) fn deadline(&self, paced: bool) -> Option<Duration> {
        let ready = self.ready(paced);
        match &self.writing {
            Some(_) => None,
            None if self.replies.is_empty() => Some(ready.max(self.next_heartbeat)),
            None => Some(ready),
        }
    }

    /// From when on a line may be written.
    fn ready(&self, paced: bool) -> Duration {
        let gap = if paced { LINE_GAP } else { Duration::ZERO };
        self.written.map_or(self.opens, |written| self.opens.max(written + gap))
    }

    /// The memory of all replies.
    pub(super) fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.replies.into_iter().filter_map(|(_, room)| room).chain(self.writing.flatten())
    }
}
