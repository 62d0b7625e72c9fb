//! What logins need of the world.
mod plan;

pub use plan::{DEFAULT_REFRESH, DEFAULT_REVIEW, Entry, LivePlan, Login, MountPlan, Reviewer};
