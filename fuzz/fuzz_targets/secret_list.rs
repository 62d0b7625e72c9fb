//! What is held here stands in `bodies/secret_list.rs`.
#![no_main]

#[path = "../bodies/secret_list.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
