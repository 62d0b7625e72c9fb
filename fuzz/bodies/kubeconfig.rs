//! A kubeconfig: parsed, and each of its contexts turned into a way in. Nothing is opened and nothing is started by that.
//! An error may name entries, but never quotes a credential.

use jwt_exporter::kubernetes::access::Kubeconfig;
use std::path::Path;

const CREDENTIALS: [&str; 6] =
    ["token:", "password:", "client-key-data:", "client-certificate-data:", "proxy-url:", "value:"];

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let path = Path::new("/nowhere/config");
    let kubeconfig = match Kubeconfig::parse(text, path) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => {
            check(&[error.to_string(), format!("{error:?}")], text);
            return false;
        }
    };
    assert_eq!(format!("{kubeconfig:?}"), "Kubeconfig(/nowhere/config)");
    let contexts: Vec<Option<&str>> = kubeconfig.contexts().into_iter().map(Some).chain([None]).collect();
    let mut accepted = false;
    for context in contexts {
        match kubeconfig.access(context) {
            Ok(access) => {
                accepted = true;
                let mut said = access.warnings();
                said.extend([format!("{access:?}"), access.server().to_string()]);
                check(&said, text);
            }
            Err(error) => check(&[error.to_string(), format!("{error:?}")], text),
        }
    }
    accepted
}

/// What was `said` is for a log: no line of it is forged, and no piece of a credential is in it.
fn check(said: &[String], text: &str) {
    for message in said {
        assert!(!message.contains(['\n', '\r', '\u{1b}']), "a line can be forged: {message:?}");
        for credential in credentials(text) {
            assert!(!message.contains(credential), "a credential is quoted: {message}");
        }
    }
}

/// Plain scalars behind keys that hold credentials, long enough to be one, and nowhere else in the text. In a block, a
/// quoted text, a flow or an alias such a line can be anything, so that texts with those are not looked at.
fn credentials(text: &str) -> impl Iterator<Item = &str> {
    let plain = !text.contains(['|', '>', '"', '\'', '&', '*', '{', '[', '#', '?', '!', '\r', '\t']) && text.is_ascii();
    text.lines()
        .filter(move |_| plain)
        .filter_map(|line| {
            let line = line.trim_start_matches([' ', '-']);
            CREDENTIALS.iter().find_map(|key| line.strip_prefix(key))
        })
        .map(str::trim)
        .filter(|value| {
            value.len() >= 12 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
        .filter(|value| text.matches(value).count() == 1)
}
