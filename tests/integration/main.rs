//! The program from outside, one module per subject. One binary, so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[macro_use]
mod support;

mod cli;
mod config;
mod exposition;
mod faults;
mod first_scrape;
mod fuzz_seeds;
mod kubeconfig;
mod log;
mod real_cluster;
mod secrecy;
mod support_works;
mod tidy;
