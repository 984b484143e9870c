//! Core scripts: a cluster in the simulator, told what to do line by line, and what it did.
//!
//! The scripts in `scripts/` are stories for people: each begins with its situation, each command is followed by what
//! happened. On the simulated network nothing is random, so the stories are always the same. `UPDATE_GOLDENFILES=1 cargo
//! test -p tests --test stories` writes them anew; read the difference and keep only what you can explain.
//!
//! | command | |
//! |---|---|
//! | `cluster workers=N replication=R [level-1=N]` | starts a master and N workers: w1, w2, …; the first ones stand in for workers of level 1 |
//! | `create NAME len=N [dtype=double] [replace=true]`, `generate NAME GENERATOR [dtype=double] [seed=N]`, `apply NAME [EXPRESSION] [into=NAME]`, `reduce NAME REDUCTIONS`, `explain NAME EXPRESSION`, `get NAME [array=true] [range=A:B]`, `delete NAME` | a client does it, and its answer is checked value by value; `wait=no` goes on at once, `client=2` is another client, `timeout=S` |
//! | `ask TYPE [KEY=VALUE]` | any other request, with the interesting part of its answer |
//! | `wait` | until all clients are answered |
//! | `advance ms=N us=N` | lets time pass |
//! | `until-written COMMAND` | until such a command is in the master's log |
//! | `kill`, `start`, `pause`, `continue` `NODE`; `drain W`; `power-loss`; `reset W`, `reset-client N` | what can happen to processes and connections |
//! | `cut FROM TO ms=N` | nothing comes through in that direction for so long |
//! | `flip W NAME segment=N` | a bit of a copy flips |
//! | `late W TYPE` | the last instruction of this type to a worker comes once more |
//! | `join W` | one more worker |
//! | `status`, `info NAME`, `recovery` | how the master sees it |

use crate::sim::model::Content;
use crate::sim::processes::still_network;
use crate::sim::wishes::Wish;
use crate::sim::{Node, PLENTY, Plan, World};
use array::DType;
use goldenscript::{Command, Runner};
use protocol::message::Body;
use protocol::message::client::*;
use protocol::{CopyId, Reference};
use std::error::Error;
use std::time::Duration;

/// Clients of every story.
const CLIENTS: usize = 3;

/// Longest wait of a command.
const WAIT: Duration = Duration::from_secs(120);

/// Runs one script.
#[derive(Default)]
pub struct Story {
    world: Option<World>,
    told: usize,
    made: u64,
}

type Output = Result<String, Box<dyn Error>>;

/// A line of a script, taken apart.
#[derive(Clone)]
pub struct Line {
    name: String,
    positional: std::collections::VecDeque<String>,
    keyed: std::collections::BTreeMap<String, String>,
}

impl TryFrom<&Command> for Line {
    type Error = Box<dyn Error>;

    fn try_from(command: &Command) -> Result<Line, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut line = Line { name: command.name.clone(), positional: Default::default(), keyed: Default::default() };
        while let Some(arg) = args.next_pos() {
            line.positional.push_back(arg.to_string());
        }
        while let Some((key, value)) = args.next_key() {
            line.keyed.insert(key.to_string(), value.to_string());
        }
        Ok(line)
    }
}

impl Line {
    /// The next argument without a key.
    fn next(&mut self) -> Result<String, Box<dyn Error>> {
        self.positional.pop_front().ok_or_else(|| format!("{} what?", self.name).into())
    }

    /// The next argument as a process.
    fn node(&mut self) -> Result<Node, Box<dyn Error>> {
        match self.next()?.as_str() {
            "master" => Ok(Node::Master),
            client if client.starts_with('c') => Ok(Node::Client(client[1..].parse::<usize>()? - 1)),
            worker => Ok(Node::Worker(worker.trim_start_matches('w').parse::<usize>()? - 1)),
        }
    }

    /// The next argument as the number of a worker.
    fn worker(&mut self) -> Result<usize, Box<dyn Error>> {
        match self.node()? {
            Node::Worker(n) => Ok(n),
            _ => Err("only workers".into()),
        }
    }

    /// The argument with this key.
    fn take<T: std::str::FromStr<Err: Error + 'static>>(&mut self, key: &str) -> Result<Option<T>, Box<dyn Error>> {
        Ok(self.keyed.remove(key).map(|value| value.parse()).transpose()?)
    }

    /// Fails if there is anything left.
    fn end(&self) -> Result<(), Box<dyn Error>> {
        match self.positional.iter().chain(self.keyed.keys()).next() {
            None => Ok(()),
            Some(arg) => Err(format!("what is '{arg}'?").into()),
        }
    }
}

impl Runner for Story {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &goldenscript::Context) -> Output {
        let mut line = line.clone();
        if line.name == "cluster" {
            let (workers, replication) = (line.take("workers")?.unwrap_or(3), line.take("replication")?.unwrap_or(2));
            let level_1 = line.take("level-1")?.unwrap_or(0);
            line.end()?;
            return Ok(self.start(workers, level_1, replication));
        }
        let wait = line.take::<String>("wait")?.is_none_or(|wait| wait != "no");
        let client = line.take::<usize>("client")?.unwrap_or(1) - 1;
        let timeout = Duration::from_secs(line.take("timeout")?.unwrap_or(60));
        let wish = self.wish(&mut line)?;
        let world = self.world.as_mut().ok_or("begin with `cluster`")?;
        let looked = match wish {
            Some(wish) => {
                world.wish_within(client, wish, timeout);
                String::new()
            }
            None => act(world, &mut line)?,
        };
        line.end()?;
        if wait {
            let waiting = |world: &World| (0..CLIENTS).any(|n| world.client(n).is_waiting());
            let clients_act = matches!(
                line.name.as_str(),
                "create" | "apply" | "reduce" | "generate" | "explain" | "get" | "delete" | "ask" | "wait"
            );
            if clients_act && !world.run_while(WAIT, waiting) {
                return Err(format!("no answer: {}", world.who_waits()).into());
            }
        }
        Ok(self.tell(&looked))
    }
}

/// What happens to processes and connections, and looking at them.
fn act(world: &mut World, line: &mut Line) -> Output {
    match line.name.as_str() {
        "wait" => {}
        "advance" => {
            let ms = Duration::from_millis(line.take("ms")?.unwrap_or(0));
            let until = world.now + ms + Duration::from_micros(line.take("us")?.unwrap_or(0));
            world.run_until(until);
        }
        "kill" => match line.node()? {
            Node::Worker(n) => world.kill_worker(n),
            Node::Master => world.kill_master(false),
            Node::Client(_) => return Err("clients live on".into()),
        },
        "power-loss" => world.kill_master(true),
        "start" => match line.node()? {
            Node::Worker(n) => world.start_worker(n),
            Node::Master => world.start_master(),
            Node::Client(_) => return Err("clients live on".into()),
        },
        "until-written" => {
            let command = line.next()?;
            if !world.run_while(WAIT, |world| !world.has_written(&command)) {
                return Err(format!("no {command} is written").into());
            }
        }
        "late" => {
            let (worker, kind) = (line.worker()?, line.next()?);
            if !world.repeat_instruction(worker, &kind) {
                return Err(format!("it was never told {kind}").into());
            }
        }
        "join" => world.add_worker(),
        "pause" => world.pause(line.node()?, true),
        "continue" => world.pause(line.node()?, false),
        "drain" => {
            let worker = line.worker()?;
            world.drain_worker(worker);
        }
        "reset" => world.reset_links_of(line.node()?),
        "reset-client" => world.reset_links_of(Node::Client(line.next()?.parse::<usize>()? - 1)),
        "cut" => {
            let (from, to) = (line.node()?, line.node()?);
            world.cut_direction(from, to, Duration::from_millis(line.take("ms")?.unwrap_or(1000)));
        }
        "flip" => {
            let (worker, name) = (line.worker()?, line.next()?);
            let copy = CopyId(version_of(world, &name).ok_or("no such array")?, line.take("segment")?.unwrap_or(0));
            if !world.corrupt(worker, copy) {
                return Err("that copy is not there".into());
            }
        }
        "status" => return Ok(status(world)),
        "info" => return info(world, &line.next()?),
        "recovery" => return Ok(recovery(world)),
        other => return Err(format!("what is '{other}'?").into()),
    }
    Ok(String::new())
}

impl Story {
    /// What a client shall do, if the line says that.
    fn wish(&mut self, line: &mut Line) -> Result<Option<Wish>, Box<dyn Error>> {
        let wish = match line.name.as_str() {
            "create" => {
                self.made += 1;
                let (len, dtype) = (line.take("len")?.unwrap_or(10_000), line.take("dtype")?.unwrap_or(DType::Int32));
                let replace = line.take("replace")?.unwrap_or(false);
                Wish::Create { name: line.next()?, content: Content::generate(self.made, len, dtype), replace }
            }
            "apply" => {
                Wish::Apply { name: line.next()?, operation: line.positional.pop_front(), into: line.take("into")? }
            }
            "reduce" => Wish::Reduce { name: line.next()?, reductions: line.next()? },
            "generate" => Wish::Generate {
                name: line.next()?,
                generator: line.next()?,
                dtype: line.take("dtype")?,
                seed: line.take("seed")?.unwrap_or(0),
            },
            "explain" => {
                let explain = Explain { array_id: line.next()?, operation: line.next()? };
                Wish::Ask(Box::new(explain.into()))
            }
            "get" => {
                let range = line.take::<String>("range")?;
                let range = match range.as_deref().and_then(|range| range.split_once(':')) {
                    Some((from, to)) => Some((from.parse()?, to.parse()?)),
                    None => None,
                };
                Wish::Get { name: line.next()?, array: line.take("array")?.unwrap_or(false), range }
            }
            "delete" => Wish::Delete { name: line.next()? },
            "ask" => {
                let kind = line.next()?;
                let fields: Vec<String> =
                    std::mem::take(&mut line.keyed).iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                let body = Body::from_parts(&kind, &format!("{{{}}}", fields.join(","))).ok_or("no such message")??;
                Wish::Ask(Box::new(body))
            }
            _ => return Ok(None),
        };
        Ok(Some(wish))
    }

    fn start(&mut self, workers: usize, level_1: usize, replication: u32) -> String {
        let plan = Plan {
            workers,
            level_1,
            replication,
            min_copies: 1,
            clients: CLIENTS,
            network: still_network(),
            worker_bytes: PLENTY,
            odd: false,
        };
        let mut world = World::new(1, plan);
        world.watched = true;
        world.start_master();
        world.run_until(Duration::from_millis(10));
        (0..workers).for_each(|n| world.start_worker(n));
        world.run_until(Duration::from_millis(500));
        self.world = Some(world);
        self.tell("")
    }

    /// What has happened since the last command, then what was looked at.
    fn tell(&mut self, looked: &str) -> String {
        let Some(world) = &mut self.world else { return String::new() };
        world.check_now();
        let news = &world.trace[self.told..];
        self.told = world.trace.len();
        let mut out: Vec<&str> = news.iter().map(|note| note.what.as_str()).collect();
        out.extend(looked.lines());
        out.join("\n")
    }
}

fn version_of(world: &World, name: &str) -> Option<protocol::VersionId> {
    let reference = Reference::parse(name);
    reference.version.or_else(|| Some(world.cluster()?.catalog().find(&reference.name)?.1.content))
}

fn status(world: &World) -> String {
    let Some(cluster) = world.cluster() else { return "there is no master".to_string() };
    let status = cluster.cluster_status();
    let mut lines = vec![format!(
        "workers {} alive, {} suspect, {} down; segments {}: {} under-replicated, {} waiting, {} lost; {} operations, {} transfers",
        status.workers_alive,
        status.workers_suspect,
        status.workers_down,
        status.segments,
        status.under_replicated,
        status.waiting,
        status.lost,
        status.running_operations,
        status.transfers,
    )];
    for array in cluster.list_arrays().arrays {
        let result = array.result.map_or(String::new(), |result| format!(", result {result}"));
        lines.push(format!("{}: {:?}, copies {}/{}{result}", array.handle, array.state, array.copies, array.target));
    }
    lines.join("\n")
}

fn info(world: &World, name: &str) -> Output {
    let cluster = world.cluster().ok_or("there is no master")?;
    let mut lines = Vec::new();
    for version in cluster.describe_array(name)?.versions {
        for segment in version.segments {
            let holders: Vec<&str> = segment.holders.iter().map(|holder| holder.as_str()).collect();
            let SegmentInfo { segment, start, end, epoch, .. } = segment;
            lines.push(format!("{}/{segment} [{start}, {end}) epoch {epoch} on {}", version.handle, holders.join(" ")));
        }
    }
    Ok(lines.join("\n"))
}

/// Incidents without the times that would change with every constant.
fn recovery(world: &World) -> String {
    let Some(cluster) = world.cluster() else { return "there is no master".to_string() };
    let line = |incident: &Incident| {
        let worker = incident.worker.as_ref().map_or("master", |worker| worker.as_str());
        let mended = if incident.redundancy_restored_ms.is_some() { "mended" } else { "open" };
        format!(
            "{:?} {worker}: {}; {} promoted, {} redispatched, {} copies and {} segments lost, {} bytes moved, {mended}",
            incident.kind,
            incident.cause,
            incident.promoted,
            incident.redispatched,
            incident.copies_lost,
            incident.segments_lost,
            incident.bytes_moved,
        )
    };
    cluster.list_incidents().incidents.iter().map(line).collect::<Vec<_>>().join("\n")
}
