//! What the log says of a panic: where, and never what. The payload of a failed slice quotes the text that it sliced.

use std::panic;
use std::thread;

/// Replaces the standard hook, which would print the payload.
pub(super) fn install() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let at = place.as_deref().map(|place| format!(" at {place}")).unwrap_or_default();
        ::log::error!(target: "jwt_exporter::panic", thread, place; "a defect: panic{at} in thread {thread}");
    }));
}
