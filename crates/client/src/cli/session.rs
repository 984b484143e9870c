//! The way to the master, found when it is first needed, and kept for all commands of a prompt.

use super::args::{Args, Level, Path};
use super::failure::Failure;
use super::progress;
use crate::cancel::Cancel;
use crate::cluster::{CONNECT_TIMEOUT, Cluster};
use crate::data::DataPath;
use crate::error::Error;
use crate::original::Original;
use crate::original::find::Master;
use std::cell::RefCell;
use std::io::{self, Write};

/// The way to the master.
#[derive(Default)]
pub struct Session {
    /// For each level and path that were asked for, what was found: lines of a prompt can have options of their own.
    masters: RefCell<Vec<(Level, Path, Master)>>,
}

impl Session {
    /// The master, for one command: with the level and deadline that its options say, and what cancels it.
    pub fn master(&self, args: &Args, cancel: &Cancel) -> Result<Master, Failure> {
        let known = self.known(args.level, args.path);
        let master = match known {
            Some(master) => master,
            None => {
                let master = connect(args)?;
                self.masters.borrow_mut().push((args.level, args.path, master.clone()));
                master
            }
        };
        Ok(match master {
            Master::Cluster(cluster) => Master::Cluster(cluster.with_timeout(args.timeout).with_cancel(cancel)),
            Master::Original(original) => Master::Original(original.with_timeout(args.timeout).with_cancel(cancel)),
        })
    }

    /// Whether there is a cluster, whose master comes back when it is gone. Original ones have nothing to come back with.
    pub fn has_cluster(&self) -> bool {
        self.masters.borrow().iter().any(|(.., master)| matches!(master, Master::Cluster(_)))
    }

    fn known(&self, level: Level, path: Path) -> Option<Master> {
        let fits = |(asked, by, master): &&(Level, Path, Master)| match (level, master) {
            (Level::Auto, Master::Original(_)) => *asked == Level::Auto,
            (Level::One, Master::Original(_)) => true,
            (Level::Two | Level::Auto, Master::Cluster(_)) => *by == path,
            (Level::One, Master::Cluster(_)) | (Level::Two, Master::Original(_)) => false,
        };
        self.masters.borrow().iter().find(fits).map(|(.., master)| master.clone())
    }
}

fn connect(args: &Args) -> Result<Master, Failure> {
    if args.level == Level::One && args.master.contains(',') {
        return Err(Failure::Usage("level 1 is spoken with one master; give --master one address".to_string()));
    }
    let path = match args.path {
        Path::Auto => DataPath::Auto,
        Path::Tcp => DataPath::Tcp,
    };
    let builder = Cluster::builder().masters(&args.master).timeout(args.timeout).path(path);
    let connect = || -> Result<Master, Error> {
        match args.level {
            Level::Auto => builder.connect_any(),
            Level::One => Ok(Master::Original(Original::new(&args.master))),
            Level::Two => builder.connect().map(Master::Cluster),
        }
    };
    let master = progress::notice(&format!("looking for a master at {} …", args.master), CONNECT_TIMEOUT, connect)?;
    if let (Level::Auto, Master::Original(original)) = (args.level, &master) {
        tell(original.address(), args.json);
    }
    Ok(master)
}

/// Says that a master is one of the original system; not to programs, for which standard error has errors only.
fn tell(address: &str, json: bool) {
    if !json {
        let text = format!("the master at {address} speaks level 1 only; with --level 1 that is not found out anew");
        let _ = writeln!(io::stderr(), "{text}"); // the answer counts
    }
}
