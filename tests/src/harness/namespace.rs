//! Network namespaces: a process in one has no network but what it is given, here a device whose packets a test reads and writes.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use tun::Device;

/// Bytes of a packet at most, as on an Ethernet.
pub const MTU: u16 = 1500;

/// All addresses agree in their first three bytes.
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// Keeps a namespace until its standard input closes, which happens however the test ends.
const KEEPER: &str = "ip link set lo up && echo ready && read -r _";

/// What to tell somebody who may not make one.
const NEEDS: &str = "network namespaces and TUN devices need root, /dev/net/tun, and the commands `unshare` (util-linux) and `ip` (iproute2)";

/// A network namespace. It ends with the last process in it, and those whose packets go through a device of ours reach nobody
/// after that.
#[derive(Debug)]
pub struct Namespace {
    keeper: Child,
}

impl Namespace {
    /// A new one, whose only way out is a device with this address. The packets that are sent there can be read from the device, and
    /// what is written to it arrives.
    pub fn new(address: Ipv4Addr) -> (Namespace, Device) {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", KEEPER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap_or_else(|e| panic!("unshare: {e}; {NEEDS}"));
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe");
        assert_eq!(line, "ready\n", "there is no namespace; {NEEDS}");
        let namespace = Namespace { keeper };
        // A device belongs to the namespace of the thread that makes it, wherever it is read later.
        let device = thread::scope(|scope| {
            let made = scope.spawn(|| {
                namespace.enter();
                let mut config = tun::Configuration::default();
                config.address(address).netmask(NETMASK).mtu(MTU).up();
                tun::create(&config).unwrap_or_else(|e| panic!("a TUN device: {e}; {NEEDS}"))
            });
            made.join().expect("the thread says what is wrong")
        });
        device.set_nonblock().expect("a descriptor of ours");
        (namespace, device)
    }

    /// Moves this thread there, with all threads and processes that it starts from now on.
    pub fn enter(&self) {
        enter(&File::open(self.path()).expect("the keeper is alive"));
    }

    /// A command that runs another one there.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--");
        command
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.keeper.id()).into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait(); // nothing is left to do if that fails
    }
}

/// The namespace of this thread.
pub fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("every thread is in one")
}

/// Moves this thread into a namespace.
pub fn enter(namespace: &File) {
    let moved = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
    moved.unwrap_or_else(|e| panic!("entering a namespace: {e}; {NEEDS}"));
}
