//! Answers of the commands held against files, for the tests of this room.

/// Compares with `tests/golden/terminal/NAME`; written anew with GOLDEN=rewrite in the environment.
pub(super) fn golden(name: &str, found: &str) {
    let path = format!("{}/tests/golden/terminal/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite") {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{path}");
}
