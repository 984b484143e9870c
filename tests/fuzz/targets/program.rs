//! Programs as workers get them.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::program(data));
