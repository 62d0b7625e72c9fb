//! What `drop_labels` and `hash_labels` hide is nowhere to be seen, and what `claim_labels` and `token_series` ask for is.

use crate::support::exporter::Setup;
use crate::support::exposition::{find, samples};
use crate::support::manifests::text;
use crate::support::{token, wait_for};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const SERIES: &str = "jwt_exporter_jwt_expiration_timestamp";
const INFO: &str = "jwt_exporter_token_info";
const KEY: &str = "this is a key for pseudonyms";
const HIDING: &str = "drop_labels: [email, name, id]\nhash_labels: [subject, issuer]\nhash_key_file: $HOME/key\n";

/// The demo with these lines, and a file with a key in its home folder.
fn demo(lines: &str) -> Setup {
    let config = text("manifests/demo/config.yaml");
    let config: String =
        config.lines().filter(|line| !line.starts_with("address:")).map(|line| format!("{line}\n")).collect();
    let setup = Setup::new(config + lines).in_checkout();
    std::fs::write(setup.folder().join("key"), format!("{KEY}\n")).unwrap();
    setup
}

/// The values of a label in the demo as it stands.
fn values(metrics: &str, labels: &[&str]) -> BTreeSet<String> {
    let all = samples(metrics);
    let found = all.iter().flat_map(|sample| labels.iter().map(|label| sample.label(label).to_owned()));
    found.filter(|value| value.len() > 3).collect()
}

#[test]
fn what_is_dropped_or_hashed_is_nowhere_to_be_seen() {
    let plain = demo("").argument("-once").argument("-").run().stdout;
    let hidden = values(&plain, &["email", "name", "id", "subject", "issuer"]);
    assert!(hidden.len() >= 5, "{hidden:?}");
    // Not what the name of a place holds as well.
    let places = values(&plain, &["secret_name", "secret_namespace", "secret_key", "scope", "audience", "role"]);
    let hidden: Vec<&String> =
        hidden.iter().filter(|value| !places.iter().any(|place| place.contains(value.as_str()))).collect();
    assert!(hidden.len() >= 5, "{hidden:?}");

    let run = |lines: &str, arguments: &[&str]| {
        let setup = arguments.iter().fold(demo(lines), |setup, argument| setup.argument(argument));
        let ran = setup.argument("-level").argument("trace").run();
        ran.stdout + &ran.stderr
    };
    let ways: [&[&str]; 6] = [
        &["-once", "-"],
        &["check"],
        &["check", "-output", "json"],
        &["check", "-output", "csv"],
        &["explain", "jwt-exporter-demo/fresh"],
        &["-check-config"],
    ];
    let seen = |text: &str| hidden.iter().filter(|value| text.contains(value.as_str())).count();
    for way in ways {
        let (before, after) = (run("", way), run(HIDING, way));
        assert_eq!(seen(&after), 0, "{way:?}: {hidden:?} in\n{after}");
        assert!(after.len() > 100 && !after.contains(KEY), "{way:?}: {after}");
        // The search is good for something.
        let is_search = way[0] == "check" || way[0] == "-once";
        assert_eq!(seen(&before) > 0, is_search, "{way:?}: {before}");
    }

    let mut exporter = demo(HIDING).argument("-level").argument("trace").start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let mut showing = demo("").start();
    showing.wait_until_ready();
    for target in ["/metrics", "/", "/readyz"] {
        let answer = exporter.get(target).text();
        assert_eq!(seen(&answer), 0, "{target}: {hidden:?} in\n{answer}");
        assert_eq!(seen(&showing.get(target).text()) > 0, target != "/readyz", "{target}");
    }
    exporter.process().signal("TERM");
    exporter.process().wait(Duration::from_secs(30));
    assert_eq!(seen(&exporter.log()), 0, "{}", exporter.log());
    assert!(!exporter.log().contains(KEY));

    // One person is one pseudonym, another one another.
    let subjects =
        |metrics: &str, name: &str| find(metrics, SERIES, &[("secret_name", name)])[0].label("subject").to_owned();
    let pairs: BTreeSet<(String, String)> = find(&plain, SERIES, &[])
        .iter()
        .map(|sample| sample.label("secret_name").to_owned())
        .map(|name| (subjects(&plain, &name), subjects(&metrics, &name)))
        .collect();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = pairs.iter().cloned().unzip();
    assert!(pairs.len() > 1 && before.len() == pairs.len() && after.len() == pairs.len(), "{pairs:?}");
    assert!(pairs.iter().all(|(plain, hash)| hash.len() == if plain.is_empty() { 0 } else { 16 }), "{pairs:?}");
}

/// One token of a person in a file.
fn person(lines: &str) -> Setup {
    let claims = json!({"exp": 7, "sub": "ann", "roles": ["r", "q"], "scope": "a b", "tenant": {"id": 12}, "groups": ["g", "h"]});
    let setup = Setup::new(format!("kubernetes: false\nfiles: [person.jwt]\n{lines}"));
    std::fs::write(setup.folder().join("person.jwt"), token::hs256(&claims)).unwrap();
    std::fs::write(setup.folder().join("key"), KEY).unwrap();
    setup
}

#[test]
fn claims_become_labels_of_the_series_and_of_token_info() {
    let mut exporter = person("claim_labels: {tenant: /tenant/id, groups: /groups, none: /x}\n").start();
    exporter.wait_until_ready();
    let metrics = exporter.metrics();
    let wanted = &[("tenant", "12"), ("groups", "g,h"), ("none", "")];
    assert_eq!((find(&metrics, SERIES, wanted).len(), find(&metrics, INFO, wanted).len()), (4, 1), "{metrics}");
    assert_eq!(find(&metrics, "jwt_exporter_token_expiration_timestamp_seconds", &[])[0].label("tenant"), "");
}

#[test]
fn a_reload_hides_and_shows_and_takes_another_key() {
    let mut exporter = person("").start();
    exporter.wait_until_ready();
    let address = exporter.address();
    let rewrite = |lines: &str| {
        let config = format!("address: \"{address}\"\nkubernetes: false\nfiles: [person.jwt]\n{lines}");
        let new = exporter.folder().join("config.new");
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, exporter.config_file()).unwrap();
    };
    let subjects = |metrics: &str| -> BTreeSet<String> {
        find(metrics, SERIES, &[]).iter().map(|sample| sample.label("subject").to_owned()).collect()
    };
    assert_eq!(find(&exporter.metrics(), SERIES, &[("subject", "ann")]).len(), 4);
    rewrite("drop_labels: [role, scope]\n");
    exporter.wait_for_metrics("one series", |metrics| find(metrics, SERIES, &[("subject", "ann")]).len() == 1);
    rewrite("token_series: compact\n");
    exporter.wait_for_metrics("no series", |metrics| {
        find(metrics, SERIES, &[]).is_empty()
            && !metrics.contains("jwt_issued_at_timestamp")
            && find(metrics, INFO, &[]).len() == 1
    });
    rewrite("hash_labels: [subject]\nhash_key_file: key\n");
    let metrics =
        exporter.wait_for_metrics("a pseudonym", |metrics| subjects(metrics).iter().any(|subject| subject.len() == 16));
    let first = subjects(&metrics);
    std::fs::write(exporter.folder().join("key"), format!("another: {KEY}")).unwrap();
    exporter.process().signal("HUP");
    exporter.wait_for_metrics("another pseudonym", |metrics| {
        subjects(metrics).iter().all(|subject| subject.len() == 16 && !first.contains(subject))
    });
    // What is no key is refused, and the one before goes on.
    std::fs::write(exporter.folder().join("key"), "short key").unwrap();
    exporter.process().signal("HUP");
    wait_for("the refusal", Duration::from_secs(60), || {
        let log = exporter.log();
        if log.contains("it has 9") { Ok(()) } else { Err(log) }
    });
    assert!(!exporter.log().contains("short key"));
    assert_eq!(find(&exporter.metrics(), SERIES, &[]).len(), 4);
}
