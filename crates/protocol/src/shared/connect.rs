//! The side that asks for a shared connection. It believes nothing of what it gets before it has looked at it.

use super::memory::Memory;
use super::stream::{Role, SharedStream, wait_for_bytes};
use super::{GREETING, NAME_BYTES, NAME_PREFIX};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType,
    recvmsg, socket_with,
};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Connects to a listener of this machine by its name. On another machine nobody has that name.
///
/// # Errors
/// When nobody listens, when he refuses, when what he sends is not what it should be, or at the deadline.
pub fn connect(name: &str, deadline: Instant) -> io::Result<SharedStream> {
    let digits = name.strip_prefix(NAME_PREFIX).unwrap_or_default();
    if digits.len() != 2 * NAME_BYTES || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no name of a listener"));
    }
    take(dial(name)?, deadline)
}

/// A socket that is connected to an abstract name. It does not wait: a listener with a full queue counts as none.
pub(super) fn dial(name: &str) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(socket.into())
}

/// Takes what the listener sends.
pub(super) fn take(listener: UnixStream, deadline: Instant) -> io::Result<SharedStream> {
    let refuse = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
    wait_for_bytes(&listener, Some(deadline))?;
    let mut greeting = [0; GREETING.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(&listener, &mut [IoSliceMut::new(&mut greeting)], &mut control, flags)?;
    let files: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the listener takes no more"));
    }
    if received.bytes != GREETING.len() || greeting != *GREETING {
        return Err(refuse("the listener speaks something else"));
    }
    let Ok([file, bell]) = <[OwnedFd; 2]>::try_from(files) else {
        return Err(refuse("the listener did not send two files"));
    };
    Ok(SharedStream::new(Memory::open(&file)?, Role::Caller, [listener, bell.into()]))
}
