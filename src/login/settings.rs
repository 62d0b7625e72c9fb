//! Fields of `POST auth/…/config` and `…/role/:name`, taken out of a tree the way the servers' framework takes them: texts may be
//! numbers, lists may be comma-separated texts, null is as good as absent. Unknown fields are not looked at.

use super::claims::index;
use crate::json::Value;
use std::fmt;

/// Why a server would refuse to write a config or a role. [`Display`](fmt::Display) is its own sentence where it has one; values of
/// other fields are never quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// The settings themselves are no mapping.
    NoMapping,
    /// A field of another type.
    WrongType {
        /// Its name.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A rule of the server that several fields break together, or one by its value.
    Refused {
        /// The field to look at.
        field: &'static str,
        /// The server's sentence.
        reason: String,
    },
}

impl SettingsError {
    /// The field to look at; empty for the settings as a whole.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoMapping => "",
            Self::WrongType { field, .. } | Self::Refused { field, .. } => field,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMapping => f.write_str("expected a mapping of fields"),
            Self::WrongType { field, expected } => write!(f, "{field}: expected {expected}"),
            Self::Refused { field, reason } => write!(f, "{field}: {reason}"),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Shorthand for a refusal in the server's words.
pub(super) fn refused<T>(field: &'static str, reason: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError::Refused { field, reason: reason.into() })
}

/// A mapping of fields.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a>(&'a Value);

impl<'a> Settings<'a> {
    pub(super) fn new(fields: &'a Value) -> Result<Self, SettingsError> {
        if matches!(fields, Value::Object(_)) { Ok(Self(fields)) } else { Err(SettingsError::NoMapping) }
    }

    /// A field that is there and not null.
    pub(super) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.member(field).filter(|value| **value != Value::Null)
    }

    /// Whether a field is there, null or not.
    pub(super) fn names(self, field: &str) -> bool {
        self.0.member(field).is_some()
    }

    /// Empty if absent.
    pub(super) fn text(self, field: &'static str) -> Result<String, SettingsError> {
        let Some(value) = self.get(field) else { return Ok(String::new()) };
        scalar(value).ok_or(SettingsError::WrongType { field, expected: "a text" })
    }

    /// Empty if absent. A text is cut at its commas; every entry is trimmed, and may be empty.
    pub(super) fn list(self, field: &'static str) -> Result<Vec<String>, SettingsError> {
        let wrong = SettingsError::WrongType { field, expected: "a list of texts, or a text with commas" };
        let entries = match self.get(field) {
            None => Vec::new(),
            Some(Value::List(items)) => items.iter().map(scalar).collect::<Option<Vec<_>>>().ok_or(wrong)?,
            Some(Value::Object(members)) if members.is_empty() => Vec::new(),
            Some(value) => match scalar(value).ok_or(wrong)? {
                text if text.is_empty() => Vec::new(),
                text => text.split(',').map(str::to_owned).collect(),
            },
        };
        Ok(entries.into_iter().map(|entry| entry.trim().to_owned()).collect())
    }

    /// `None` if absent.
    pub(super) fn boolean(self, field: &'static str) -> Result<Option<bool>, SettingsError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let read = match value {
            Value::Boolean(value) => Some(*value),
            // Go's strconv.ParseBool, also of a number's literal.
            Value::Number(text) | Value::Text(text) => match &**text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
            _ => None,
        };
        read.map(Some).ok_or(SettingsError::WrongType { field, expected: "true or false" })
    }

    /// Whole seconds, with a sign; 0 if absent.
    pub(super) fn seconds(self, field: &'static str) -> Result<i64, SettingsError> {
        let read = match self.get(field) {
            None => Some(0),
            Some(Value::Number(literal)) => literal.parse().ok(),
            Some(Value::Text(text)) => duration(text),
            Some(_) => None,
        };
        let expected = "whole seconds, or a duration such as 90s, 1h30m or 1d";
        read.filter(|seconds: &i64| seconds.unsigned_abs() <= MAX_SECONDS)
            .ok_or(SettingsError::WrongType { field, expected })
    }

    /// A whole number; 0 if absent.
    pub(super) fn integer(self, field: &'static str) -> Result<i64, SettingsError> {
        let read = match self.get(field) {
            None => Some(0),
            Some(Value::Boolean(value)) => Some(i64::from(*value)),
            Some(Value::Text(text)) if text.is_empty() => Some(0),
            Some(Value::Text(text) | Value::Number(text)) => {
                let (sign, digits) = text.strip_prefix('-').map_or((1, &**text), |digits| (-1, digits));
                index(digits).and_then(|number| Some(sign * i64::try_from(number).ok()?))
            }
            Some(_) => None,
        };
        read.ok_or(SettingsError::WrongType { field, expected: "a whole number" })
    }

    /// A mapping, or a list of mappings, which are one then; empty if absent.
    pub(super) fn mapping(self, field: &'static str) -> Result<Vec<(String, Value)>, SettingsError> {
        let members = match self.get(field) {
            None => Some(Vec::new()),
            Some(value) => united(value),
        };
        members.ok_or(SettingsError::WrongType { field, expected: "a mapping" })
    }

    /// Pairs of texts, as a mapping or as a list of `key=value`, one an entry; sorted by key.
    pub(super) fn pairs(self, field: &'static str) -> Result<Vec<(String, String)>, SettingsError> {
        let wrong = SettingsError::WrongType { field, expected: "a mapping of texts, or a list of name=text" };
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let texts = |members: Vec<(String, Value)>| {
            members.into_iter().map(|(key, value)| Some((key, scalar(&value)?))).collect::<Option<Vec<_>>>()
        };
        let entries = match value {
            Value::List(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        };
        let pair = |entry: &Value| {
            let entry = scalar(entry)?;
            let (key, value) = entry.split_once('=').filter(|(key, _)| !key.is_empty())?;
            Some((key.to_owned(), value.to_owned()))
        };
        let mut pairs = match united(value).and_then(texts) {
            Some(pairs) => pairs,
            None => entries.iter().map(pair).collect::<Option<Vec<_>>>().ok_or(wrong)?,
        };
        // The last one of a name counts.
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|a, b| a.0 == b.0);
        Ok(pairs)
    }
}

/// A mapping, or a list of mappings as one, in which the last one of a name counts.
fn united(value: &Value) -> Option<Vec<(String, Value)>> {
    match value {
        Value::Object(members) => Some(members.clone()),
        Value::List(items) => {
            let mut all: Vec<(String, Value)> = Vec::new();
            for item in items {
                for (name, value) in if *item == Value::Null { Vec::new() } else { united(item)? } {
                    all.retain(|(known, _)| *known != name);
                    all.push((name, value));
                }
            }
            Some(all)
        }
        _ => None,
    }
}

/// What Go's time.Duration can hold.
const MAX_SECONDS: u64 = i64::MAX as u64 / 1_000_000_000;

/// A text, or what is weakly one.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(literal) => Some(literal.clone()),
        Value::Boolean(value) => Some(if *value { "1" } else { "0" }.to_owned()),
        Value::Null => Some(String::new()),
        Value::List(_) | Value::Object(_) => None,
    }
}

/// `10m`, `1h30m`, `-1.5h`, `1d`, `90`, cut to whole seconds (parseutil.ParseDurationSecond).
fn duration(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()) {
        return days.checked_mul(86_400);
    }
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1.0, rest),
        Some(rest) => (1.0, rest),
        None => (1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(end);
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let (unit, behind) = unit.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = behind;
    }
    (total <= MAX_SECONDS as f64).then_some((sign * total) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;
    use proptest::prelude::*;

    fn with<T>(json: &str, read: impl FnOnce(Settings<'_>) -> T) -> T {
        let value = Value::parse(json.as_bytes(), Duplicates::Refuse).unwrap();
        read(Settings::new(&value).unwrap())
    }

    #[test]
    fn lists_may_be_texts_with_commas() {
        for (json, wanted) in [
            (r#"{"f":["a"," b "]}"#, &["a", "b"][..]),
            (r#"{"f":" a, b,,c"}"#, &["a", "b", "", "c"]),
            (r#"{"f":""}"#, &[]),
            (r#"{"f":null}"#, &[]),
            ("{}", &[]),
            (r#"{"f":5}"#, &["5"]),
            (r#"{"f":[""]}"#, &[""]),
            (r#"{"f":{}}"#, &[]),
        ] {
            assert_eq!(with(json, |s| s.list("f")).unwrap(), wanted, "{json}");
        }
        assert!(with(r#"{"f":[{}]}"#, |s| s.list("f")).is_err());
        assert!(with(r#"{"f":{"a":"b"}}"#, |s| s.list("f")).is_err());
    }

    #[test]
    fn leeways_are_whole_seconds_or_durations() {
        for (json, wanted) in [
            ("5", Some(5)),
            ("-1", Some(-1)),
            (r#""5""#, Some(5)),
            (r#""-1""#, Some(-1)),
            (r#""10m""#, Some(600)),
            (r#""1h30m""#, Some(5_400)),
            (r#""1d""#, Some(86_400)),
            (r#""-10m""#, Some(-600)),
            (r#""1.5h""#, Some(5_400)),
            (r#""1500ms""#, Some(1)),
            (r#""""#, Some(0)),
            ("null", Some(0)),
            ("1.5", None),
            ("1e3", None),
            (r#""1.5""#, None),
            (r#""ten""#, None),
            (r#""10 m""#, None),
            (r#""1w""#, None),
            (r#""-""#, None),
            (r#""1.s""#, Some(1)),
            ("true", None),
            ("[]", None),
            ("99999999999999999", None),
        ] {
            let read = with(&format!(r#"{{"f":{json}}}"#), |s| s.seconds("f")).ok();
            assert_eq!(read, wanted, "{json}");
        }
    }

    #[test]
    fn booleans_and_pairs() {
        for (json, wanted) in [("true", Some(true)), (r#""false""#, Some(false)), ("1", Some(true)), ("null", None)] {
            assert_eq!(with(&format!(r#"{{"f":{json}}}"#), |s| s.boolean("f")), Ok(wanted), "{json}");
        }
        assert!(with(r#"{"f":"yes"}"#, |s| s.boolean("f")).is_err());
        let pairs = vec![("a".to_owned(), "x".to_owned()), ("b".to_owned(), "y".to_owned())];
        for json in [
            r#"{"f":{"b":"y","a":"x"}}"#,
            r#"{"f":["a=x","b=y"]}"#,
            r#"{"f":[{"b":"z","a":"x"},{"b":"y"}]}"#,
            r#"{"f":["b=z","a=x","b=y"]}"#,
        ] {
            assert_eq!(with(json, |s| s.pairs("f")), Ok(pairs.clone()), "{json}");
        }
        let one = vec![("a".to_owned(), "x, b=y".to_owned())];
        assert_eq!(with(r#"{"f":"a=x, b=y"}"#, |s| s.pairs("f")), Ok(one));
        for json in [r#"{"f":"=x"}"#, r#"{"f":"a"}"#, r#"{"f":{"a":["b"]}}"#, r#"{"f":5}"#] {
            assert!(with(json, |s| s.pairs("f")).is_err(), "{json}");
        }
        for (json, wanted) in [
            ("5", Some(5)),
            (r#""-5""#, Some(-5)),
            ("true", Some(1)),
            (r#""""#, Some(0)),
            (r#""0x10""#, Some(16)),
            ("5.0", None),
        ] {
            assert_eq!(with(&format!(r#"{{"f":{json}}}"#), |s| s.integer("f")).ok(), wanted, "{json}");
        }
        for number in ["2", "1.5", "1.0"] {
            assert!(with(&format!(r#"{{"f":{number}}}"#), |s| s.boolean("f")).is_err(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_duration_panics(text in "\\PC{0,20}|[0-9.+dhmsnu-]{0,40}") {
            let _ = duration(&text);
        }
    }
}
