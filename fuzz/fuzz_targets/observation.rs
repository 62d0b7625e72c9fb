//! What is held here stands in `bodies/observation.rs`.
#![no_main]

#[path = "../bodies/observation.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
