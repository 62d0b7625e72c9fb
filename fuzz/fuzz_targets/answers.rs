//! What is held here stands in `bodies/answers.rs`.
#![no_main]

#[path = "../bodies/answers.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
