//! Kubeconfigs in `tests/fixtures/kubeconfig/`, and what is said of each in `tests/golden/kubeconfig/`.
//!
//! `GOLDEN=rewrite cargo test --test integration kubeconfig` writes the golden files anew. Every secret in the fixtures
//! holds the word SECRET or the number 5555.

use jwt_exporter::kubernetes::Cluster;
use jwt_exporter::kubernetes::access::{Access, AccessError};
use std::path::Path;
use std::sync::Arc;

/// What a kubeconfig comes to: a way into a cluster, or an error.
fn outcome(path: &Path) -> String {
    let open = || -> Result<String, AccessError> {
        let access = Access::from_kubeconfig(path, None, &|_| None)?;
        let mut text = format!("server: {}\n", access.server());
        if let Some(proxy) = access.proxy() {
            text.push_str(&format!("proxy: {proxy}\n"));
        }
        for warning in access.warnings() {
            text.push_str(&format!("warning: {warning}\n"));
        }
        Cluster::connect(access, Arc::new(|_, _, _| {})).map(|_| text)
    };
    open().unwrap_or_else(|error| format!("error: {error}\n"))
}

#[test]
fn each_has_its_golden_outcome() {
    // Relative, so that the paths in the messages are the same everywhere.
    let fixtures = Path::new("tests/fixtures/kubeconfig");
    let rewrite = std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite");
    let mut seen = 0;
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let outcome = outcome(&path);
        assert!(!outcome.contains("SECRET") && !outcome.contains("5555"), "{}: {outcome}", path.display());
        let good = path.file_stem().unwrap().to_string_lossy().starts_with("good-");
        assert_eq!(outcome.starts_with("server: "), good, "{}", path.display());
        let golden = Path::new("tests/golden/kubeconfig").join(path.file_stem().unwrap()).with_extension("txt");
        if rewrite {
            std::fs::write(&golden, &outcome).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != outcome {
            differing.push(format!("{}:\n{outcome}", golden.display()));
        }
    }
    assert!(seen > 40, "only {seen} fixtures");
    assert!(differing.is_empty(), "differ from what is golden:\n{}", differing.join("\n"));
}

#[test]
fn another_context_can_be_asked_for() {
    let path = Path::new("tests/fixtures/kubeconfig/no-current-context.yaml");
    assert!(Access::from_kubeconfig(path, Some("x"), &|_| None).is_ok());
    let error = Access::from_kubeconfig(path, Some("z"), &|_| None).unwrap_err().to_string();
    assert!(error.ends_with("contexts: \"z\": there is no such entry; there are \"x\""), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_is_none_is_an_error() {
    let error = Access::from_kubeconfig(Path::new("nowhere/config"), None, &|_| None).unwrap_err().to_string();
    assert!(error.starts_with("nowhere/config: No such file or directory"), "{error}");
    let error = Access::from_kubeconfig(Path::new("tests"), None, &|_| None).unwrap_err().to_string();
    assert!(error.starts_with("tests: it is no regular file"), "{error}");
}

#[test]
fn the_environments_proxy_is_taken_where_the_kubeconfig_names_none() {
    let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://env:3128".to_owned());
    let proxy = |file: &str| {
        let path = Path::new("tests/fixtures/kubeconfig").join(file);
        Access::from_kubeconfig(&path, None, &environment).unwrap().proxy().map(ToString::to_string)
    };
    assert_eq!(proxy("good-token.yaml").unwrap(), "http://env:3128");
    assert_eq!(proxy("good-data.yaml").unwrap(), "http://proxy:3128");
    assert_eq!(proxy("good-without-tls.yaml"), None);
}
