//! Frames of level 2.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::frame(data));
