#![no_main]
// Each program feeds one family of the shared targets.
#![allow(dead_code)]

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::values::any(&String::from_utf8_lossy(data)));
