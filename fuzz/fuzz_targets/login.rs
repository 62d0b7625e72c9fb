//! What is held here stands in `bodies/login.rs`.
#![no_main]

#[path = "../bodies/login.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
