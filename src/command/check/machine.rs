//! The answer of `check` for programs: JSON and CSV.

use super::{Answer, Line};
use crate::log::escape;
use crate::metrics::LoginAnswer;
use crate::observation::Showings;
use crate::snapshot::{Row, State};
use crate::time::UnixSeconds;
use serde_json::{Map, Value, json};

/// The columns of the CSV, in their order.
const COLUMNS: [&str; 23] = [
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
    "login",
    "login_role",
    "verdict",
    "verdict_reason",
    "verdict_detail",
    "accepted_until",
    "accepted_until_unix",
];

impl Answer<'_> {
    /// `tokens`, `errors`, `sources` and `summary`. Labels have their metric's names, those that the configuration adds stand in
    /// `labels`, where no name of theirs is another member's; dates are there twice, in RFC 3339 and, with `_unix` behind, in
    /// Unix seconds. What logins say stands beside the token, or beside the errors in its place.
    pub(super) fn json(&self) -> String {
        let tokens: Vec<Value> = self.lines.iter().filter_map(|line| self.token(line)).collect();
        let errors: Vec<Value> = self.lines.iter().flat_map(|line| self.errors(line)).collect();
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
                "login_refused": self.refused(),
                "login_ending": self.ending(),
                "login_undetermined": self.undetermined(),
                "sources_failed": self.snapshot.sources().iter().filter(|source| !source.up).count(),
                "exit_code": self.exit_code(),
            },
        });
        harmless(&format!("{whole:#}\n"))
    }

    fn token(&self, line: &Line<'_>) -> Option<Value> {
        let token = line.row.token()?;
        let mut object = members(line.row.labels());
        object.insert("type".into(), token.token_type.as_str().into());
        object.insert("state".into(), line.state.as_str().into());
        insert_date(&mut object, "issued_at", token.issued());
        insert_date(&mut object, "expires_at", token.expires());
        insert_date(&mut object, "not_before", token.not_before());
        object.insert("expires_in_seconds".into(), token.expires().map(|at| at.since(self.now)).into());
        object.insert("logins".into(), logins(line));
        Some(Value::Object(object))
    }

    fn errors(&self, line: &Line<'_>) -> Vec<Value> {
        let mut place = members(line.row.location());
        // The program may not read a token that the server does.
        if line.row.token().is_none() {
            place.insert("logins".into(), logins(line));
        }
        let error = |(reason, detail): (crate::observation::Reason, &str)| {
            let mut object = place.clone();
            object.insert("reason".into(), reason.as_str().into());
            object.insert("detail".into(), detail.into());
            Value::Object(object)
        };
        line.row.errors().map(error).collect()
    }

    /// A line for each token and each place of an error (RFC 4180); where there are several logins, one for each of them.
    pub(super) fn csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        text.push_str("\r\n");
        for Line { state, row, answers } in &self.lines {
            let token = row.token();
            let rfc3339 = |at: Option<UnixSeconds>| at.map(|at| at.to_string()).unwrap_or_default();
            let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
            let (issued, expires) = (token.and_then(|token| token.issued()), token.and_then(|token| token.expires()));
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
            ]
            .join(",");
            let mut push = |login: [String; 7]| {
                for part in [&*cells, ",", &login.join(","), "\r\n"] {
                    text.push_str(part);
                }
            };
            if answers.is_empty() {
                push(Default::default());
            }
            for answer in answers {
                let until = answer.until();
                let (code, words) = answer.verdict.reason().unwrap_or_default();
                push([
                    cell(&answer.login),
                    cell(&answer.role),
                    answer.verdict.code().to_owned(),
                    code.to_owned(),
                    cell(words),
                    rfc3339(until),
                    number(until.map(|at| at.0)),
                ]);
            }
        }
        text
    }
}

/// The labels that every configuration has, and in `labels` those that this one adds.
fn members<'a>(labels: impl Iterator<Item = (&'a str, std::borrow::Cow<'a, str>)>) -> Map<String, Value> {
    let (mut object, mut added) = (Map::new(), Map::new());
    for (name, value) in labels {
        let is_fixed = Showings::NAMES.contains(&name) || Row::LOCATION.contains(&name);
        let into = if is_fixed { &mut object } else { &mut added };
        into.insert(name.to_owned(), value.into_owned().into());
    }
    object.insert("labels".into(), Value::Object(added));
    object
}

fn insert_date(object: &mut Map<String, Value>, name: &str, at: Option<UnixSeconds>) {
    object.insert(name.into(), at.map(|at| at.to_string()).into());
    object.insert(format!("{name}_unix"), at.map(|at| at.0).into());
}

fn logins(line: &Line<'_>) -> Value {
    let answer = |answer: &LoginAnswer<'_>| {
        let (reason, words) = answer.verdict.reason().unzip();
        let mut object = Map::new();
        object.insert("login".into(), (&*answer.login).into());
        object.insert("role".into(), (&*answer.role).into());
        object.insert("verdict".into(), answer.verdict.code().into());
        object.insert("reason".into(), reason.into());
        object.insert("detail".into(), words.into());
        insert_date(&mut object, "accepted_from", answer.window.and_then(|window| window.from));
        insert_date(&mut object, "accepted_until", answer.until());
        Value::Object(object)
    };
    line.answers.iter().map(answer).collect::<Vec<_>>().into()
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
