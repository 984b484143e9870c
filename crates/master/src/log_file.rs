//! The catalog's log in a file.
//!
//! `DIR/catalog.log` begins with [`MAGIC`] and is a sequence of records: length of the body (4 bytes, little-endian), its
//! CRC-32C (4 bytes), and the body, one JSON object: `{"index":17,"command":{…}}`, or as the first record of a compacted
//! log `{"index":17,"snapshot":{…}}`, the catalog after that command.
//!
//! A record that ends beyond the end of the file, or is the last one and does not fit its checksum, is a torn write of a
//! process that died: nobody was answered, so it is cut. Any other record that does not fit refuses the start, as do a
//! gap between indices and a command that this program does not know. After a failed write or sync nothing is trusted
//! any more, and the process ends.
//!
//! `DIR/lock` is locked while a master uses the directory, so that two never write one log.

use crate::cluster::catalog::Catalog;
use crate::cluster::command::Command;
use array::checksum::crc32c;
use protocol::fault_point;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The first bytes of a log; the number is the version of the format.
pub const MAGIC: &[u8] = b"darray catalog 1\n";

/// Longest record: a version with a million segments in four copies is below it.
const RECORD_BYTES_MAX: u32 = 256 << 20;

const RECORD_HEADER_BYTES: usize = 8;

/// Why a log cannot be used.
#[derive(Debug)]
pub enum LogError {
    /// The file system says no.
    Io {
        /// What was to be done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Another master uses the directory.
    Locked(PathBuf),
    /// A record is damaged, or not from this program.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io { what, source } => write!(f, "cannot {what}: {source}"),
            LogError::Locked(path) => {
                write!(f, "another master uses {}; give this one another --data-dir", path.display())
            }
            LogError::Damaged { path, offset, why } => {
                write!(
                    f,
                    "{} is damaged at byte {offset}: {why}; restore it from a backup, or start with an empty --data-dir",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Io { source, .. } => Some(source),
            LogError::Locked(_) | LogError::Damaged { .. } => None,
        }
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> LogError {
    let what = what.into();
    |source| LogError::Io { what, source }
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a RawValue>,
}

/// A log that is open for appending.
#[derive(Debug)]
pub struct LogFile {
    dir: PathBuf,
    file: File,
    bytes: u64,
    index: u64,
    pending: Vec<u8>,
    /// Held as long as the log is open.
    _lock: File,
}

impl LogFile {
    /// Opens or creates the log in `dir` and gives the catalog that it tells.
    pub fn open(dir: &Path) -> Result<(LogFile, Catalog), LogError> {
        std::fs::create_dir_all(dir).map_err(io_error(format!("create {}", dir.display())))?;
        let lock = lock(dir)?;
        let path = dir.join("catalog.log");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error(format!("open {}", path.display())))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error(format!("read {}", path.display())))?;
        let (catalog, valid) = replay(&path, &bytes)?;
        if valid < bytes.len() {
            log::warn!("{}: {} bytes of a torn last record are cut", path.display(), bytes.len() - valid);
        }
        let mut log = LogFile {
            dir: dir.to_path_buf(),
            file,
            bytes: valid as u64,
            index: catalog.index(),
            pending: Vec::new(),
            _lock: lock,
        };
        log.begin().map_err(io_error(format!("write {}", path.display())))?;
        Ok((log, catalog))
    }

    /// Cuts what is torn, writes the beginning of a new file, and makes the directory entry durable.
    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        if self.bytes == 0 {
            self.file.write_all(MAGIC)?;
            fault_point!(LogBegun);
            self.bytes = MAGIC.len() as u64;
        }
        self.file.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a command to those that [`LogFile::write`] will write, and gives its index.
    pub fn append(&mut self, command: &Command) -> u64 {
        self.index += 1;
        encode_command(self.index, command, &mut self.pending);
        self.index
    }

    /// Writes what was appended; with `sync`, returns only when it is on the disk. After an error the log must not be used.
    pub fn write(&mut self, sync: bool) -> io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.bytes += self.pending.len() as u64;
        self.pending.clear();
        match sync {
            true => {
                fault_point!(GroupNotSynced);
                self.file.sync_data()
            }
            false => Ok(()),
        }
    }

    /// Begins the log anew with the catalog as it was after command `index`, keeping all records after that.
    pub fn compact(&mut self, index: u64, snapshot: &[u8]) -> io::Result<()> {
        self.write(true)?;
        fault_point!(CompactionBegun);
        let path = self.dir.join("catalog.log");
        let mut bytes = Vec::new();
        File::open(&path)?.read_to_end(&mut bytes)?;
        let mut compacted = MAGIC.to_vec();
        let snapshot = RawValue::from_string(String::from_utf8_lossy(snapshot).into_owned())?;
        encode(&Record { index, command: None, snapshot: Some(&snapshot) }, &mut compacted);
        let mut offset = MAGIC.len();
        while let Ok(body) = record_at(&bytes, offset) {
            let end = offset + RECORD_HEADER_BYTES + body.len();
            let record: Record = serde_json::from_slice(body)?;
            if record.index > index {
                compacted.extend_from_slice(&bytes[offset..end]);
            }
            offset = end;
        }
        let new_path = self.dir.join("catalog.log.new");
        let mut file = File::create(&new_path)?;
        let (first, second) = compacted.split_at(compacted.len() / 2);
        file.write_all(first)?;
        fault_point!(CompactionHalfWritten);
        file.write_all(second)?;
        fault_point!(CompactionNotSynced);
        file.sync_all()?;
        fault_point!(CompactionNotRenamed);
        std::fs::rename(&new_path, &path)?;
        fault_point!(CompactionRenamed);
        File::open(&self.dir)?.sync_all()?;
        self.file = file;
        self.bytes = compacted.len() as u64;
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(io_error(format!("create {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(dir.to_path_buf())),
        Err(TryLockError::Error(e)) => Err(io_error(format!("lock {}", path.display()))(e)),
    }
}

/// Adds the record of a command to the bytes of a log.
pub fn encode_command(index: u64, command: &Command, into: &mut Vec<u8>) {
    encode(&Record { index, command: Some(command.clone()), snapshot: None }, into);
}

fn encode(record: &Record, into: &mut Vec<u8>) {
    let body = serde_json::to_vec(record).expect("commands have string keys only");
    assert!(body.len() as u64 <= u64::from(RECORD_BYTES_MAX), "a record of {} bytes", body.len());
    into.extend((body.len() as u32).to_le_bytes());
    into.extend(crc32c(&body).to_le_bytes());
    into.extend(body);
}

/// Why there is no record at an offset.
enum NoRecord {
    /// The file ends here.
    End,
    /// It is not complete, and nothing follows it.
    Torn,
    Damaged(String),
}

/// The body of the record at `offset`.
fn record_at(bytes: &[u8], offset: usize) -> Result<&[u8], NoRecord> {
    let rest = &bytes[offset..];
    if rest.is_empty() {
        return Err(NoRecord::End);
    }
    let Some((header, rest)) = rest.split_at_checked(RECORD_HEADER_BYTES) else {
        return Err(NoRecord::Torn);
    };
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let (length, crc) = (number(0), number(4));
    if length > RECORD_BYTES_MAX {
        return Err(NoRecord::Damaged(format!("a record of {length} bytes")));
    }
    let Some((body, after)) = rest.split_at_checked(length as usize) else {
        return Err(NoRecord::Torn);
    };
    match crc32c(body) == crc {
        true => Ok(body),
        false if after.is_empty() => Err(NoRecord::Torn),
        false => Err(NoRecord::Damaged("the record does not fit its checksum".to_string())),
    }
}

/// Builds the catalog from the bytes of a log; gives it with the length of the part that is valid. `path` is for the error.
///
/// # Errors
/// [`LogError::Damaged`] for anything but a log with a torn end.
pub fn replay(path: &Path, bytes: &[u8]) -> Result<(Catalog, usize), LogError> {
    let damaged =
        |offset: usize, why: String| LogError::Damaged { path: path.to_path_buf(), offset: offset as u64, why };
    let mut catalog = Catalog::default();
    if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
        return Ok((catalog, 0)); // new, or torn at its very beginning
    }
    if !bytes.starts_with(MAGIC) {
        return Err(damaged(0, "it does not begin as a catalog's log of this version".to_string()));
    }
    let mut offset = MAGIC.len();
    loop {
        let body = match record_at(bytes, offset) {
            Ok(body) => body,
            Err(NoRecord::End | NoRecord::Torn) => return Ok((catalog, offset)),
            Err(NoRecord::Damaged(why)) => return Err(damaged(offset, why)),
        };
        let record: Record =
            serde_json::from_slice(body).map_err(|e| damaged(offset, format!("unknown record: {e}")))?;
        match (record.command, record.snapshot) {
            (None, Some(snapshot)) if offset == MAGIC.len() => {
                catalog = Catalog::from_snapshot(snapshot.get().as_bytes())
                    .map_err(|e| damaged(offset, format!("snapshot: {e}")))?;
            }
            (Some(command), None) if record.index == catalog.index() + 1 => {
                catalog.apply(record.index, &command);
            }
            _ => {
                return Err(damaged(offset, format!("record {} follows record {}", record.index, catalog.index())));
            }
        }
        offset += RECORD_HEADER_BYTES + body.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(below: u64) -> Command {
        Command::ReserveIds { below }
    }

    fn written(dir: &Path, commands: u64) -> Vec<u8> {
        let (mut log, _) = LogFile::open(dir).unwrap();
        for below in 1..=commands {
            assert_eq!(log.append(&reserve(below)), below);
        }
        log.write(true).unwrap();
        std::fs::read(dir.join("catalog.log")).unwrap()
    }

    #[test]
    fn what_was_written_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 3);
        let (mut log, catalog) = LogFile::open(dir.path()).unwrap();
        assert_eq!((catalog.index(), catalog.ids_below()), (3, 3));
        assert_eq!(log.append(&reserve(9)), 4);
        log.write(true).unwrap();
        drop(log);
        assert_eq!(LogFile::open(dir.path()).unwrap().1.ids_below(), 9);
    }

    #[test]
    fn a_log_cut_anywhere_gives_the_records_before_the_cut() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(dir.path(), 5);
        let mut seen = std::collections::BTreeSet::new();
        for cut in 0..=bytes.len() {
            std::fs::write(dir.path().join("catalog.log"), &bytes[..cut]).unwrap();
            let (mut log, catalog) = LogFile::open(dir.path()).unwrap();
            assert!(catalog.index() <= 5);
            seen.insert(catalog.index());
            let next = log.append(&reserve(77));
            log.write(true).unwrap();
            drop(log);
            let (_, again) = LogFile::open(dir.path()).unwrap();
            assert_eq!((again.index(), again.ids_below()), (next, 77), "cut at {cut}");
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(dir.path(), 5);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(dir.path().join("catalog.log"), &flipped).unwrap();
            match LogFile::open(dir.path()) {
                Err(LogError::Damaged { .. }) => {}
                Err(other) => panic!("byte {at}: {other}"),
                // A damaged length, or a damaged last record, looks like a torn write.
                Ok((_, catalog)) => assert!(catalog.index() < 5 && catalog.ids_below() == catalog.index(), "byte {at}"),
            }
        }
    }

    #[test]
    fn two_masters_never_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (_log, _) = LogFile::open(dir.path()).unwrap();
        assert!(matches!(LogFile::open(dir.path()), Err(LogError::Locked(_))));
    }

    #[test]
    fn an_unknown_command_refuses_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = MAGIC.to_vec();
        let body = br#"{"index":1,"command":{"command":"levitate"}}"#;
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(crc32c(body).to_le_bytes());
        bytes.extend(body);
        std::fs::write(dir.path().join("catalog.log"), &bytes).unwrap();
        let error = LogFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("levitate"), "{error}");
    }

    #[test]
    fn a_compacted_log_tells_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut catalog) = LogFile::open(dir.path()).unwrap();
        let founded = Command::Founded { cluster: uuid::Uuid::from_u128(7) };
        let commands = [founded, reserve(10), reserve(20), reserve(30)];
        for command in &commands {
            log.append(command);
        }
        catalog.apply(1, &commands[0]);
        catalog.apply(2, &commands[1]);
        log.compact(2, &catalog.to_snapshot()).unwrap();
        log.append(&reserve(40));
        log.write(true).unwrap();
        drop(log);
        catalog.apply(3, &commands[2]);
        catalog.apply(4, &commands[3]);
        catalog.apply(5, &reserve(40));
        let (_, again) = LogFile::open(dir.path()).unwrap();
        assert_eq!(again.hash(), catalog.hash());
        assert_eq!(again.index(), 5);
    }
}
