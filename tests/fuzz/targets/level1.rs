//! Lines of level 1.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::level1(data));
