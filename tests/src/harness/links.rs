//! The links of a cluster: a [`Proxy`] in front of the master for clients and for each worker, and one in front of each worker's
//! data port, which is what the worker advertises.

use super::proxy::{Direction, Proxy};
use std::collections::BTreeMap;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// From clients to the master.
    Clients,
    /// From a worker to the master: control and heartbeats.
    Control(String),
    /// From clients and other workers to a worker's data port, and from the master, who tries it.
    Data(String),
}

impl Link {
    /// The link between a worker and the master.
    pub fn control(worker: &str) -> Link {
        Link::Control(worker.to_string())
    }

    /// The link to a worker's data port.
    pub fn data(worker: &str) -> Link {
        Link::Data(worker.to_string())
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Links(BTreeMap<Link, Proxy>);

impl Links {
    /// One of them.
    pub fn get(&self, link: &Link) -> &Proxy {
        self.0.get(link).unwrap_or_else(|| panic!("there is no {link:?}"))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Link, &Proxy)> {
        self.0.iter()
    }

    /// Nothing is wrong with any of them any more.
    pub fn mend(&self) {
        self.0.values().for_each(Proxy::mend);
    }

    /// Cuts all links of a worker, both directions: it is alone.
    pub fn isolate(&self, worker: &str) {
        for link in [Link::control(worker), Link::data(worker)] {
            Direction::BOTH.into_iter().for_each(|direction| self.get(&link).cut(direction));
        }
    }

    /// The link, made if it is not there yet.
    pub(super) fn open(&mut self, link: Link) -> &Proxy {
        let seed = self.0.len() as u64;
        self.0.entry(link).or_insert_with(|| Proxy::start(seed))
    }

    /// The master is here now.
    pub(super) fn lead_to_master(&self, address: &str) {
        let to_master = |link: &Link| !matches!(link, Link::Data(_));
        self.0.iter().filter(|(link, _)| to_master(link)).for_each(|(_, proxy)| proxy.lead_to(address));
    }
}
