//! What the documentation says that is shown of a token, worked out from its two JSON documents by means that the program
//! does not have: `serde_json::Value` and sets.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where a token is kept.
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) key: &'a str,
}

/// What a sample may be.
#[derive(Debug)]
pub(super) enum Expectation {
    Is(f64),
    /// Seconds from the scrape until then.
    Until(f64),
    /// Seconds from then until the scrape.
    Since(f64),
}

impl Expectation {
    /// Whether a scrape between the seconds `before` and `after` may have shown this.
    pub(super) fn allows(&self, found: f64, before: i64, after: i64) -> bool {
        let (before, after) = (before as f64, after as f64);
        match *self {
            Self::Is(value) => found == value,
            Self::Until(at) => (at - after..=at - before).contains(&found),
            Self::Since(at) => (before - at..=after - at).contains(&found),
        }
    }
}

/// All samples, by name and labels.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) samples: BTreeMap<super::Series, Expectation>,
}

impl Expected {
    fn add(&mut self, family: &str, labels: &[(&str, String)], value: Expectation) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), cut(value))).collect();
        let double = self.samples.insert((family.to_owned(), labels), value);
        assert!(double.is_none(), "the table has a sample of {family} twice");
    }
}

/// "A label value over 512 bytes is cut at a character boundary and ends in `…`."
fn cut(value: &str) -> String {
    if value.len() <= 512 {
        return value.to_owned();
    }
    let mut kept = String::new();
    for character in value.chars() {
        if kept.len() + character.len_utf8() + "…".len() > 512 {
            break;
        }
        kept.push(character);
    }
    kept + "…"
}

fn location(place: &Place) -> Vec<(&'static str, String)> {
    vec![
        ("secret_namespace", place.namespace.to_owned()),
        ("secret_name", place.name.to_owned()),
        ("secret_key", place.key.to_owned()),
    ]
}

/// The error sample of something that cannot be shown, or not in full.
pub(super) fn error(expected: &mut Expected, place: &Place, reason: &str) {
    let labels = [location(place), vec![("reason", reason.to_owned())]].concat();
    expected.add("jwt_exporter_token_error", &labels, Expectation::Is(1.0));
}

/// Everything that a JWS with this header and these claims has.
pub(super) fn token(expected: &mut Expected, place: &Place, header: &str, claims: &str) {
    // Both keep the last of a repeated member.
    let header: Value = serde_json::from_str(header).unwrap();
    let claims: Value = serde_json::from_str(claims).unwrap();
    let algorithm = header["alg"].as_str().unwrap().to_owned();
    let place_only = location(place);

    let info = [place_only.clone(), vec![("algorithm", algorithm.clone()), ("type", "JWS".to_owned())]].concat();
    expected.add("jwt_exporter_token_info", &info, Expectation::Is(1.0));
    let dates = ["exp", "iat", "nbf"].map(|claim| date(claims.get(claim)));
    if dates.contains(&Err(())) {
        error(expected, place, "invalid_claims");
    }
    let [expires, issued, not_before] = dates.map(|date| date.unwrap_or(None));
    for (family, at) in [
        ("jwt_exporter_token_expiration_timestamp_seconds", expires),
        ("jwt_exporter_token_issued_at_timestamp_seconds", issued),
        ("jwt_exporter_token_not_before_timestamp_seconds", not_before),
        ("jwt_exporter_token_never_expires", expires.is_none().then_some(1.0)),
    ] {
        if let Some(at) = at {
            expected.add(family, &place_only, Expectation::Is(at));
        }
    }

    let scopes = texts(first(&claims, &["scope", "scp"]), true);
    let roles = texts(first(&claims, &["roles", "role"]), false);
    let mut pairs = Vec::new();
    for scope in &scopes {
        pairs.extend(roles.iter().map(|role| (scope.clone(), role.clone())));
    }
    if pairs.len() > 100 {
        pairs = vec![(scopes.join(","), roles.join(","))];
        error(expected, place, "too_many_series");
    }
    let audience = match &claims["aud"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        one => text(one),
    };
    for (scope, role) in pairs {
        let labels = [
            place_only.clone(),
            vec![
                ("algorithm", algorithm.clone()),
                ("audience", audience.clone()),
                ("subject", text(&claims["sub"])),
                ("id", text(&claims["jti"])),
                ("scope", scope),
                ("issuer", text(&claims["iss"])),
                ("name", text(&claims["name"])),
                ("email", text(&claims["email"])),
                ("role", role),
            ],
        ]
        .concat();
        if let Some(at) = expires {
            expected.add("jwt_exporter_jwt_expires_in_seconds", &labels, Expectation::Until(at));
            expected.add("jwt_exporter_jwt_expiration_timestamp", &labels, Expectation::Is(at));
        }
        if let Some(at) = issued {
            expected.add("jwt_exporter_jwt_issued_since_seconds", &labels, Expectation::Since(at));
            expected.add("jwt_exporter_jwt_issued_at_timestamp", &labels, Expectation::Is(at));
            expected.add("jwt_issued_at_timestamp", &labels, Expectation::Is(at));
        }
    }
}

/// "Whole seconds (a fraction is cut off)"; present and no date is an error, absent is none.
fn date(claim: Option<&Value>) -> Result<Option<f64>, ()> {
    match claim {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let at = number.as_f64().unwrap().trunc();
            // The most that a date can have, either way: 100,000,000 days (ECMA-262, "Time Values and Time Range").
            if at.abs() <= 100_000_000.0 * 86_400.0 { Ok(Some(at)) } else { Err(()) }
        }
        Some(_) => Err(()),
    }
}

/// "Text; a number or boolean as its JSON text; anything else is empty."
fn text(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => claim.to_string(),
        _ => String::new(),
    }
}

/// The first of these claims that is there.
fn first<'a>(claims: &'a Value, names: &[&str]) -> &'a Value {
    names.iter().map(|name| &claims[*name]).find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

/// "Only texts count, repeats count once"; none: one empty one.
fn texts(claim: &Value, split: bool) -> Vec<String> {
    let all: Vec<String> = match claim {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(text) if split => text.split_whitespace().map(str::to_owned).collect(),
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let once: Vec<String> = all.into_iter().filter(|text| seen.insert(text.clone())).collect();
    if once.is_empty() { vec![String::new()] } else { once }
}
