#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gantry::media::fuzzing::ps_demux(data));
