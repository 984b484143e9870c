//! The side that makes shared connections: an abstract socket, and what is handed to whoever comes.

use super::memory::{Memory, RING_BYTES};
use super::stream::{Role, SharedStream};
use super::{GREETING, NAME_BYTES, NAME_PREFIX};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Where programs of this machine can connect: an abstract socket, which has a name and no file, and is gone with its owner.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    name: String,
}

impl Listener {
    /// Listens under a name that nobody can guess.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind() -> io::Result<Listener> {
        let mut random = [0; NAME_BYTES];
        if getrandom(&mut random, GetRandomFlags::empty())? != NAME_BYTES {
            return Err(io::Error::other("the system gave less randomness than asked for"));
        }
        let name = NAME_PREFIX.to_string() + &random.map(|byte| format!("{byte:02x}")).concat();
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Listener { socket, name })
    }

    /// Its name, to be told to those who may connect.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for somebody who wants to connect.
    ///
    /// # Errors
    /// Those of the system.
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().map(|(caller, _)| caller)
    }
}

/// Wakes whoever waits in [`Listener::accept`]. Whether somebody listens there at all.
pub fn wake(name: &str) -> bool {
    super::connect::dial(name).is_ok()
}

/// Makes the connection that a caller has asked for. It does not wait for him. Dropping the caller instead refuses him.
///
/// # Errors
/// Those of the system: no memory, no files.
pub fn admit(caller: UnixStream) -> io::Result<SharedStream> {
    let (memory, file) = Memory::create(RING_BYTES)?;
    let (bell, his_bell) = UnixStream::pair()?;
    let files = [file.as_fd(), his_bell.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let has_room = control.push(SendAncillaryMessage::ScmRights(&files));
    debug_assert!(has_room, "the space is for two files");
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if sendmsg(&caller, &[IoSlice::new(GREETING)], &mut control, flags)? != GREETING.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(SharedStream::new(memory, Role::Listener, [caller, bell]))
}
