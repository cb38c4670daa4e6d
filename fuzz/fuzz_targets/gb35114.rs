#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gantry::gb28181::fuzzing::gb35114(data));
