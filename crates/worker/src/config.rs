//! The command line.

use crate::cores::Cores;
use crate::server::Config;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use protocol::door::Capacity;
use protocol::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use protocol::size::{machine_memory, parse_size, process_memory};
use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::thread;

/// Where a master is unless somebody says something else: the master's own default.
const MASTER_DEFAULT: &str = "127.0.0.1:5000";

const USAGE: &str = "worker --id <ID> [OPTIONS]\n       worker <ID> <HOST> <PORT> [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  worker --id w1                                join the master on this machine, port 5000
  worker w1 127.0.0.1 5000                      the same, as the original system has it
  worker --id w1 --master 10.0.0.1:5000 --memory 8G --threads 4
  worker --id w2 --master m1:5000,m2:5000 --listen 10.0.0.7:7001 --insecure
  worker --id w3 --cores 0-7                    one of two on a machine with 16 cores, or with two sockets

The first line on standard output is `listening HOST:PORT`, the address of the data port. The log
goes to standard error; RUST_LOG=debug shows every request, RUST_LOG=warn only what goes wrong.

SIGTERM or Ctrl-C: the master hands this worker's duties to others, then it ends; after 10 s in
any case, and at once if it has no copies and no master is connected. A second signal ends it immediately.

Exit codes:
  0    drained, or shut down by the master, or ended with no copies of its own
  1    cannot start, or a newer process has registered under this id
  2    wrong usage
  3    ended before its copies were taken over; the log says how many
  130, 143   ended immediately by a second signal";

/// Keeps segments of arrays in memory and computes on them, for a darray master.
#[derive(Debug, Parser)]
#[command(name = "worker", version, override_usage = USAGE, after_help = EXAMPLES, arg_required_else_help = true)]
struct Args {
    /// Name of this worker, its own in the cluster: 1 to 255 bytes, no white space
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Where the master is; several, separated by commas, are tried in turn [default: 127.0.0.1:5000]
    #[arg(long, env = "DARRAY_MASTER", value_name = "HOST:PORT[,…]", value_delimiter = ',')]
    master: Vec<String>,

    /// Threads that compute [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Compute on these cores, like 0-3 or 0,2, a thread on each, instead of --threads: for several workers of a machine, each with
    /// its own
    #[arg(long, value_name = "LIST", value_parser = Cores::from_str, conflicts_with = "threads")]
    cores: Option<Cores>,

    /// Memory for copies, like 512M, 8G or 1.5GiB; what does not fit is refused. No more than three quarters of what the
    /// control group or `ulimit -d` lets this process have [default: half of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,

    /// Where clients and other workers reach this one; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,

    /// The address to tell others, if it differs from the one listened on; port 0 stands for the real one
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// Rack or building; copies of one segment go to different zones if there are several
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,

    /// Join another cluster than the one whose data is here, and give up that data
    #[arg(long)]
    join_new: bool,

    /// Listen beyond this machine, though nobody is asked who he is yet: whoever reaches the port reads and
    /// writes
    #[arg(long)]
    insecure: bool,

    /// Connections to the data port served at once. For one more, the oldest that has said nothing yet is closed; if all have, it is
    /// refused, and its client asks another worker
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    connections_max: u32,

    /// The same for connections from one address, so that one machine does not keep the others out
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_PER_ADDRESS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,

    /// Use TCP also between programs of this machine, which otherwise share memory for the bytes of arrays
    #[arg(long)]
    no_shared_memory: bool,

    /// The original system's form: id, host and port of the master
    #[arg(hide = true, value_names = ["ID", "HOST", "PORT"], num_args = 3, conflicts_with = "id")]
    original: Vec<String>,
}

/// Reads the command line, program name first.
///
/// # Errors
/// What clap shows to people, also for `--help` and `--version`; its `exit` ends with the right code.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Config, clap::Error> {
    let args = Args::try_parse_from(args)?;
    args.into_config().map_err(|why| Args::command().error(ErrorKind::ValueValidation, why))
}

impl Args {
    fn into_config(self) -> Result<Config, String> {
        let (id, masters) = match (self.id, self.original.as_slice()) {
            (None, [id, host, port]) => (id.clone(), vec![format!("{host}:{port}")]),
            (Some(id), _) => (id, self.master),
            (None, _) => return Err("a worker needs a name of its own; give it with --id".into()),
        };
        protocol::name::check("worker", &id).map_err(|e| e.message)?;
        // An empty DARRAY_MASTER is as good as none.
        let mut masters: Vec<String> = masters.into_iter().filter(|master| !master.is_empty()).collect();
        if masters.is_empty() {
            masters.push(MASTER_DEFAULT.to_string());
        }
        masters.iter().try_for_each(|master| check_address("--master", master))?;
        let listen = resolve(&self.listen)?;
        check_listen(listen, self.insecure, self.advertise.is_some())?;
        if let Some(advertise) = &self.advertise {
            check_address("--advertise", advertise)?;
        }
        if let Some(zone) = &self.zone {
            protocol::name::check("zone", zone).map_err(|e| e.message)?;
        }
        if let Some(cores) = &self.cores {
            cores.check().map_err(|why| format!("--cores {cores}: {why}"))?;
        }
        let threads = match (&self.cores, self.threads) {
            (Some(cores), _) => cores.count(),
            (None, Some(threads)) => threads.into(),
            (None, None) => all_cores(),
        };
        Ok(Config {
            worker: id.as_str().into(),
            masters,
            threads,
            cores: self.cores,
            memory_bytes: affordable(self.memory.unwrap_or_else(half_of_memory), process_memory()),
            listen,
            advertise: self.advertise,
            zone: self.zone,
            join_new: self.join_new,
            kernels: array::KERNELS_ID.to_string(),
            features: Vec::new(),
            shared_memory: !self.no_shared_memory,
            capacity: Capacity {
                connections: self.connections_max as usize,
                per_address: self.connections_per_address as usize,
            },
        })
    }
}

fn check_address(flag: &str, address: &str) -> Result<(), String> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(format!("{flag} '{address}' is not HOST:PORT, like 10.0.0.1:5000")),
    }
}

fn resolve(listen: &str) -> Result<SocketAddr, String> {
    check_address("--listen", listen)?;
    let mut found = listen.to_socket_addrs().map_err(|e| format!("--listen '{listen}': {e}"))?;
    found.next().ok_or_else(|| format!("--listen '{listen}' has no address"))
}

fn check_listen(listen: SocketAddr, insecure: bool, advertises: bool) -> Result<(), String> {
    if !protocol::net::is_loopback(&listen) && !insecure {
        return Err(format!(
            "--listen {listen} can be reached from other machines, and there is no authentication yet: anybody \
             there could read and write arrays. Listen on 127.0.0.1, or accept that with --insecure"
        ));
    }
    if listen.ip().is_unspecified() && !advertises {
        return Err(format!(
            "--listen {listen} is every address of this machine; --advertise says which one others use"
        ));
    }
    Ok(())
}

fn all_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Half of the machine's memory: the other half is for buffers on their way, other programs and the page
/// cache.
fn half_of_memory() -> u64 {
    machine_memory() / 2
}

/// What of `bytes` for copies a process can keep that may have so much in all, if that is limited: three quarters, as buffers on
/// their way, threads and the allocator need some too. Who gets no more memory ends; what does not fit is refused.
fn affordable(bytes: u64, limit: Option<u64>) -> u64 {
    limit.map_or(bytes, |limit| bytes.min(limit / 4 * 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> Result<Config, String> {
        let args = ["worker"].into_iter().chain(line.split_whitespace());
        parse(args).map_err(|e| e.to_string())
    }

    #[test]
    fn a_limit_of_the_system_leaves_room_for_more_than_copies() {
        assert_eq!(affordable(8 << 30, Some(1 << 30)), 3 << 28);
        assert_eq!(affordable(1 << 20, Some(1 << 30)), 1 << 20);
        assert_eq!(affordable(8 << 30, None), 8 << 30);
    }

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_and_the_original_form_are_read() {
        let full = config(
            "--id w1 --master a:1,b:2 --threads 3 --memory 1.5G --listen 127.0.0.1:7000 --advertise h:0 \
             --zone z --join-new --no-shared-memory --connections-max 9 --connections-per-address 3",
        )
        .unwrap();
        assert_eq!(full.worker.as_str(), "w1");
        assert_eq!(full.masters, ["a:1", "b:2"]);
        assert_eq!((full.threads, full.memory_bytes, full.listen.port()), (3, 3 << 29, 7000));
        assert_eq!(full.capacity, Capacity { connections: 9, per_address: 3 });
        assert_eq!((full.advertise.as_deref(), full.zone.as_deref(), full.join_new), (Some("h:0"), Some("z"), true));

        let original = config("w1 10.0.0.1 5000").unwrap();
        assert_eq!((original.worker.as_str(), original.masters), ("w1", vec!["10.0.0.1:5000".to_string()]));
        assert!(original.threads >= 1 && original.memory_bytes > 0);
        assert!(original.shared_memory && !full.shared_memory);
    }

    #[test]
    fn wrong_usage_names_the_flag_and_what_to_do() {
        let cases = [
            ("--master a:1", "--id"),
            ("--id w1 --master nowhere", "HOST:PORT"),
            ("--id w1 --threads 0", "--threads"),
            ("--id w1 --memory lots", "512M"),
            ("--id w1 --cores 0,x", "'x'"),
            ("--id w1 --cores 1023", "may use"),
            ("--id w1 --cores 0 --threads 1", "cannot be used with"),
            ("--id w1 --listen 10.0.0.1:0", "--insecure"),
            ("--id w1 --listen 0.0.0.0:0 --insecure", "--advertise"),
            ("--id w1 --listen 127.0.0.1", "HOST:PORT"),
            ("--id w1 --advertise here", "--advertise"),
            ("w1 127.0.0.1", "PORT"),
            ("--id w1 w1 127.0.0.1 5000", "cannot be used"),
            ("--id w1 --bogus", "--bogus"),
            ("--id w1 --connections-max 0", "--connections-max"),
        ];
        for (line, part) in cases {
            let error = config(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error} lacks {part}");
        }
        let bad_name = parse(["worker", "--id", "a b"]).unwrap_err();
        assert_eq!(bad_name.exit_code(), 2);
        assert!(bad_name.to_string().contains("white space"));
    }

    #[test]
    fn help_teaches() {
        let help = config("--help").unwrap_err();
        for part in [
            "Examples:",
            "Exit codes:",
            "DARRAY_MASTER",
            "--insecure",
            "[default: 127.0.0.1:0]",
            "listening HOST:PORT",
            "[default: 4096]",
            "[default: 1024]",
        ] {
            assert!(help.contains(part), "{help} lacks {part}");
        }
    }
}
