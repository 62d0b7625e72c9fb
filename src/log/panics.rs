//! What the log says of a panic: where, and never what. The payload of a failed slice quotes the text that it sliced.

use std::panic::{self, PanicHookInfo};
use std::thread;

/// Replaces the standard hook, which would print the payload.
pub(super) fn install() {
    panic::set_hook(Box::new(|info| ::log::error!(target: "jwt_exporter::panic", "{}", sentence(info))));
}

fn sentence(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    match info.location() {
        Some(at) => format!("a defect: panic at {}:{} in thread {thread}", at.file(), at.line()),
        None => format!("a defect: panic in thread {thread}"),
    }
}
