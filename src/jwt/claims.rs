//! The claims set (RFC 7519, section 4), read in one pass into what is exposed of it.

use super::JsonPointer;
use crate::json::{self, JsonFault};
use crate::time::UnixSeconds;
use std::borrow::Cow;

/// Where the claims without a registered name are looked for: the first pointer that leads to a value wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPaths {
    /// Texts split at white space, or lists.
    pub scope: Vec<JsonPointer>,
    /// Lists, or one text.
    pub role: Vec<JsonPointer>,
    /// A display name.
    pub name: Vec<JsonPointer>,
    /// An e-mail address.
    pub email: Vec<JsonPointer>,
    /// What the configuration wants besides: one value for each of them.
    pub added: Vec<JsonPointer>,
}

impl Default for ClaimPaths {
    /// `/scope` (RFC 8693, section 4.2) or `/scp`; `/roles` or `/role`; `/name` and `/email` (OpenID Connect Core, section 5.1).
    fn default() -> Self {
        let pointers = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Self {
            scope: pointers(&["/scope", "/scp"]),
            role: pointers(&["/roles", "/role"]),
            name: pointers(&["/name"]),
            email: pointers(&["/email"]),
            added: Vec::new(),
        }
    }
}

impl ClaimPaths {
    fn all(&self) -> impl Iterator<Item = &JsonPointer> {
        self.scope.iter().chain(&self.role).chain(&self.name).chain(&self.email).chain(&self.added)
    }
}

/// One of the claims `exp`, `nbf`, `iat` (RFC 7519, section 2, NumericDate), in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericDate {
    /// No such member.
    #[default]
    Absent,
    /// The member is there and is no number, or one that no date has.
    Invalid,
    /// A fraction is cut off.
    At(UnixSeconds),
}

impl NumericDate {
    /// The date, where there is one.
    #[must_use]
    pub fn at(self) -> Option<UnixSeconds> {
        match self {
            Self::At(at) => Some(at),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// A date has a year up to 275,760 either way: the range of ECMAScript's time value (ECMA-262, "Time Values and Time
    /// Range"), which is also far more than any calendar library and every server accept.
    const MOST: i64 = 8_640_000_000_000;

    fn read(value: &str) -> Self {
        let whole = match value.parse::<i64>() {
            Ok(whole) => whole,
            Err(_) if value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                #[allow(clippy::cast_possible_truncation)] // saturates, and the range is looked at below
                match value.parse::<f64>() {
                    Ok(number) if number.is_finite() => number.trunc() as i64,
                    _ => return Self::Invalid,
                }
            }
            Err(_) => return Self::Invalid,
        };
        if (-Self::MOST..=Self::MOST).contains(&whole) { Self::At(UnixSeconds(whole)) } else { Self::Invalid }
    }
}

/// What is exposed of a claims set. Texts borrow from the decoded segment where they have no escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimsSet<'a> {
    /// `exp`.
    pub expires: NumericDate,
    /// `iat`.
    pub issued: NumericDate,
    /// `nbf`.
    pub not_before: NumericDate,
    /// `iss`; empty where there is none, like all texts here.
    pub issuer: Cow<'a, str>,
    /// `sub`.
    pub subject: Cow<'a, str>,
    /// `aud`; a list is joined with commas.
    pub audience: Cow<'a, str>,
    /// `jti`.
    pub id: Cow<'a, str>,
    /// By default the claim `name`.
    pub name: Cow<'a, str>,
    /// By default the claim `email`.
    pub email: Cow<'a, str>,
    /// Each once, in the order of the token.
    pub scopes: Vec<Cow<'a, str>>,
    /// Each once, in the order of the token.
    pub roles: Vec<Cow<'a, str>>,
    /// In the order of [`ClaimPaths::added`]. A text, a number or a boolean; of a list its texts, with commas between.
    pub added: Vec<Cow<'a, str>>,
}

impl<'a> ClaimsSet<'a> {
    /// Reads the text of a claims set.
    ///
    /// # Errors
    /// Why it is no JSON object.
    pub fn of_text(text: &'a str, paths: &ClaimPaths) -> Result<Self, JsonFault> {
        Self::read(text, paths)
    }

    pub(super) fn read(text: &'a str, paths: &ClaimPaths) -> Result<Self, JsonFault> {
        let mut claims = Self::default();
        let mut audience = None;
        // What stands under the first name of each pointer, in the order of `paths.all()`.
        let mut starts: Vec<(&JsonPointer, Option<&'a str>)> = paths.all().map(|pointer| (pointer, None)).collect();
        json::members(text, |member, value| {
            // A repeated member overwrites: the last one counts.
            // As bytes, since names of the same length would be compared whole, one after the other.
            match member.as_bytes() {
                b"exp" => claims.expires = NumericDate::read(value),
                b"iat" => claims.issued = NumericDate::read(value),
                b"nbf" => claims.not_before = NumericDate::read(value),
                b"iss" => claims.issuer = scalar(value),
                b"sub" => claims.subject = scalar(value),
                b"jti" => claims.id = scalar(value),
                b"aud" => audience = Some(value),
                _ => {}
            }
            for (pointer, start) in &mut starts {
                if *pointer.first() == *member {
                    *start = Some(value);
                }
            }
        })?;
        let mut starts = starts.into_iter().map(|(_, start)| start);
        let mut first_of = |pointers: &[JsonPointer]| {
            // Every pointer takes its start, so that the next list begins at its own.
            pointers
                .iter()
                .zip(starts.by_ref())
                .fold(None, |found, (pointer, start)| found.or_else(|| start.and_then(|value| pointer.follow(value))))
        };
        let (scope, role, name, email) =
            (first_of(&paths.scope), first_of(&paths.role), first_of(&paths.name), first_of(&paths.email));
        let added = paths.added.iter().zip(starts);
        claims.added = added
            .map(|(pointer, start)| {
                start.and_then(|value| pointer.follow(value)).map(scalar_or_joined).unwrap_or_default()
            })
            .collect();
        claims.audience = audience.map(joined).unwrap_or_default();
        claims.scopes = scope.map(|value| texts(value, true)).unwrap_or_default();
        claims.roles = role.map(|value| texts(value, false)).unwrap_or_default();
        claims.name = name.map(scalar).unwrap_or_default();
        claims.email = email.map(scalar).unwrap_or_default();
        Ok(claims)
    }

    /// Whether one of the dates is there and cannot be read.
    #[must_use]
    pub fn has_invalid_date(&self) -> bool {
        [self.expires, self.issued, self.not_before].contains(&NumericDate::Invalid)
    }
}

/// A text; a number or boolean as it is written; nothing else.
fn scalar(value: &str) -> Cow<'_, str> {
    match value.as_bytes().first() {
        Some(b'"') => json::string(value).unwrap_or_default(),
        Some(b'-' | b'0'..=b'9' | b't' | b'f') => Cow::Borrowed(value),
        _ => Cow::Borrowed(""),
    }
}

/// `aud` (RFC 7519, section 4.1.3): one text, or the texts of a list with commas between them; nothing else.
fn joined(value: &str) -> Cow<'_, str> {
    if !value.starts_with('[') {
        return json::string(value).unwrap_or_default();
    }
    let mut all = String::new();
    let mut first = true;
    // The list is part of a text that has been parsed: it can only be well-formed.
    let _ = json::elements(value, |element| {
        if let Some(text) = json::string(element) {
            if !std::mem::take(&mut first) {
                all.push(',');
            }
            all.push_str(&text);
        }
    });
    Cow::Owned(all)
}

fn scalar_or_joined(value: &str) -> Cow<'_, str> {
    if value.starts_with('[') { joined(value) } else { scalar(value) }
}

/// The texts of a list, or one text (split at white space or not), each once.
fn texts(value: &str, split: bool) -> Vec<Cow<'_, str>> {
    let mut all = Vec::new();
    if value.starts_with('[') {
        let _ = json::elements(value, |element| all.extend(json::string(element)));
    } else if let Some(text) = json::string(value) {
        match text {
            text if !split => all.extend((!text.is_empty()).then_some(text)),
            Cow::Borrowed(text) => all.extend(text.split_whitespace().map(Cow::Borrowed)),
            Cow::Owned(text) => all.extend(text.split_whitespace().map(|word| Cow::Owned(word.to_owned()))),
        }
    }
    each_once(&mut all);
    all
}

/// Drops repeats and keeps the order. Lists are short, but a token may hold 100,000 texts: to search through those before would
/// make the work a square.
fn each_once(texts: &mut Vec<Cow<'_, str>>) {
    if texts.len() > 1 {
        let mut seen = std::collections::HashSet::with_capacity(texts.len());
        let fresh: Vec<bool> = texts.iter().map(|text| seen.insert(&**text)).collect();
        let mut fresh = fresh.into_iter();
        texts.retain(|_| fresh.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ClaimsSet<'_> {
        ClaimsSet::read(text, &ClaimPaths::default()).unwrap()
    }

    #[test]
    fn dates_in_every_json_type() {
        use NumericDate::{Absent, At, Invalid};
        for (value, wanted) in [
            ("1300819380", At(UnixSeconds(1_300_819_380))),
            ("1300819380.999", At(UnixSeconds(1_300_819_380))),
            ("1.30081938e9", At(UnixSeconds(1_300_819_380))),
            ("0", At(UnixSeconds(0))),
            ("-0.5", At(UnixSeconds(0))),
            ("-1", At(UnixSeconds(-1))),
            ("-1.9", At(UnixSeconds(-1))),
            ("8640000000000", At(UnixSeconds(8_640_000_000_000))),
            ("8640000000001", Invalid),
            ("-8640000000001", Invalid),
            ("9223372036854775808", Invalid),
            ("1e300", Invalid),
            ("1e999", Invalid),
            (r#""1300819380""#, Invalid),
            ("true", Invalid),
            ("null", Invalid),
            ("[1300819380]", Invalid),
            (r#"{"a":1}"#, Invalid),
        ] {
            for claim in ["exp", "iat", "nbf"] {
                let text = format!(r#"{{"{claim}":{value}}}"#);
                let claims = read(&text);
                let found = [("exp", claims.expires), ("iat", claims.issued), ("nbf", claims.not_before)];
                for (name, date) in found {
                    assert_eq!(date, if name == claim { wanted } else { Absent }, "{text} {name}");
                }
                assert_eq!(claims.has_invalid_date(), wanted == Invalid, "{text}");
            }
        }
    }

    #[test]
    fn texts_in_every_json_type() {
        for (value, wanted) in [
            (r#""a""#, "a"),
            (r#""\u0061\n""#, "a\n"),
            ("7", "7"),
            ("7.50", "7.50"),
            ("-1e3", "-1e3"),
            ("true", "true"),
            ("false", "false"),
            ("null", ""),
            ("{}", ""),
            (r#""""#, ""),
        ] {
            let text = format!(
                r#"{{"iss":{value},"sub":{value},"jti":{value},"name":{value},"email":{value},"extra":{value}}}"#
            );
            let claims = read(&text);
            for found in [&claims.issuer, &claims.subject, &claims.id, &claims.name, &claims.email] {
                assert_eq!(found, wanted, "{text}");
            }
        }
        let listed = read(r#"{"iss":["a"],"sub":["a"],"jti":["a"],"name":["a"],"email":["a"]}"#);
        assert_eq!(listed, ClaimsSet::default());
    }

    #[test]
    fn an_audience_list_is_joined() {
        for (value, wanted) in [
            (r#"["a","b"]"#, "a,b"),
            (r#"["a"]"#, "a"),
            ("[]", ""),
            (r#"["a",1,null,["x"],"b"]"#, "a,b"),
            (r#"["","b"]"#, ",b"),
            (r#""a b""#, "a b"),
            ("7", ""),
            ("true", ""),
            ("null", ""),
            ("{}", ""),
        ] {
            assert_eq!(read(&format!(r#"{{"aud":{value}}}"#)).audience, wanted, "{value}");
        }
    }

    #[test]
    fn scopes_and_roles() {
        for (text, scopes, roles) in [
            (r#"{"scope":"a  b\tc a"}"#, &["a", "b", "c"][..], &[][..]),
            (r#"{"scope":"a b"}"#, &["a", "b"], &[]),
            (r#"{"scope":["a b","c",1,"c"]}"#, &["a b", "c"], &[]),
            (r#"{"scope":""}"#, &[], &[]),
            (r#"{"scp":"x y"}"#, &["x", "y"], &[]),
            (r#"{"scp":"x","scope":["s"]}"#, &["s"], &[]),
            (r#"{"scope":null,"scp":["x"]}"#, &["x"], &[]),
            (r#"{"scope":7,"scp":["x"]}"#, &[], &[]),
            (r#"{"roles":["r","s","r",{}]}"#, &[], &["r", "s"]),
            (r#"{"roles":"one role"}"#, &[], &["one role"]),
            (r#"{"role":"r"}"#, &[], &["r"]),
            (r#"{"role":["q"],"roles":["r"]}"#, &[], &["r"]),
            (r#"{"roles":""}"#, &[], &[]),
        ] {
            let claims = read(text);
            assert_eq!(claims.scopes, scopes, "{text}");
            assert_eq!(claims.roles, roles, "{text}");
        }
    }

    #[test]
    fn the_last_of_repeated_members_counts() {
        let claims = read(r#"{"exp":1,"sub":"a","aud":"x","exp":2,"sub":"b","aud":["y"],"scope":"s","scope":"t"}"#);
        assert_eq!(claims.expires.at(), Some(UnixSeconds(2)));
        assert_eq!((&*claims.subject, &*claims.audience), ("b", "y"));
        assert_eq!(claims.scopes, ["t"]);
        assert!(!read(r#"{"exp":"x","exp":2}"#).has_invalid_date());
    }

    #[test]
    fn added_labels_take_every_type_that_is_a_text() {
        let pointers = ["/tenant/id", "/groups", "/groups/1", "/level", "/on", "/tenant", "/nothing", "/exp"];
        let added = pointers.map(|pointer| pointer.parse().unwrap()).into();
        let paths = ClaimPaths { added, ..ClaimPaths::default() };
        let text = r#"{"tenant":{"id":"t\u0031"},"groups":["a",1,"b"],"level":1.50,"on":true,"nothing":null,"exp":7,"email":"e"}"#;
        let claims = ClaimsSet::read(text, &paths).unwrap();
        assert_eq!(claims.added, ["t1", "a,b", "1", "1.50", "true", "", "", "7"]);
        assert_eq!((&*claims.email, claims.expires.at()), ("e", Some(UnixSeconds(7))));
    }

    #[test]
    fn pointers_lead_into_the_claims_set() {
        let paths = ClaimPaths {
            role: vec!["/realm_access/roles".parse().unwrap(), "/roles".parse().unwrap()],
            name: vec!["/user/0".parse().unwrap()],
            email: vec![],
            ..ClaimPaths::default()
        };
        let text = r#"{"realm_access":{"roles":["admin"]},"roles":["x"],"user":["Ann"],"email":"a@b","scope":"s"}"#;
        let claims = ClaimsSet::read(text, &paths).unwrap();
        assert_eq!(claims.roles, ["admin"]);
        assert_eq!((&*claims.name, &*claims.email), ("Ann", ""));
        assert_eq!(claims.scopes, ["s"]);
    }
}
