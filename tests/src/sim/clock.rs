//! What time each node believes it is. Its clock for waiting never goes back, but stands still when its machine does; its wall
//! clock may be anything.

use super::{EPOCH_MS, Node, World};
use std::time::Duration;

impl World {
    /// The time of a node's clock for waiting.
    pub(crate) fn clock(&self, node: Node) -> Duration {
        self.now - self.behind.get(&node).copied().unwrap_or_default()
    }

    /// When a node's clock will show that time, if it does not stand still until then.
    pub(crate) fn when(&self, node: Node, clock: Duration) -> Duration {
        clock + self.behind.get(&node).copied().unwrap_or_default()
    }

    /// Milliseconds since 1970 by a node's wall clock.
    pub(crate) fn unix_ms(&self, node: Node) -> u64 {
        let ahead = self.ahead_ms.get(&node).copied().unwrap_or_default();
        EPOCH_MS.saturating_add(self.now.as_millis() as u64).saturating_add_signed(ahead)
    }
}
