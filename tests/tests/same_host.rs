//! Programs of one machine, which share memory for the bytes of arrays: that they do, that they need not, and what is left when
//! one of them is killed.
#![cfg(target_os = "linux")]

use client::{Carried, Cluster, DataPath};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tests::harness::oracle::{Numbers, check_example1};
use tests::harness::wait::until;
use tests::harness::{CALL_TIMEOUT, Processes, SOON, Setup};

/// 64 segments, half of them or more on every worker.
const LEN: usize = 1_000_000;

/// 320 MB: nothing moves them in the time that a test needs to look.
const LARGE: usize = 40_000_000;

fn two_workers(replication: u32) -> Setup {
    Setup::new().workers(2).replication(replication)
}

fn connect(cluster: &Processes, path: DataPath) -> Cluster {
    let builder = Cluster::builder().masters(cluster.master_address()).timeout(CALL_TIMEOUT);
    builder.connect_timeout(SOON).path(path).connect().unwrap()
}

fn shared_connections(cluster: &Processes) -> [usize; 2] {
    ["w1", "w2"].map(|worker| cluster.shared_connections(worker))
}

fn wait_without_shared_connections(cluster: &Processes) {
    until("the end of all shared memory", SOON, || (shared_connections(cluster) == [0, 0]).then_some(()));
}

#[test]
fn client_and_workers_of_one_machine_share_memory_until_they_part() {
    let cluster = two_workers(2).start();
    let client = connect(&cluster, DataPath::Auto);
    let values = Numbers::new(1).doubles(LEN);
    client.create("a", &values).unwrap();
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    let done = client.apply("a", "example1").unwrap();
    check_example1(&values, &client.get(&done.handle).unwrap()).unwrap();
    let Carried { tcp, shared_memory } = client.carried();
    assert!(tcp == 0 && shared_memory >= 3 * 60, "{:?}", client.carried());
    assert!(shared_connections(&cluster).iter().all(|count| *count >= 1), "{:?}", shared_connections(&cluster));
    drop(client);
    wait_without_shared_connections(&cluster);
}

#[test]
fn a_client_can_keep_to_tcp_and_workers_share_memory_among_themselves() {
    let cluster = two_workers(2).start();
    let client = connect(&cluster, DataPath::Tcp);
    let values = Numbers::new(2).doubles(LEN);
    assert_eq!(client.create("a", &values).unwrap().copies, 2);
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    assert_eq!(client.carried().shared_memory, 0);
    // Each forwards to the other.
    assert_eq!(shared_connections(&cluster), [2, 2]);
    drop(client);
    wait_without_shared_connections(&cluster);
}

#[test]
fn workers_can_be_told_not_to() {
    let cluster = two_workers(2).worker_flags("--no-shared-memory").start();
    let client = connect(&cluster, DataPath::Auto);
    let values = Numbers::new(3).doubles(LEN);
    client.create("a", &values).unwrap();
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    assert_eq!(client.carried().shared_memory, 0);
    assert_eq!(shared_connections(&cluster), [0, 0]);
}

#[test]
fn bench_says_which_way_the_bytes_took() {
    let cluster = two_workers(1).start();
    let path = |flags: &str| {
        let report = cluster.client(&format!("{flags} bench --workload get --n 10000 --reps 1")).json();
        report["path"].as_str().unwrap().to_string()
    };
    assert_eq!(path(""), "shared-memory");
    assert_eq!(path("--path auto"), "shared-memory");
    assert_eq!(path("--path tcp"), "tcp");
    wait_without_shared_connections(&cluster);
}

#[test]
fn a_client_killed_in_the_middle_of_an_upload_leaves_nothing() {
    let mut cluster = two_workers(1).start();
    cluster.start_client("writer", &format!("create-double large {LARGE}"));
    until("the upload", SOON, || (shared_connections(&cluster) == [1, 1]).then_some(()));
    cluster.pause("writer");
    let client = cluster.connect();
    assert!(client.arrays().unwrap().is_empty(), "it was too fast for this test");
    assert_eq!(shared_connections(&cluster), [1, 1]);
    cluster.kill("writer");
    wait_without_shared_connections(&cluster);
    let values = Numbers::new(4).doubles(LEN);
    client.create("a", &values).unwrap();
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    assert_eq!(client.carried().tcp, 0);
    cluster.check();
}

#[test]
fn clients_killed_in_the_middle_leave_no_descriptor_no_thread_and_no_memory_either_way() {
    // An upload outlives its client's connection by a minute, in case that comes back.
    const FORGOTTEN: Duration = Duration::from_secs(150);
    let mut cluster = two_workers(2).start();
    let client = cluster.connect();
    client.create("kept", &Numbers::new(6).doubles(LEN)).unwrap();
    client.apply("kept", "example1").unwrap();
    drop(client);
    wait_without_shared_connections(&cluster);
    let names = ["master", "w1", "w2"];
    let before = names.map(|name| cluster.open_things(name));
    // An array and its result, in two copies. Workers say what they use a little later than they use it.
    let kept = LEN as u64 * 8 * 2 * 2;
    until("word of what the workers use", SOON, || (cluster_memory(&cluster) == kept).then_some(()));
    for (victim, path) in ["auto", "tcp", "auto", "tcp"].into_iter().enumerate() {
        let (name, before) = (format!("writer{victim}"), cluster_memory(&cluster));
        cluster.start_client(&name, &format!("--path {path} create-double large{victim} {LARGE}"));
        until("bytes of an upload", SOON, || (cluster_memory(&cluster) > before).then_some(()));
        cluster.kill(&name);
    }
    until("the memory of the uploads", FORGOTTEN, || (cluster_memory(&cluster) == kept).then_some(()));
    // The connections through which this test looks come and go; each time all of them are back.
    until("as many descriptors and threads as before", SOON, || {
        let now = names.map(|name| cluster.open_things(name));
        let no_more = |(now, before): (&[usize; 2], &[usize; 2])| now[0] <= before[0] && now[1] <= before[1];
        now.iter().zip(&before).all(no_more).then_some(())
    });
    assert_eq!(shared_connections(&cluster), [0, 0]);
    cluster.check();
}

fn cluster_memory(cluster: &Processes) -> u64 {
    cluster.client("--json status").json()["memory_used_bytes"].as_u64().expect("a number")
}

#[test]
fn a_worker_killed_in_the_middle_of_a_download_is_replaced() {
    let mut cluster = two_workers(2).start();
    let client = connect(&cluster, DataPath::Auto);
    let values = Numbers::new(5).doubles(LARGE / 4);
    client.create("a", &values).unwrap();
    let (begun, has_begun) = mpsc::channel();
    let get = thread::spawn({
        let client = client.clone();
        move || {
            client.read_bytes("a", false, None, &mut |progress| {
                if progress.done > 0 {
                    begun.send(progress).unwrap_or_default();
                }
            })
        }
    });
    let progress = has_begun.recv_timeout(SOON).unwrap();
    assert!(progress.done < progress.total);
    cluster.kill("w1");
    let (_, bytes) = get.join().unwrap().unwrap();
    assert!(bytes == bytemuck::cast_slice::<f64, u8>(&values));
    assert_eq!(client.carried().tcp, 0);
    drop(client);
    until("the end of all shared memory", SOON, || (cluster.shared_connections("w2") == 0).then_some(()));
    cluster.check();
}

/// A worker that stands still keeps what was sent to it for later; what it had is got from another.
#[test]
fn a_worker_that_stands_still_is_given_up_in_time() {
    let mut cluster = Setup::new().workers(3).replication(2).start();
    let client = connect(&cluster, DataPath::Auto);
    let values = Numbers::new(6).doubles(LEN);
    client.create("a", &values).unwrap();
    cluster.pause("w1");
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    client.create("b", &values).unwrap();
    assert_eq!(client.get::<f64>("b").unwrap(), values);
    cluster.resume("w1");
    cluster.wait_whole(3);
    assert_eq!(client.get::<f64>("a").unwrap(), values);
    cluster.check();
}
