//! The master's state machine.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::core(data));
