//! What workers have reduced.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::partial(data));
