//! What was typed, and what it means.

use crate::cluster::Quotas;
use crate::server::Settings;
use clap::Parser;
use protocol::door::Capacity;
use protocol::level1::LINE_BYTES_MAX;
use protocol::limits;
use protocol::size::{machine_memory, parse_size};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  master                                 listen on 127.0.0.1:5000, keep two copies of everything
  master --listen 127.0.0.1:0            listen on a free port; the first line printed says which
  master --data-dir /var/lib/darray      keep the catalog across restarts
  master 5001                            as the original: the port alone

Then start workers (`worker --id w1 --master HOST:PORT`) and use `client`.

The first line on standard output is `listening HOST:PORT`; the log is on standard error (RUST_LOG=debug says more).

Exit codes: 0 after SIGTERM, SIGINT or `client shutdown`; 1 if it cannot start, or its disk fails; 2 wrong usage.";

/// The master of a darray cluster: knows which worker holds what, and keeps it so that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "master", version, after_help = AFTER_HELP)]
pub struct Flags {
    /// Port to listen on, as the original takes it
    #[arg(value_name = "PORT", conflicts_with_all = ["listen", "port"])]
    original_port: Option<u16>,

    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    listen: String,

    /// Host to listen on; together with --port instead of --listen
    #[arg(long, conflicts_with = "listen")]
    host: Option<String>,

    /// Port to listen on; together with --host instead of --listen
    #[arg(long, conflicts_with = "listen")]
    port: Option<u16>,

    /// Copies to keep of every segment: any N-1 workers may die at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    replication: u32,

    /// Copies below which no write is acknowledged
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    min_copies: u32,

    /// Where to keep the catalog; without it, in a temporary directory that ends with the master
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Memory for the values of clients and workers of the original protocol (level 1), which pass through the master; those
    /// of level 2 never do [default: a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,

    /// Longest line of the original protocol that is read [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value_t = LINE_BYTES_MAX, hide_default_value = true)]
    line_max: u64,

    /// Connections served at once. For one more, the oldest that has said nothing yet is closed; if all have, it is refused
    #[arg(long, value_name = "N", default_value_t = limits::CONNECTIONS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    connections_max: u32,

    /// The same for connections from one address, so that one machine does not keep the others out
    #[arg(long, value_name = "N", default_value_t = limits::CONNECTIONS_PER_ADDRESS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,

    /// Requests that the clients of one address may have in flight together; the next is answered Busy, and sent again by itself
    /// a moment later. Each client may have 64
    #[arg(long, value_name = "N", default_value_t = limits::REQUESTS_PER_ADDRESS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_address: u32,

    /// Speak the original protocol (level 1) beyond this machine too; on loopback it always is
    #[arg(long = "level-1")]
    level_1: bool,

    /// Listen on other addresses than loopback although there is no authentication yet: everybody who reaches the port can
    /// read and delete everything
    #[arg(long)]
    insecure: bool,
}

impl Flags {
    /// The settings; the temporary directory, if one had to be made, must live as long as the master.
    pub fn into_settings(self) -> Result<(Settings, Option<tempfile::TempDir>), String> {
        let listen = match (&self.original_port, &self.host, &self.port) {
            (Some(port), ..) => format!("127.0.0.1:{port}"),
            (None, None, None) => self.listen.clone(),
            (None, host, port) => format!("{}:{}", host.as_deref().unwrap_or("127.0.0.1"), port.unwrap_or(5000)),
        };
        let listen = resolve(&listen)?;
        if !protocol::net::is_loopback(&listen) && !self.insecure {
            return Err(format!(
                "{listen} is reachable from other machines, and there is no authentication yet; say --insecure if that is meant"
            ));
        }
        if self.min_copies > self.replication {
            return Err(format!("--min-copies {} is more than --replication {}", self.min_copies, self.replication));
        }
        let (data_dir, temporary) = match self.data_dir {
            Some(dir) => (dir, None),
            None => {
                let dir = tempfile::Builder::new()
                    .prefix("darray-master-")
                    .tempdir()
                    .map_err(|e| format!("cannot make a temporary directory: {e}"))?;
                (dir.path().to_path_buf(), Some(dir))
            }
        };
        let settings = Settings {
            listen,
            replication: self.replication,
            min_copies: self.min_copies,
            data_dir,
            memory_bytes: self.memory.unwrap_or_else(|| machine_memory() / 4),
            line_bytes_max: self.line_max,
            level_1: self.level_1 || protocol::net::is_loopback(&listen),
            capacity: Capacity {
                connections: self.connections_max as usize,
                per_address: self.connections_per_address as usize,
            },
            quotas: Quotas { requests_per_address: self.requests_per_address as usize, ..Quotas::default() },
        };
        Ok((settings, temporary))
    }
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut addresses = address.to_socket_addrs().map_err(|e| format!("cannot listen on '{address}': {e}"))?;
    addresses.next().ok_or_else(|| format!("'{address}' has no address"))
}
