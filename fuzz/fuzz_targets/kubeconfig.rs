//! What is held here stands in `bodies/kubeconfig.rs`.
#![no_main]

#[path = "../bodies/kubeconfig.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::run(input);
});
