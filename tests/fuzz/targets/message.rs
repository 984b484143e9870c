//! Data of messages of level 2.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::message(data));
