//! Two ends in one process, with real bells. What a killed process leaves is tested with processes, in `tests/`.

use super::connect::take;
use super::memory::{Memory, RING_BYTES, Word};
use super::stream::{Role, SharedStream};
use super::*;
use array::random;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// For everything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// For what should not happen at all: a wait that is expected to end like this.
const MOMENT: Duration = Duration::from_millis(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// The caller's and the listener's end of a connection, made as programs make it.
fn ends() -> (SharedStream, SharedStream) {
    let listener = Listener::bind().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| connect(listener.name(), soon()).unwrap());
        let admitted = admit(listener.accept().unwrap()).unwrap();
        (caller.join().unwrap(), admitted)
    })
}

/// The listener's end, and what the other side has: memory and bells.
fn end_and_its_counterpart(capacity: usize) -> (SharedStream, Memory, [UnixStream; 2]) {
    let (memory, file) = Memory::create(capacity).unwrap();
    let [pair_0, pair_1] = [(); 2].map(|()| UnixStream::pair().unwrap());
    let stream = SharedStream::new(memory, Role::Listener, [pair_0.0, pair_1.0]);
    (stream, Memory::open(&file).unwrap(), [pair_0.1, pair_1.1])
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Writes `bytes` bytes of a random sequence, in pieces of random lengths up to `piece_max`.
fn write_random(mut to: &SharedStream, seed: u64, bytes: usize, piece_max: usize) {
    let mut values = vec![0.0; bytes / 8];
    random::fill_double(seed, 0, &mut values, -1.0, 1.0);
    let mut rest = bytemuck::cast_slice::<f64, u8>(&values);
    while !rest.is_empty() {
        let piece = 1 + random::bits(seed, rest.len() as u64) as usize % piece_max;
        let (now, later) = rest.split_at(piece.min(rest.len()));
        to.write_all(now).unwrap();
        rest = later;
    }
}

/// Reads what [`write_random`] has written, in pieces of other lengths, and the end after it.
fn read_random(mut from: &SharedStream, seed: u64, bytes: usize, piece_max: usize) {
    let mut values = vec![0.0; bytes / 8];
    random::fill_double(seed, 0, &mut values, -1.0, 1.0);
    let mut expected = bytemuck::cast_slice::<f64, u8>(&values);
    let mut buffer = vec![0; piece_max];
    loop {
        let piece = 1 + random::bits(!seed, expected.len() as u64) as usize % piece_max;
        let read = from.read(&mut buffer[..piece]).unwrap();
        if read == 0 {
            break;
        }
        let (now, later) = expected.split_at(read);
        assert!(now == &buffer[..read], "other bytes before the last {}", later.len());
        expected = later;
    }
    assert!(expected.is_empty(), "{} bytes are missing", expected.len());
}

#[test]
fn both_directions_at_once_carry_every_byte() {
    for (bytes, written_max, read_max) in
        [(80_000, 100, 300), (8_000_000, 3_000_000, 10_000), (8_000_000, 5000, 1 << 21)]
    {
        let (caller, listener) = ends();
        caller.set_read_timeout(Some(PATIENCE));
        listener.set_read_timeout(Some(PATIENCE));
        thread::scope(|scope| {
            for (seed, from, to) in [(1, &caller, &listener), (2, &listener, &caller)] {
                scope.spawn(move || {
                    write_random(from, seed, bytes, written_max);
                    from.end_writing();
                });
                scope.spawn(move || read_random(to, seed, bytes, read_max));
            }
        });
    }
}

#[test]
fn several_slices_are_one_write_as_far_as_there_is_room() {
    let (caller, listener) = ends();
    let slices = [&b""[..], b"abc", b"", b"defg"].map(IoSlice::new);
    assert_eq!((&caller).write_vectored(&slices).unwrap(), 7);
    assert_eq!((&caller).write_vectored(&[]).unwrap(), 0);
    let mut bytes = [0; 10];
    assert_eq!((&listener).read(&mut bytes).unwrap(), 7);
    assert_eq!(&bytes[..7], b"abcdefg");
}

#[test]
fn who_goes_in_the_middle_leaves_what_he_wrote_and_then_the_end() {
    let (caller, listener) = ends();
    (&caller).write_all(b"half a payl").unwrap();
    drop(caller);
    let mut read = Vec::new();
    (&listener).read_to_end(&mut read).unwrap();
    assert_eq!(read, b"half a payl");
    assert!(!listener.is_quiet(), "the end is news");
    let written = (&listener).write_all(&vec![0; 2 * RING_BYTES]);
    assert_eq!(kind(written), ErrorKind::BrokenPipe);
}

#[test]
fn who_waits_is_woken_by_the_end_of_the_other_side() {
    let (caller, listener) = ends();
    thread::scope(|scope| {
        let reading = scope.spawn(|| (&listener).read(&mut [0; 8]));
        let writing = scope.spawn(|| (&listener).write_all(&vec![0; 2 * RING_BYTES]));
        thread::sleep(MOMENT); // mostly they sleep then; the outcome is the same if not yet
        drop(caller);
        assert_eq!(reading.join().unwrap().unwrap(), 0);
        assert_eq!(kind(writing.join().unwrap()), ErrorKind::BrokenPipe);
    });
}

#[test]
fn hanging_up_wakes_everybody_on_both_sides_at_once() {
    let (caller, listener) = ends();
    thread::scope(|scope| {
        let reading = [&caller, &listener].map(|mut end| scope.spawn(move || end.read_to_end(&mut Vec::new())));
        let mut writing = &caller;
        let writing = scope.spawn(move || {
            loop {
                if let Err(e) = writing.write_all(&[0; 1000]) {
                    return e.kind();
                }
            }
        });
        thread::sleep(MOMENT); // as above
        caller.hang_up();
        for thread in reading {
            thread.join().unwrap().unwrap();
        }
        assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
    });
    assert_eq!(kind((&caller).write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!((&caller).read(&mut [0]).unwrap(), 0);
}

#[test]
fn who_ends_writing_can_still_read() {
    let (caller, listener) = ends();
    (&caller).write_all(b"last answer").unwrap();
    caller.end_writing();
    assert_eq!(kind((&caller).write(b"x")), ErrorKind::BrokenPipe);
    (&listener).write_all(b"still something").unwrap();
    let mut bytes = [0; 15];
    (&caller).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still something");
    let mut read = Vec::new();
    (&listener).read_to_end(&mut read).unwrap();
    assert_eq!(read, b"last answer");
}

#[test]
fn waits_end_at_their_time_out() {
    let (caller, _listener) = ends();
    caller.set_read_timeout(Some(MOMENT));
    caller.set_write_timeout(Some(MOMENT));
    assert_eq!(kind((&caller).read(&mut [0])), ErrorKind::TimedOut);
    // Nobody reads: the ring takes what fits.
    let mut written = 0;
    let error = loop {
        match (&caller).write(&[0; 10_000]) {
            Ok(n) => written += n,
            Err(e) => break e,
        }
    };
    assert_eq!((error.kind(), written), (ErrorKind::TimedOut, RING_BYTES));
}

#[test]
fn a_bell_that_rings_for_nothing_prolongs_no_wait() {
    let (stream, _memory, bells) = end_and_its_counterpart(4096);
    stream.set_read_timeout(Some(MOMENT));
    for bell in &bells {
        bell.set_nonblocking(true).unwrap();
    }
    thread::scope(|scope| {
        let reading = scope.spawn(|| (&stream).read(&mut [0]));
        while !reading.is_finished() {
            let _ = (&bells[0]).write(&[0]); // full is fine
        }
        assert_eq!(kind(reading.join().unwrap()), ErrorKind::TimedOut);
    });
}

#[test]
fn it_is_quiet_until_something_comes() {
    let (caller, listener) = ends();
    assert!(caller.is_quiet() && listener.is_quiet());
    (&caller).write_all(b"x").unwrap();
    assert!(caller.is_quiet() && !listener.is_quiet());
    let _ = (&listener).read(&mut [0]).unwrap();
    assert!(listener.is_quiet());
    caller.end_writing();
    assert!(!listener.is_quiet());
}

#[test]
fn positions_that_cannot_be_are_errors_for_reader_and_writer() {
    for forged in [4097, 1 << 40, 1 << 63] {
        let (stream, memory, _bells) = end_and_its_counterpart(4096);
        memory.word(0, Word::Written).store(forged, Ordering::SeqCst);
        memory.word(1, Word::Read).store(forged, Ordering::SeqCst);
        assert_eq!(kind((&stream).read(&mut [0; 10])), ErrorKind::InvalidData);
        assert_eq!(kind((&stream).write(&[0; 10])), ErrorKind::InvalidData);
    }
}

/// Changes to the bytes while they are read, and signs of sleep that are not true, give other bytes and useless bells.
#[test]
fn a_peer_that_writes_everywhere_all_the_time_does_no_harm() {
    let (stream, memory, bells) = end_and_its_counterpart(4096);
    stream.set_read_timeout(Some(MOMENT));
    stream.set_write_timeout(Some(MOMENT));
    let is_expected = |e: &io::Error| matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::TimedOut);
    thread::scope(|scope| {
        let meddling = scope.spawn(|| {
            for n in 0..200_000 {
                let noise = random::bits(5, n);
                let word = [Word::Written, Word::Read, Word::ReaderSleeps, Word::WriterSleeps][noise as usize % 4];
                memory.word(noise as usize >> 2, word).store(noise >> 52, Ordering::SeqCst);
                memory.copy_in(noise as usize >> 3, noise, &noise.to_le_bytes());
            }
        });
        while !meddling.is_finished() {
            let read = (&stream).read(&mut [0; 1000]);
            assert!(read.as_ref().map_or_else(is_expected, |n| (1..=1000).contains(n)), "{read:?}");
            let written = (&stream).write(&[0; 1000]);
            assert!(written.as_ref().map_or_else(is_expected, |n| (1..=1000).contains(n)), "{written:?}");
        }
    });
    drop(bells);
}

// ---- getting a connection ----

/// What a caller says to a listener that sends this.
fn refusal(bytes: &[u8], files: &[BorrowedFd]) -> io::Error {
    let (listener, caller) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    sendmsg(&listener, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    take(caller, soon()).unwrap_err()
}

fn memory_file(bytes: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

#[test]
fn what_a_listener_sends_is_checked() {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let (_, good) = Memory::create(4096).unwrap();
    let (bell, _other) = UnixStream::pair().unwrap();
    let bell = bell.as_fd();
    let says = |error: io::Error, part: &str| assert!(error.to_string().contains(part), "{error} lacks {part}");
    says(refusal(b"HTTP/1.1", &[good.as_fd(), bell]), "something else");
    says(refusal(b"darray", &[good.as_fd(), bell]), "something else");
    says(refusal(GREETING, &[]), "two files");
    says(refusal(GREETING, &[good.as_fd()]), "two files");
    says(refusal(GREETING, &[memory_file(12288, SealFlags::empty()).as_fd(), bell]), "can change");
    says(refusal(GREETING, &[memory_file(12289, seals).as_fd(), bell]), "12289 bytes");
    says(refusal(GREETING, &[bell, bell]), "no memory file");
}

#[test]
fn who_is_refused_forgotten_or_wrong_is_told() {
    let listener = Listener::bind().unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| connect(listener.name(), soon()));
        drop(listener.accept().unwrap());
        assert_eq!(kind(caller.join().unwrap()), ErrorKind::ConnectionRefused);
    });
    // It never accepts.
    assert_eq!(kind(connect(listener.name(), Instant::now() + MOMENT)), ErrorKind::TimedOut);
    let gone = listener.name().to_string();
    drop(listener);
    assert_eq!(kind(connect(&gone, soon())), ErrorKind::ConnectionRefused);
    for name in ["", "darray-", "darray-0123", "/run/somebody-else", &gone.replace("darray", "Darray"), &(gone + "0")] {
        assert_eq!(kind(connect(name, soon())), ErrorKind::InvalidInput, "{name}");
    }
}

#[test]
fn names_are_never_the_same_and_a_listener_can_be_woken() {
    let listeners = [(); 2].map(|()| Listener::bind().unwrap());
    assert_ne!(listeners[0].name(), listeners[1].name());
    thread::scope(|scope| {
        let accepting = scope.spawn(|| listeners[0].accept());
        assert!(wake(listeners[0].name()));
        accepting.join().unwrap().unwrap();
    });
    let name = listeners[0].name().to_string();
    drop(listeners);
    assert!(!wake(&name));
}
