//! Fault points: places in master and worker where a test has the process die or stand still, at exactly the bad moment.
//!
//! They are there with the feature `fault-points` only, which nothing that people run has; without it [`fault_point!`](crate::fault_point)
//! is no code at all. With it, `DARRAY_FAULT=NAME:N:abort` has the process die, as by `kill -9`, when it gets to that point for the
//! N-th time, counted from 1; `NAME:N:pause=MS` has the thread sleep there, with all the locks that it holds. Either way it says so on
//! standard error.

/// Makes the enum of all points from their names and what they are.
macro_rules! points {
    (
        master { $($(#[doc = $what_of_master:literal])+ $of_master:ident,)+ }
        worker { $($(#[doc = $what_of_worker:literal])+ $of_worker:ident,)+ }
    ) => {
        /// A place in the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[doc = $what_of_master])+ $of_master,)+
            $($(#[doc = $what_of_worker])+ $of_worker,)+
        }

        impl Point {
            /// Every point of a master.
            pub const OF_MASTER: &[Point] = &[$(Point::$of_master),+];

            /// Every point of a worker.
            pub const OF_WORKER: &[Point] = &[$(Point::$of_worker),+];
        }
    };
}

points! {
    master {
        // ---- the log ----
        /// A new log has its first bytes, and nothing is synced.
        LogBegun,
        /// The catalog is read from the log, and nobody can connect yet.
        LogRead,
        /// Commands that must be on the disk are not even written.
        GroupNotWritten,
        /// They are written, and not synced.
        GroupNotSynced,
        /// They are synced, and not committed.
        GroupNotCommitted,
        /// A command that needs no sync is written, and not committed.
        WrittenNotCommitted,
        /// A command is committed, and nothing of what follows is done.
        CommittedNotTold,
        /// Some of what follows is done, such as the reply, and the rest is not.
        CommittedHalfTold,
        /// A log is to be begun anew; nothing is written.
        CompactionBegun,
        /// Half of the new log is written.
        CompactionHalfWritten,
        /// The new log is written, and not synced.
        CompactionNotSynced,
        /// The new log is on the disk under its other name.
        CompactionNotRenamed,
        /// It has its name, and that is not synced.
        CompactionRenamed,

        // ---- workers ----
        /// A worker is greeted, and its registration is not on its way into the log.
        RegistrationNotProposed,
        /// A worker's death is noticed, and not on its way into the log: nothing is promoted.
        DeathNotProposed,
        /// A worker is to fetch a copy, and has not been told.
        RepairNotTold,
        /// A worker says that it has fetched a copy.
        RepairReported,
        /// Nothing depends on a draining worker any more, and it has not been told.
        DrainedNotTold,
        /// A version is gone from the catalog, and its holders have not been told to drop it.
        DropNotTold,

        // ---- requests ----
        /// Workers have been asked to keep room for an array.
        RoomAskedFor,
        /// They have answered, and the client has not got its plan.
        PlanNotTold,
        /// All copies of a new array are there, and it is not on its way into the log.
        ArrayNotProposed,
        /// An array is to be deleted, and that is not on its way into the log.
        DeleteNotProposed,
        /// A worker has been told to compute segments.
        SegmentsSent,
        /// A worker's answer has arrived, and nothing is known of it.
        SegmentsAnswered,
        /// All segments of a result are there, and it is not on its way into the log.
        ResultNotProposed,
        /// A reduction is complete, and not answered.
        ReductionNotTold,
        /// A reader's version is pinned, and he has not been told where to read.
        PinNotTold,

    }
    worker {
        // ---- the link ----
        /// The master is connected, and the worker has not registered.
        NotRegistered,
        /// The master has greeted the worker, and nothing has followed from that.
        RegisteredNotBeating,
        /// A sign of life is due.
        HeartbeatNotSent,
        /// The worker was asked to end, and has not said so.
        DrainNotTold,
        /// Nothing depends on it any more, and it has not ended.
        DrainedNotEnded,

        // ---- copies ----
        /// Room is kept, and the master has no answer.
        ReservedNotAnswered,
        /// The first bytes of a segment have arrived.
        SegmentHalfReceived,
        /// All of them are here and passed on, and the segment is not stored.
        SegmentNotStored,
        /// A segment is stored, and the master does not know.
        StoredNotReported,
        /// The master has been told, and the writer has no answer.
        ReportedNotAcknowledged,
        /// A segment is to be passed on to the next worker.
        ForwardNotBegun,
        /// All of it was sent there, and its answer is awaited.
        ForwardNotAnswered,
        /// A segment was asked for, and nothing of it is sent.
        SegmentNotSent,
        /// The message before a segment was sent, and not its bytes.
        FetchHalfReceived,
        /// A copy is to be fetched.
        FetchNotBegun,
        /// It has been fetched, and is not stored.
        FetchedNotStored,
        /// It is stored, and the master does not know.
        FetchedNotReported,
        /// Copies are to be dropped.
        DropNotDone,

        // ---- computing ----
        /// A segment is to be computed.
        ComputeNotBegun,
        /// It has been computed, and is not stored.
        ComputedNotStored,
        /// It is stored, and the master does not know.
        ComputedNotReported,
    }
}

/// A place where a test may have the process die or stand still: `fault_point!(GroupNotSynced)`.
#[cfg(feature = "fault-points")]
#[macro_export]
macro_rules! fault_point {
    ($point:ident) => {
        $crate::fault::reach($crate::fault::Point::$point)
    };
}

/// A place where a test may have the process die or stand still: `fault_point!(GroupNotSynced)`. In this build it is nothing.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($point:ident) => {
        const { _ = $crate::fault::Point::$point }
    };
}

/// Whether the points are in this build. Then the log of a master is begun anew when it is much shorter than otherwise.
pub const ARE_BUILT: bool = cfg!(feature = "fault-points");

#[cfg(feature = "fault-points")]
pub use armed::{VARIABLE, reach};

#[cfg(feature = "fault-points")]
mod armed {
    use super::Point;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// The variable that says what is to happen.
    pub const VARIABLE: &str = "DARRAY_FAULT";

    /// What happens at one point.
    struct Fault {
        point: Point,
        /// At which time of getting there.
        at: u64,
        /// How long to stand still; none: to die.
        pause: Option<Duration>,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        Some(parse(&text).unwrap_or_else(|| panic!("{VARIABLE} is NAME:N:abort or NAME:N:pause=MS, not '{text}'")))
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    fn parse(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let name = parts.next()?;
        let point = *Point::OF_MASTER.iter().chain(Point::OF_WORKER).find(|point| format!("{point:?}") == name)?;
        let at = parts.next()?.parse().ok()?;
        let pause = match parts.next()?.split_once('=') {
            Some(("pause", ms)) => Some(Duration::from_millis(ms.parse().ok()?)),
            None => None,
            Some(_) => return None,
        };
        Some(Fault { point, at, pause })
    }

    /// Whoever runs the code is at a point.
    pub fn reach(point: Point) {
        let Some(fault) = FAULT.as_ref().filter(|fault| fault.point == point) else { return };
        if REACHED.fetch_add(1, Ordering::SeqCst) + 1 != fault.at {
            return;
        }
        eprintln!("fault point {point:?}");
        match fault.pause {
            Some(time) => std::thread::sleep(time),
            None => std::process::abort(),
        }
    }
}
