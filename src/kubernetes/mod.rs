//! The Kubernetes API: one server, the way in, requests and their errors.
//!
//! [`access`] says where an API server is and who we are there; [`Cluster`] sends requests to it. Bodies are read as they
//! come: nothing here holds a whole one.

pub mod access;
mod access_review;
mod field_selector;
mod label_selector;
pub mod list;
mod name;
mod namespace_pattern;
pub mod object;
mod query;
mod request;
mod request_error;
mod status;
pub mod watch;

pub use access_review::may;
pub use field_selector::FieldSelector;
pub use label_selector::{LabelSelector, Unmet};
pub use name::{check_dns_label, check_label_value, check_qualified, check_subdomain_name};
pub use namespace_pattern::NamespacePattern;
pub use query::Query;
pub use request::{ApiRequest, ApiResponse, Cluster, OnRequest, Verb};
pub use request_error::{Reason, RequestError};

#[cfg(test)]
mod tests;
