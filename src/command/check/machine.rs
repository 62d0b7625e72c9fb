//! The answer of `check` for programs: JSON and CSV.

use super::Answer;
use crate::log::escape;
use crate::snapshot::{Row, State};
use crate::time::UnixSeconds;
use serde_json::{Map, Value, json};

/// The columns of the CSV, in their order.
const COLUMNS: [&str; 16] = [
    "cluster",
    "namespace",
    "name",
    "key",
    "type",
    "algorithm",
    "issuer",
    "subject",
    "state",
    "issued_at",
    "issued_at_unix",
    "expires_at",
    "expires_at_unix",
    "expires_in_seconds",
    "reason",
    "detail",
];

impl Answer<'_> {
    /// `tokens`, `errors`, `sources` and `summary`. Labels have their metric's names; dates are there twice, in RFC 3339 and,
    /// with `_unix` behind, in Unix seconds.
    pub(super) fn json(&self) -> String {
        let tokens: Vec<Value> = self.rows.iter().filter_map(|(state, row)| self.token(*state, row)).collect();
        let errors: Vec<Value> = self.rows.iter().flat_map(|(_, row)| errors(row)).collect();
        let sources = self.snapshot.sources().iter().map(|source| {
            let scopes: Map<String, Value> =
                source.scopes.iter().map(|scope| (scope.name.to_string(), scope.up.into())).collect();
            json!({
                "name": &*source.name,
                "up": source.up,
                "failure": source.failure.as_deref(),
                "scopes": scopes,
                "secrets": source.secrets,
                "tokens": source.tokens,
            })
        });
        let counted = |state| self.count(state);
        let whole = json!({
            "tokens": tokens,
            "errors": errors,
            "sources": sources.collect::<Vec<_>>(),
            "summary": {
                "looked_at": self.now.to_string(),
                "looked_at_unix": self.now.0,
                "expiring_within_seconds": self.window,
                "tokens": self.tokens(),
                "expired": counted(State::Expired),
                "expiring": counted(State::Expiring),
                "valid": counted(State::Valid),
                "never_expires": counted(State::Never),
                "unreadable": self.troubles(),
                "sources_failed": self.snapshot.sources().iter().filter(|source| !source.up).count(),
                "exit_code": self.exit_code(),
            },
        });
        harmless(&format!("{whole:#}\n"))
    }

    fn token(&self, state: State, row: &Row<'_>) -> Option<Value> {
        let token = row.token()?;
        let mut object: Map<String, Value> =
            row.labels().map(|(name, value)| (name.to_owned(), value.into_owned().into())).collect();
        object.insert("type".into(), token.token_type.as_str().into());
        object.insert("state".into(), state.as_str().into());
        for (name, at) in [("issued_at", token.issued), ("expires_at", token.expires), ("not_before", token.not_before)]
        {
            object.insert(name.into(), at.map(|at| at.to_string()).into());
            object.insert(format!("{name}_unix"), at.map(|at| at.0).into());
        }
        object.insert("expires_in_seconds".into(), token.expires.map(|at| at.since(self.now)).into());
        Some(Value::Object(object))
    }

    /// A line for each token and each place of an error (RFC 4180).
    pub(super) fn csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        text.push_str("\r\n");
        for (state, row) in &self.rows {
            let token = row.token();
            let rfc3339 = |at: Option<UnixSeconds>| at.map(|at| at.to_string()).unwrap_or_default();
            let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
            let (issued, expires) = (token.and_then(|token| token.issued), token.and_then(|token| token.expires));
            let reasons: Vec<&str> = row.errors().map(|(reason, _)| reason.as_str()).collect();
            let details: Vec<&str> = row.errors().map(|(_, detail)| detail).collect();
            let theirs = |name: &str| cell(&row.label(name));
            let cells = [
                theirs("secret_cluster"),
                theirs("secret_namespace"),
                theirs("secret_name"),
                theirs("secret_key"),
                token.map_or("", |token| token.token_type.as_str()).to_owned(),
                theirs("algorithm"),
                theirs("issuer"),
                theirs("subject"),
                state.as_str().to_owned(),
                rfc3339(issued),
                number(issued.map(|at| at.0)),
                rfc3339(expires),
                number(expires.map(|at| at.0)),
                number(expires.map(|at| at.since(self.now))),
                cell(&reasons.join(" ")),
                cell(&details.join("; ")),
            ];
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text
    }
}

fn errors(row: &Row<'_>) -> Vec<Value> {
    let place: Map<String, Value> =
        row.location().map(|(name, value)| (name.to_owned(), value.into_owned().into())).collect();
    let error = |(reason, detail): (crate::observation::Reason, &str)| {
        let mut object = place.clone();
        object.insert("reason".into(), reason.as_str().into());
        object.insert("detail".into(), detail.into());
        Value::Object(object)
    };
    row.errors().map(error).collect()
}

/// JSON text in which no character can steer a terminal: what the encoder leaves as it is becomes `\u` and four digits. All
/// of these stand inside of texts.
pub(in crate::command) fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        let mut buffer = [0u8; 4];
        let alone: &str = character.encode_utf8(&mut buffer);
        if character != '\n' && escape(alone) != alone {
            let mut units = [0u16; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// One cell of what somebody else wrote: quoted if need be, control characters escaped, and never a formula: a spreadsheet
/// calculates what begins with one of these (OWASP, "CSV Injection"), so that a claim could run a program there.
fn cell(text: &str) -> String {
    let mut text = escape(text).into_owned();
    if text.starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        text = format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (text, cell_text) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "a\\nb"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1", "'-1"),
            ("@x,y", "\"'@x,y\""),
            ("\t=1", "\\t=1"),
            ("", ""),
        ] {
            assert_eq!(cell(text), cell_text);
        }
    }

    #[test]
    fn json_cannot_steer_a_terminal_and_means_the_same() {
        let value = json!({"a": "x\u{202e}\u{9b}\u{2028}\x7f\x1b\n\u{e000}é"});
        let text = harmless(&format!("{value:#}\n"));
        assert_eq!(escape(&text.replace('\n', "")), text.replace('\n', ""));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
