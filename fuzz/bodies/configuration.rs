//! A configuration. An error is one line with a place in the text; what is accepted can be written down and read again.

use jwt_exporter::config::{self, ListenAddress};
use jwt_exporter::kubernetes::LabelSelector;
use std::ffi::OsString;

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let lookup = |name: &str| (name == "HOME").then(|| OsString::from("/home/somebody"));
    let parsed = config::parse(text, "config.yaml", &lookup);
    let accepted = parsed.is_ok();
    match parsed {
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "a line can be forged: {message:?}");
            assert!(message.starts_with("config.yaml:"), "{message}");
            if let Some((line, column)) = error.at {
                // The parser may find the end missing on the line behind the last one.
                assert!(
                    (1..=text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1).contains(&line),
                    "line {line}"
                );
                assert!(column >= 1, "column {column}");
            }
        }
        Ok(config) => {
            let address = config.address.to_string();
            assert_eq!(ListenAddress::parse(&address).as_ref(), Ok(&config.address), "{address}");
            let interval = config::written_duration(config.polling_interval);
            assert_eq!(config::parse_duration(&interval).as_ref(), Ok(&config.polling_interval), "{interval}");
            assert!(!config.polling_interval.is_zero());
            for selector in &config.label_selectors {
                assert_eq!(LabelSelector::parse(selector.as_str()).as_ref(), Ok(&Some(selector.clone())));
            }
            let claims = &config.reading.claims;
            for pointer in
                claims.scope.iter().chain(&claims.role).chain(&claims.name).chain(&claims.email).chain(&claims.added)
            {
                assert_eq!(pointer.to_string().parse().as_ref(), Ok(pointer));
            }
            assert_eq!(claims.added.len(), config.reading.show.added.len());
            let bounds = config.reading.bounds;
            assert!(bounds.max_tokens_per_secret > 0 && bounds.max_series_per_token > 0 && config.max_series > 0);
        }
    }
    accepted
}
