//! The program from outside, one module per subject. One binary, so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod kubeconfig;
