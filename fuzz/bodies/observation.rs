//! The value of one data key of a Secret: a token, a document that carries some, or anything else. Whatever is kept of it
//! has to be good enough to stand in an exposition.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jwt_exporter::jwt::{ClaimPaths, looks_like_jwt, without_decoration};
use jwt_exporter::observation::{
    Bounds, DataValue, ExtraLabels, FileView, Logins, MAX_LABEL_BYTES, Observer, Reading, SecretObservation,
    SecretView, Showing, Showings, TokenObservation, labels, push_label,
};
use std::borrow::Cow;

const BOUNDS: Bounds = Bounds { max_tokens_per_secret: 4, max_series_per_token: 6 };

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let mut observer = Observer::new(Reading::new(ClaimPaths::default(), BOUNDS));
    let encoded = || DataValue::Base64(Cow::Owned(STANDARD.encode(input)));
    let named = observe(&mut observer, Some("key"), encoded()).expect("a key that is named has a token or an error");
    let unnamed = observe(&mut observer, None, encoded());
    check(&named, input);
    if let Some(unnamed) = &unnamed {
        check(unnamed, input);
    }
    // Values are passed over by their first bytes; none with tokens may be. Only a token that does not look like one (white
    // space before the brace of its header, say) is read for its name alone.
    let whole = named.tokens.iter().any(|token| token.location().starts_with("secret_key=\"key\""));
    if !whole || looks_like_jwt(without_decoration(input)) {
        let unnamed = unnamed.as_ref().map(|unnamed| &*unnamed.tokens).unwrap_or_default();
        assert_eq!(unnamed, &*named.tokens, "other tokens if nobody names the key");
    }
    let file = |named| FileView { path: "s", key: "key", bytes: input, named, version: 1 };
    let named_file = observer.observe_file(&file(true)).expect("a file that is named has a token or an error");
    check(&named_file, input);
    assert_eq!(reasons(&named_file), reasons(&named), "a file is read in another way than a Secret");
    let found_file = observer.observe_file(&file(false));
    assert_eq!(found_file.as_ref().map(reasons), unnamed.as_ref().map(reasons), "a file that a pattern found");
    if let Ok(text) = std::str::from_utf8(input) {
        let plain = observe(&mut observer, Some("key"), DataValue::Plain(Cow::Borrowed(text)));
        assert_eq!(plain.as_ref(), Some(&named), "stringData is read in another way than data");
    }
    let hidden = observe(&mut hiding(), Some("key"), encoded()).expect("a key that is named has a token or an error");
    assert_eq!(hidden.tokens.len(), named.tokens.len(), "other tokens if labels are dropped");
    for (hidden, token) in hidden.tokens.iter().zip(&named.tokens) {
        assert_eq!(names(hidden.head().strip_suffix(',').expect("a comma behind the head")), ["tenant"]);
        assert_eq!((hidden.info(), hidden.tail()), (hidden.head(), token.location()));
        assert!(hidden.series().eq([""]) && hidden.series_count() == 1 && !hidden.joined);
    }
    !named.tokens.is_empty()
}

/// Drops every label that can be, and adds one.
fn hiding() -> Observer {
    let mut reading = Reading::new(ClaimPaths::default(), BOUNDS);
    for name in Showings::NAMES {
        *reading.show.named(name).expect("a label of this name") = Showing::Dropped;
    }
    reading.claims.added = vec!["/tenant/id".parse().expect("a pointer")];
    reading.show.added = vec![("tenant".to_owned(), Showing::Plain)];
    Observer::new(reading)
}

fn observe(observer: &mut Observer, annotation: Option<&str>, value: DataValue<'_>) -> Option<SecretObservation> {
    let data = [(Cow::Borrowed("key"), value)];
    let extra = &ExtraLabels::default();
    observer.observe(&SecretView {
        namespace: "ns",
        name: "s",
        annotation,
        data: &data,
        logins: Logins::Annotation(None),
        picked: false,
        extra,
        version: 1,
    })
}

/// What is shown and what is wrong, each with its place in the value.
fn reasons(secret: &SecretObservation) -> Vec<String> {
    let key = |location: &str| location.split("\",secret_name=").next().map(str::to_owned).expect("a place");
    let tokens = secret.tokens.iter().map(|token| format!("{} {:?}", key(token.location()), token.expires()));
    let errors = secret.errors.iter().map(|error| format!("{} {}", key(&error.location), error.reason.as_str()));
    tokens.chain(errors).collect()
}

fn check(secret: &SecretObservation, input: &[u8]) {
    assert!(!secret.tokens.is_empty() || !secret.errors.is_empty(), "kept, with nothing in it");
    assert!(secret.tokens.len() <= BOUNDS.max_tokens_per_secret);
    for token in &secret.tokens {
        check_token(token);
    }
    for error in &secret.errors {
        assert_eq!(names(&error.location), ["secret_key", "secret_name", "secret_namespace"]);
        assert!(!error.detail.is_empty() && !error.detail.contains(char::is_control), "{:?}", error.detail);
        // Words of ours are shorter than this between two spaces.
        for word in error.detail.split_ascii_whitespace().filter(|word| word.len() >= 24) {
            assert!(!input.windows(word.len()).any(|piece| piece == word.as_bytes()), "the value is quoted: {word}");
        }
    }
}

fn check_token(token: &TokenObservation) {
    let head = token.head().strip_suffix(',').expect("a comma behind the head");
    assert_eq!(names(head), ["algorithm", "audience", "email", "id", "issuer", "name"]);
    assert_eq!(names(token.info().strip_suffix(',').expect("a comma")), ["algorithm"]);
    assert_eq!(names(token.location()), ["secret_key", "secret_name", "secret_namespace"]);
    assert_eq!(names(token.tail()), ["secret_key", "secret_name", "secret_namespace", "subject"]);
    for set in [head, token.tail()] {
        assert!(labels(set).map(|(name, _)| name).eq(names(set)), "read back with other names: {set}");
        let mut again = String::new();
        for (name, value) in labels(set) {
            again.push_str(if again.is_empty() { "" } else { "," });
            push_label(&mut again, name, &value);
        }
        assert_eq!(again, set, "read back as something else");
    }
    let series: Vec<&str> = token.series().collect();
    assert_eq!(series.len(), token.series_count());
    assert!((1..=BOUNDS.max_series_per_token).contains(&series.len()));
    for (at, one) in series.iter().enumerate() {
        assert_eq!(names(one.strip_suffix(',').expect("a comma behind a series")), ["role", "scope"]);
        assert!(!series[..at].contains(one), "a series is there twice: {one}");
    }
}

/// The label names of a set, read as a scraper reads it; every value has to be well-formed and bounded.
fn names(set: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = set;
    loop {
        let (name, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {rest}"));
        names.push(name);
        let (mut length, mut end, mut escaped) = (0, None, false);
        for (at, character) in quoted.char_indices() {
            assert!(character != '\n', "a line feed in a label: {set}");
            match character {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' if !escaped => {
                    end = Some(at + 1);
                    break;
                }
                _ => assert!(!escaped || matches!(character, '\\' | '"' | 'n'), "an unknown escape: {set}"),
            }
            escaped = false;
            length += character.len_utf8();
        }
        assert!(length <= MAX_LABEL_BYTES, "a label of {length} bytes");
        rest = &quoted[end.unwrap_or_else(|| panic!("no closing quote: {set}"))..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    assert!(rest.is_empty(), "behind the labels: {rest}");
    names
}
