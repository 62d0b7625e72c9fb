//! What is held here stands in `bodies/status_page.rs`.
#![no_main]

#[path = "../bodies/status_page.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
