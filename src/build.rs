//! Tells the program which compiler and which commit it is built from; "unknown" where that cannot be found out.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-env-changed=JWT_EXPORTER_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    set("JWT_EXPORTER_RUSTC", said_by(Command::new(rustc).arg("--version")));
    // Whoever builds from an archive says the commit; a checkout knows it itself. The folder of the manifest is asked, not
    // one above it: a vendored copy must not take the commit of the repository that it is part of.
    let given = std::env::var("JWT_EXPORTER_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(|| {
        std::path::Path::new(".git").exists().then_some(())?;
        // A commit moves HEAD, or the branch that it names; the log of HEAD grows in both cases.
        let log = said_by(Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]))?;
        println!("cargo:rerun-if-changed={log}");
        said_by(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))
    });
    set("JWT_EXPORTER_COMMIT", revision);
}

fn set(name: &str, value: Option<String>) {
    println!("cargo:rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
}

/// The first line of the output of a command that ends well.
fn said_by(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
}
