//! The log of a whole process. A process has one log and one panic hook, so a second process is started for it: this very
//! binary with one test, which does nothing unless [`CHILD`] is set.

use crate::support::exporter::Setup;
use jwt_exporter::log;
use serde_json::{Value, json};
use std::process::Command;

const CHILD: &str = "JWT_EXPORTER_LOG_TEST_CHILD";

/// Speaks of a target that is ours: records of others are left out.
const OURS: &str = "jwt_exporter::test";

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let format = if std::env::var(CHILD).unwrap() == "json" { log::Format::Json } else { log::Format::Text };
    log::init(log::LevelFilter::Info, format).unwrap();
    assert!(log::init(log::LevelFilter::Trace, format).is_err(), "the second call");
    ::log::info!(target: OURS, fact = "a\u{202e}b", tries = 3, absent = None::<&str>; "one\ntwo");
    ::log::debug!(target: OURS, "too quiet");
    let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| {
        let text = String::from("eyJhbGciOiJub25lIn0-ä");
        let end = text.len() - 1;
        text[..end].len()
    });
    assert!(worker.unwrap().join().is_err(), "the slice ends in the middle of a character");
    ::log::warn!(target: OURS, "and on");
}

fn standard_error(format: &str) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "log::child", "--nocapture"]).env(CHILD, format).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(!out.contains("one") && !out.contains("eyJ"), "{out}");
    err.into_owned()
}

#[test]
fn lines_go_to_standard_error_and_a_panic_says_where_but_not_what() {
    let err = standard_error("text");
    let lines: Vec<&str> = err.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest)).collect();
    let [one, panic, on] = lines.as_slice() else { panic!("{err}") };
    assert_eq!((*one, *on), ("[INFO] one\\ntwo", "[WARN] and on"));
    assert!(panic.starts_with("[ERROR] a defect: panic at ") && panic.ends_with(" in thread worker"), "{panic}");
    assert!(panic.contains(".rs:"), "{panic}");
}

#[test]
fn in_json_each_line_is_an_object() {
    let err = standard_error("json");
    assert!(!err.contains('\u{202e}') && !err.contains("eyJ"), "{err}");
    let lines: Vec<Value> = err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [mut one, panic, on] = <[Value; 3]>::try_from(lines).unwrap();
    assert!(one.as_object_mut().unwrap().remove("ts").is_some());
    assert_eq!(one, json!({"level": "info", "msg": "one\ntwo", "fact": "a\u{202e}b", "tries": 3}));
    assert_eq!((&panic["level"], &panic["thread"]), (&json!("error"), &json!("worker")));
    assert!(panic["place"].as_str().unwrap().contains("log.rs:"), "{panic}");
    assert!(panic["msg"].as_str().unwrap().starts_with("a defect: panic at "), "{panic}");
    assert_eq!(on["msg"], json!("and on"));
}

/// What is in a Secret: its name, and the annotation that names a key which is not there.
#[test]
fn the_whole_program_speaks_json_with_the_facts_as_members() {
    let setup = Setup::new("kubernetes: false\nlabel_selectors: []\nmanifests: [secrets.json]\n");
    let key = "forged\n{\"level\":\"error\"}\u{202e}\u{2028}!";
    let metadata = json!({"name": "s", "namespace": "n", "annotations": {"jwt-exporter/secret-key": key}});
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "stringData": {"k": "v"}});
    std::fs::write(setup.folder().join("secrets.json"), secret.to_string()).unwrap();
    let mut exporter = setup.argument("-log-format").argument("json").start();
    exporter.wait_until_ready();
    let log = exporter.log();
    assert!(!log.contains(['\u{202e}', '\u{2028}']), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = lines.iter().find(|line| line["level"] == "warn").unwrap();
    let facts = ["source", "reason", "secret_namespace", "secret_name", "secret_key"].map(|name| said[name].as_str());
    assert_eq!(facts, ["manifests", "missing_key", "n", "s", key].map(Some), "{said}");
}

#[test]
fn a_configuration_that_is_refused_is_a_line_of_the_chosen_format() {
    let finished = Setup::new("nonsense: 1\n").argument("-log-format=json").argument("-level=off").run();
    assert_eq!(finished.status.code(), Some(2));
    let said: Value = serde_json::from_str(&finished.stderr).unwrap();
    assert_eq!(said["level"], json!("error"));
    assert!(said["msg"].as_str().unwrap().contains("nonsense"), "{said}");
}
