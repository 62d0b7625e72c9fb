//! Renews tokens before they expire: asks whoever issues them, checks what came, and writes it where the old one is.
//!
//! This is the only room that writes anything outside of the process, and nothing in it runs without `renewals:` in the
//! configuration. One errand thread does all the work, so that an endpoint that hangs delays no poll and no scrape.
//!
//! | file | subject |
//! | --- | --- |
//! | `plan` | a renewal as it is configured |
//! | `schedule`, `course` | when a token is due, and when it is tried again: no clock, no I/O |
//! | `template`, `place` | texts with variables, escaped for the place where they stand |
//! | `verdict` | whether a token may take the place of the old one |
//! | `admission` | whether it would get in where it is meant to, by the `logins` of its place |
//! | `claim` | how replicas keep out of each other's way |
//! | `attempt` | one try: the decisions, over a target and an issuer |
//! | `credentials`, `request`, `target` | what they are in the real world |
//! | `errand`, `means` | the thread, and what it works with |
//! | `leaving` | what becomes of a try when the program is told to stop |
//! | `dry_run` | what would be done, and is not |
//! | `reason`, `report` | what went wrong, and what the log says |
//!
//! A try goes like this: read the Secret; if its token is due and nobody else has claimed the work, claim it by an annotation;
//! ask for a token with credentials that are read for this try alone; check it, also against the
//! logins of its place; write it and take the claim away. Each write
//! names the resource version that was read. Whoever was overtaken reads again and decides anew.

mod admission;
mod attempt;
mod claim;
mod course;
mod credentials;
mod dry_run;
mod errand;
mod leaving;
mod means;
mod place;
mod plan;
mod reason;
mod report;
mod request;
mod schedule;
#[cfg(test)]
mod simulated_year;
mod target;
mod template;
mod verdict;

pub use claim::ANNOTATION;
pub use course::Policy;
pub use dry_run::{DryRun, dry_run};
pub use errand::Errand;
pub use leaving::Leaving;
pub use means::{LoginsOf, Means, Owns};
pub use place::Place;
pub use plan::{Clusters, CredentialsPlan, Renewal, RequestPlan, TargetPlan};
pub use reason::{Failure, Reason};
pub use request::Environment;
pub use schedule::BeforeExpiry;
pub use template::{RenderError, Template, TemplateError};
