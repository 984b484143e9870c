//! Bugs planted in master and worker, to see that the tests find such bugs.
//!
//! All of them are in one build, that with the feature `planted`, and `choose` switches one on for the whole process. Without
//! the feature [`bug!`] is a constant `false`: nothing of any bug is compiled, and there is nothing that could switch one on. At each
//! place `if planted::bug!(Name)` says what the code would do if it had that bug.

/// Makes the enum of all bugs from their names and what they do.
macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident,)+) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Bug] = &[$(Bug::$bug),+];

            /// What it does, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Bug::$bug => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

bugs! {
    /// A write is acknowledged while copies of it are still being fetched.
    AckBeforeCopies,
    /// A client is answered when the change is on its way to the log, not when it is in it.
    ReplyBeforeLog,
    /// A change that must be on the disk is committed when it is in the file.
    LogNotSynced,
    /// A master that starts forgets what requests were answered.
    ReplyTableForgotten,
    /// A master that starts gives ids again that the one before may have used.
    IdsGivenTwice,
    /// A master that starts does not wait for the workers to tell what they hold.
    ReportsNotAwaited,
    /// A worker follows instructions that are older than what it has heard.
    NoFence,
    /// A process that claims a worker's id gets it at once, whatever its life and that of the other.
    IncarnationNotCompared,
    /// What a worker that registers says it holds is ignored.
    InventoryIgnored,
    /// A worker that comes back is taken for a holder of a result that nobody has confirmed.
    UnconfirmedCopyCounted,
    /// A result of a single worker needs no confirmation, though its source was not checked.
    ResultNotConfirmed,
    /// The checksums of two workers' results are not compared.
    ChecksumsNotCompared,
    /// A worker reads its copies without checking them, though it was asked to.
    SourceNotChecked,
    /// A worker gives a copy to readers without checking it.
    ReadNotChecked,
    /// A segment that was sent to a worker that dies is waited for all the same.
    RedispatchLost,
    /// A worker's death makes segments be counted as done a second time.
    DoneCountedTwice,
    /// A copy that a worker was told to drop still counts.
    DroppedCopyCounted,
    /// A copy counts from the moment that a worker is told to fetch it.
    FetchCountedAtOnce,
    /// A copy that was being fetched when its version was dropped is kept.
    FetchedAfterDrop,
    /// A copy that a dead worker was fetching is waited for.
    DeadFetchAwaited,
    /// The last copy of a segment is not made anew.
    LastCopyNotRepaired,
    /// What a reader reads may be dropped under his hands.
    PinIgnored,
    /// A draining worker leaves before its copies are elsewhere.
    DrainedTooEarly,
    /// A request that comes again while it runs is run again.
    RetryRunTwice,
    /// Nothing is dropped when its array is deleted or replaced.
    GarbageKept,
    /// Room for a result that nobody wants any more is not given back.
    RoomLeaked,
    /// What is known of each segment is merged twice, if any segment went to another worker.
    PartialMergedTwice,
    /// Segments are merged from the last to the first, if any of them went to another worker.
    PartialsMergedBackwards,
    /// A worker that computes a segment alone takes it for the first of its array.
    PlaceForgotten,
}

/// Whether a bug is chosen: `planted::bug!(AckBeforeCopies)`.
#[macro_export]
macro_rules! bug {
    ($bug:ident) => {
        $crate::is_chosen($crate::Bug::$bug)
    };
}

/// Whether a bug is chosen. Always false without the feature.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is_chosen(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use chosen::{choose, is_chosen};

#[cfg(feature = "planted")]
mod chosen {
    use super::Bug;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The place of the chosen bug in [`Bug::ALL`].
    static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Switches one bug on and all others off.
    pub fn choose(bug: Option<Bug>) {
        CHOSEN.store(bug.map_or(usize::MAX, |bug| bug as usize), Ordering::SeqCst);
    }

    /// Whether a bug is chosen.
    pub fn is_chosen(bug: Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as usize
    }
}
