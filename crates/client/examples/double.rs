//! Stores ten million numbers, computes on them, and reads the result back.
//!
//! `cargo run -p client --example double`, with a cluster at `DARRAY_MASTER` or 127.0.0.1:5000.

use client::Cluster;

fn main() -> Result<(), client::Error> {
    let master = std::env::var("DARRAY_MASTER").unwrap_or("127.0.0.1:5000".to_string());
    let cluster = Cluster::connect(&master)?;

    let values: Vec<f64> = (0..10_000_000).map(f64::from).collect();
    cluster.create_with("numbers", array::DType::Float64, &[10_000_000], bytemuck::cast_slice(&values), true)?;

    // Makes a new version and leaves the array as it is; the answer says how the result is called.
    let done = cluster.apply("numbers", "example1")?;
    println!("{} in {} ms, {} copies", done.handle, done.elapsed_us / 1000, done.copies);

    // All of it, or a range into a slice of our own.
    let results: Vec<f64> = cluster.get("numbers")?;
    let mut first = [0.0; 3];
    cluster.read_into(&done.handle, 0..3, &mut first)?;
    assert_eq!(results[..3], first);
    println!("{first:?}");
    Ok(())
}
