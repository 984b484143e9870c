//! Nothing stays of connections through shared memory. Alone in its program, so that nobody else opens files meanwhile.
#![cfg(target_os = "linux")]

use protocol::shared::{Listener, admit, connect};
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Files and mappings of rings that this process has.
fn holdings() -> (usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (files, maps.lines().filter(|line| line.contains("memfd:darray-ring")).count())
}

#[test]
fn a_hundred_connections_leave_nothing_behind() {
    let listener = Listener::bind().unwrap();
    let soon = || Instant::now() + Duration::from_secs(30);
    let before = holdings();
    for n in 0..100 {
        thread::scope(|scope| {
            let caller = scope.spawn(|| connect(listener.name(), soon()));
            let accepted = listener.accept().unwrap();
            if n % 10 == 9 {
                drop(accepted);
                assert!(caller.join().unwrap().is_err(), "refused");
                return;
            }
            let (admitted, caller) = (admit(accepted).unwrap(), caller.join().unwrap().unwrap());
            assert_eq!(holdings().1, before.1 + 2);
            (&admitted).write_all(b"x").unwrap();
            let mut byte = [0];
            if n % 2 == 0 {
                drop(admitted);
            }
            (&caller).read_exact(&mut byte).unwrap();
        });
    }
    assert_eq!(holdings(), before);
}
