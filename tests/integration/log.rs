//! The log of a whole process. A process has one log and one panic hook, so a second process is started for it: this very
//! binary with one test, which does nothing unless [`CHILD`] is set.

use jwt_exporter::log;
use std::process::Command;

const CHILD: &str = "JWT_EXPORTER_LOG_TEST_CHILD";

/// Speaks of a target that is ours: records of others are left out.
const OURS: &str = "jwt_exporter::test";

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    log::init(log::LevelFilter::Info).unwrap();
    assert!(log::init(log::LevelFilter::Trace).is_err(), "the second call");
    ::log::info!(target: OURS, "one\ntwo");
    ::log::debug!(target: OURS, "too quiet");
    let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| {
        let text = String::from("eyJhbGciOiJub25lIn0-ä");
        let end = text.len() - 1;
        text[..end].len()
    });
    assert!(worker.unwrap().join().is_err(), "the slice ends in the middle of a character");
    ::log::warn!(target: OURS, "and on");
}

#[test]
fn lines_go_to_standard_error_and_a_panic_says_where_but_not_what() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "log::child", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(!out.contains("one") && !out.contains("eyJ"), "{out}");
    let lines: Vec<&str> = err.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest)).collect();
    let [one, panic, on] = lines.as_slice() else { panic!("{err}") };
    assert_eq!((*one, *on), ("[INFO] one\\ntwo", "[WARN] and on"));
    assert!(panic.starts_with("[ERROR] a defect: panic at ") && panic.ends_with(" in thread worker"), "{panic}");
    assert!(panic.contains(".rs:"), "{panic}");
}
