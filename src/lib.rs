//! jwt-exporter: reads JSON Web Tokens where they are kept and tells Prometheus when each of them expires.
//!
//! # The tour
//!
//! The program is a house of five floors. A file imports from its own room and from lower floors only; a test holds us
//! to it.
//!
//! | floor | rooms | what they may do |
//! | --- | --- | --- |
//! | 5 wiring | `main`, [`command`], [`cli`], [`config`], [`poller`] | everything: they put the others together |
//! | 4 edges | [`renewal`], [`vault`], [`source`], [`server`] | read the outside world, answer it, and renew a token where asked to |
//! | 3 clients | [`kubernetes`], [`http_client`], [`whole_file`] | speak one protocol each, or to the file system |
//! | 2 pure | [`metrics`], [`snapshot`], [`observation`], [`login`], [`jwt`], [`yaml`], [`json`] | no I/O, no clock, no threads: `now` is an argument |
//! | 1 vocabulary | [`log`], [`time`], [`redacted`], [`published`], `prefetch`, `memory` | words that everybody uses |
//!
//! Within a floor a room uses those that stand to the right of it.
//!
//! Data goes one way. A *source* lends the bytes of a value; [`jwt`] decodes them without trusting them; an
//! [`observation`] keeps what is exposed, and absolute times, and nothing else of the token; the [`poller`], in which each
//! source has a thread of its own, puts the observations of all into a [`snapshot`] and publishes it whole through
//! [`published::Published`]; the [`server`] encodes the metric families from the snapshot at each scrape.
//!
//! Each foreign crate has one door: `ureq` and `rustls` in [`http_client`], `ring` in [`jwt`], `tiny_http` in [`server`], `serde_yaml` in
//! [`yaml`], `simplelog` in [`log`], `pico-args` in [`cli`], `prometheus` in [`metrics`].

// In tests a panic is the verdict.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod cli;
pub mod command;
pub mod config;
pub mod http_client;
pub mod json;
pub mod jwt;
pub mod kubernetes;
pub mod log;
pub mod login;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod memory;
pub mod metrics;
pub mod observation;
pub mod poller;
mod prefetch;
pub mod published;
pub mod redacted;
pub mod renewal;
pub mod server;
pub mod snapshot;
pub mod source;
pub mod time;
pub mod vault;
pub mod whole_file;
pub mod yaml;
