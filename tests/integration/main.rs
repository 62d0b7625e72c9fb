//! The program from outside, one module per subject. One binary, so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
// A test binary has no outside: `pub` says which room may use it.
#![allow(unreachable_pub)]

#[macro_use]
mod support;

mod alerts;
mod cli;
mod config;
mod contexts;
mod demo;
mod documents;
mod exposition;
mod faults;
mod files;
mod first_scrape;
mod fuzz_seeds;
mod gate;
mod gzip_readers;
mod image;
mod install;
mod kubeconfig;
mod log;
mod logins;
mod manifests;
mod named_secrets;
mod namespaces;
mod personal_data;
mod real_cluster;
mod relist;
mod reload;
mod renewals;
mod secrecy;
mod selected_namespaces;
mod signals;
mod status_page;
mod support_works;
mod terminal;
mod tidy;
mod vault;
mod watch_faults;
mod watching;
