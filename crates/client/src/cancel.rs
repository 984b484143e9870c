//! [`Cancel`]: calls that end before their deadline because nobody wants them any more.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Ends calls early, from any thread: those of every [`Cluster`](crate::Cluster) that was made with it by
/// [`Cluster::with_cancel`](crate::Cluster::with_cancel), and of every [`Original`](crate::Original), under way or still to
/// come. They end in [`Error::Cancelled`](crate::Error::Cancelled). Its clones are the same one; to drop it means nothing.
#[derive(Clone, Debug)]
pub struct Cancel {
    /// Dropped to cancel: everybody who waits for something listens to the other end too.
    sender: Arc<Mutex<Option<Sender<Infallible>>>>,
    /// Nothing ever comes here but the disconnection.
    pub(crate) cancelled: Receiver<Infallible>,
}

impl Default for Cancel {
    fn default() -> Cancel {
        let (sender, cancelled) = bounded(0);
        Cancel { sender: Arc::new(Mutex::new(Some(sender))), cancelled }
    }
}

impl Cancel {
    /// Ends the calls.
    pub fn cancel(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it has come to that.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits for it, so long at most, and says whether it has come.
    pub(crate) fn is_cancelled_within(&self, wait: Duration) -> bool {
        self.cancelled.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}
