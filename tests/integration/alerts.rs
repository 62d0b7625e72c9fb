//! The alerting rules that we ship, tried by Prometheus' own tool.

use crate::support::manifests::{in_checkout, text};
use crate::support::real_parts::RealPart;
use std::collections::BTreeSet;
use std::process::Command;

/// Where there are rules, and their tests beside them.
const FOLDERS: [&str; 2] = ["manifests/alerts", "manifests/examples/cloud-pak-for-data/alerts"];

#[test]
fn the_rules_do_what_their_tests_say() {
    let promtool = require_part!(RealPart::Promtool);
    for folder in FOLDERS {
        for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]] {
            let mut command = Command::new(&promtool);
            let output = command.args(arguments).current_dir(in_checkout(folder)).output().unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{folder}: {arguments:?}: {said}");
        }
    }
}

#[test]
fn every_alert_has_a_test() {
    let alerts = |file: &str, key: &str| -> BTreeSet<String> {
        text(file).lines().filter_map(|line| line.trim().strip_prefix(key).map(|name| name.trim().to_owned())).collect()
    };
    for folder in FOLDERS {
        let rules = alerts(&format!("{folder}/rules.yaml"), "- alert:");
        assert!(!rules.is_empty());
        assert_eq!(rules, alerts(&format!("{folder}/rules.test.yaml"), "alertname:"));
    }
}
