//! The README and the alerting rules name what is there, and nothing else.

use crate::support::manifests::text;
use jwt_exporter::metrics::FAMILIES;
use jwt_exporter::observation::Reason;
use jwt_exporter::renewal;
use std::collections::BTreeSet;

/// The words of a text that begin like our metrics.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("jwt_exporter_") || word.starts_with("jwt_issued"))
        .map(str::to_owned)
        .collect()
}

fn known_metrics() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for family in FAMILIES {
        let endings: &[&str] =
            if family.name.ends_with("duration_seconds") { &["", "_bucket", "_sum", "_count"] } else { &[""] };
        known.extend(endings.iter().map(|ending| format!("{}{ending}", family.name)));
    }
    known
}

/// The section of the README with this heading.
fn section(heading: &str) -> String {
    let readme = text("README.md");
    let from = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &readme[from + 1..];
    rest[..rest[1..].find("\n## ").map_or(rest.len(), |end| end + 1)].to_owned()
}

#[test]
fn the_readme_has_every_metric_and_every_reason() {
    let metrics = section("Metrics");
    for family in FAMILIES {
        assert!(metrics.contains(&format!("`{}`", family.name)), "{} is not in the README", family.name);
    }
    for reason in Reason::ALL {
        assert!(metrics.contains(&format!("| `{}` |", reason.as_str())), "{} is not in the README", reason.as_str());
    }
    let renewals = section("Renewals");
    let rows = |text: &str| text.matches("\n| `").count();
    for reason in renewal::Reason::ALL {
        assert!(renewals.contains(&format!("\n| `{}` |", reason.as_str())), "{} is not in the README", reason.as_str());
    }
    assert_eq!(rows(&renewals), renewal::Reason::ALL.len(), "reasons that are none");
}

#[test]
fn every_metric_that_a_document_names_exists() {
    let known = known_metrics();
    for file in [
        "README.md",
        "CHANGELOG.md",
        "manifests/alerts/rules.yaml",
        "manifests/alerts/rules.test.yaml",
        "manifests/demo/generate",
        "manifests/examples/cloud-pak-for-data/README.md",
        "manifests/examples/cloud-pak-for-data/alerts/rules.yaml",
        "manifests/examples/cloud-pak-for-data/alerts/rules.test.yaml",
    ] {
        let named = metric_names(&text(file));
        // A common beginning, written `jwt_exporter_token_*`, ends in the line below.
        let unknown: Vec<_> = named.iter().filter(|name| !known.contains(*name) && !name.ends_with('_')).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

/// The lists of keys are private to the room of the configuration, so they are read from its source.
#[test]
fn the_readme_has_every_configuration_key() {
    let section = section("Configuration");
    let keys: BTreeSet<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let source = text("src/config/file.rs");
    let list = |name: &str| -> BTreeSet<String> {
        let (_, rest) = source.split_once(&format!("const {name}: &[&str] = &[")).unwrap();
        let (list, _) = rest.split_once(']').unwrap();
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut known = list("KEYS");
    known.remove("claims");
    known.extend(list("CLAIM_KEYS").iter().map(|key| format!("claims.{key}")));
    assert_eq!(keys.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), known);
}
