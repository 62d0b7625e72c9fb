//! kubernetes

pub mod list;
pub mod object;
