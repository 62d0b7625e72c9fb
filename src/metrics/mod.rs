//! The exposition: metric families of the tokens, streamed from a snapshot, and the exporter's own.
//!
//! Token families are written straight from the texts that a snapshot holds: vectors of the `prometheus` crate would hold
//! and copy everything three times, and mistake one label set for another (they hash values without a separator). The
//! crate serves for what it is good at: counters, a histogram, the process.

mod exposition;
mod family;
mod logins;
mod own;
mod renewals;
mod text;

pub use exposition::{CONTENT_TYPE, encode, encode_for_file, encode_lasting, encode_passing};
pub use family::{FAMILIES, Family, Kind};
pub use logins::{Judged, LoginAnswer, LoginBoard, LoginCase};
pub use own::{BuildInfo, OwnMetrics};
pub use renewals::RenewalStatus;
