//! The way to the master, found when it is first needed, and kept for all commands of a prompt.

use super::args::Args;
use super::failure::Failure;
use super::progress;
use crate::cancel::Cancel;
use crate::cluster::{CONNECT_TIMEOUT, Cluster};
use std::cell::OnceCell;

/// The way to the master.
#[derive(Default)]
pub struct Session {
    cluster: OnceCell<Cluster>,
}

impl Session {
    /// The cluster, for one command: with the deadline that its options say, and what cancels it.
    pub fn cluster(&self, args: &Args, cancel: &Cancel) -> Result<Cluster, Failure> {
        let cluster = match self.cluster.get() {
            Some(cluster) => cluster,
            None => {
                let cluster = connect(args)?;
                self.cluster.get_or_init(|| cluster)
            }
        };
        Ok(cluster.with_timeout(args.timeout).with_cancel(cancel))
    }

    /// Whether a master has been found.
    pub fn is_connected(&self) -> bool {
        self.cluster.get().is_some()
    }
}

fn connect(args: &Args) -> Result<Cluster, Failure> {
    let connect = || Cluster::builder().masters(&args.master).timeout(args.timeout).connect();
    Ok(progress::notice(&format!("looking for a master at {} …", args.master), CONNECT_TIMEOUT, connect)?)
}
