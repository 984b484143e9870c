//! The master's disk: its log as the log's own code would find it after a crash.
//!
//! The rules are those of the master's shell: what must not be lost is written and synced, several commands at once, and is
//! committed after that; what need not be synced is written at once if nothing is under way. After a failed write or sync the
//! master ends and trusts nothing any more. A crash leaves a prefix of the bytes, torn anywhere; a power loss leaves at least
//! what was synced. A start reads what is left with the code of [`master::log_file`].

use super::{Action, Chance, Node, World};
use master::cluster::Event;
use master::cluster::catalog::Catalog;
use master::cluster::command::Command;
use master::log_file;
use protocol::VersionId;
use std::collections::VecDeque;
use std::time::Duration;

/// Commands written and synced together at most, as in the master's shell.
const GROUP_MAX: usize = 1024;

/// The file, and what is on its way into it.
#[derive(Debug, Default)]
pub struct Disk {
    /// What is in the file.
    pub log: Vec<Command>,
    /// How much of it survives a power loss.
    synced: usize,
    /// On their way into the file, with whether they must be synced; so many of them are being written now.
    waiting: VecDeque<(Command, bool)>,
    writing: usize,
    /// Written, and not told to the master yet.
    telling: usize,
    /// Every write and sync fails.
    pub(crate) fails: bool,
    /// How many times as long it takes.
    pub(crate) slow: u32,
}

impl Disk {
    /// Whether anything is on its way into the file.
    pub(crate) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || self.telling > 0
    }

    /// Whether the change that made a version is on the disk.
    pub(crate) fn has_synced(&self, wanted: VersionId) -> bool {
        let makes_it = |command: &Command| match command {
            Command::CreateArray { version, .. } | Command::AddResult { version, .. } => *version == wanted,
            _ => false,
        };
        self.log[..self.synced].iter().rev().any(makes_it)
    }

    /// The catalog that the log tells.
    pub(crate) fn replay(&self) -> Catalog {
        replay(self.log.iter())
    }

    /// The catalog as it will be when everything that is proposed is in the log.
    pub(crate) fn replay_all(&self) -> Catalog {
        replay(self.log.iter().chain(self.waiting.iter().map(|(command, _)| command)))
    }
}

fn replay<'a>(commands: impl Iterator<Item = &'a Command>) -> Catalog {
    let mut catalog = Catalog::default();
    for (index, command) in commands.enumerate() {
        catalog.apply(index as u64 + 1, command);
    }
    catalog
}

impl World {
    /// The master has a command written. The commit, if that is done already.
    pub(crate) fn write_log(&mut self, command: Command, sync: bool) -> Option<Event> {
        if sync || self.disk.is_busy() {
            self.disk.waiting.push_back((command, sync));
            self.write_next();
            return None;
        }
        if self.disk.fails {
            self.disk.waiting.push_back((command, sync));
            self.disk.writing = 1;
            self.fail_write();
            return None;
        }
        self.disk.log.push(command.clone());
        Some(Event::Committed { index: self.disk.log.len() as u64, command })
    }

    /// Begins to write what waits, if nothing is being written.
    fn write_next(&mut self) {
        if self.disk.writing > 0 || self.disk.waiting.is_empty() {
            return;
        }
        self.disk.writing = self.disk.waiting.len().min(GROUP_MAX);
        let sync = self.disk.waiting.iter().take(self.disk.writing).any(|(_, sync)| *sync);
        let effort = self.luck(Node::Master, Chance::Effort);
        let takes = match sync {
            true => effort.time(Duration::from_micros(300), Duration::from_millis(3)),
            false => Duration::from_micros(20),
        };
        let (_, life) = self.life(Node::Master);
        self.after(takes * self.disk.slow.max(1), Action::Written { life });
    }

    pub(crate) fn on_written(&mut self, life: u64) {
        if !self.is_alive((Node::Master, life)) {
            return;
        }
        if self.disk.fails {
            return self.fail_write();
        }
        let disk = &mut self.disk;
        let group: Vec<(Command, bool)> = disk.waiting.drain(..std::mem::take(&mut disk.writing)).collect();
        let first = disk.log.len() as u64 + 1;
        disk.log.extend(group.iter().map(|(command, _)| command.clone()));
        if group.iter().any(|(_, sync)| *sync) {
            disk.synced = disk.log.len();
        }
        disk.telling = group.len();
        self.write_next();
        for ((command, _), index) in group.into_iter().zip(first..) {
            if !self.is_alive((Node::Master, life)) {
                return;
            }
            self.disk.telling -= 1;
            self.step_master(Event::Committed { index, command });
        }
    }

    /// A write or sync failed: what the file holds now is not known, and the master ends.
    fn fail_write(&mut self) {
        self.note("the master cannot write its log");
        self.kill_master(false);
    }

    /// The master is gone: of what was being written some is in the file. With a power loss what was not synced may be gone too.
    /// The last record may be torn; what of it counts, the log's own code says.
    pub(crate) fn crash_disk(&mut self, power_loss: bool) {
        let disk = &mut self.disk;
        disk.telling = 0;
        let writing: Vec<Command> =
            disk.waiting.drain(..).take(std::mem::take(&mut disk.writing)).map(|(command, _)| command).collect();
        disk.log.extend(writing.iter().cloned());
        let (synced, written) = (disk.synced, disk.log.len() - writing.len());
        let certain = if power_loss { synced } else { written };
        let mut bytes = log_file::MAGIC.to_vec();
        let mut certain_bytes = bytes.len();
        for (index, command) in disk.log.iter().enumerate() {
            if index == certain {
                certain_bytes = bytes.len();
            }
            log_file::encode_command(index as u64 + 1, command, &mut bytes);
        }
        if certain == disk.log.len() {
            certain_bytes = bytes.len();
        }
        let all = bytes.len();
        let kept = self.luck(Node::Master, Chance::Effort).between(certain_bytes as u64, all as u64 + 1) as usize;
        let (catalog, _) = log_file::replay("catalog.log".as_ref(), &bytes[..kept])
            .unwrap_or_else(|error| panic!("a crash made the log unreadable: {error}"));
        let index = catalog.index() as usize;
        assert!(index >= certain, "{certain} records were certain, and {index} are left");
        self.disk.log.truncate(index);
        assert_eq!(self.disk.replay().hash(), catalog.hash(), "the file tells another story than its commands");
        // A start makes durable what it finds.
        self.disk.synced = self.disk.log.len();
        if power_loss {
            self.go_back();
        }
    }
}
