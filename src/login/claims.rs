//! The claims set as the servers read it: registered claims with their types, and any claim by name or by JSON pointer.

use super::reason::Refusal;
use super::window::{Dates, seconds};
use crate::json::Value;

/// RFC 7519, section 4.1.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// The registered claims that decide logins. Absent ones are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audiences: Vec<String>,
    pub(super) dates: Dates,
}

/// Whether a claim's name is a registered one in other letters. (Of the letters in them only s has a third case, U+017F.)
fn folds_to(name: &str, registered: &str) -> bool {
    let folded = name.chars().map(|c| if c == '\u{17f}' { 's' } else { c.to_ascii_lowercase() });
    folded.eq(registered.chars())
}

/// The first claim that is named like a registered one except for case.
pub(super) fn ambiguous(claims: &Value) -> Option<(&str, &'static str)> {
    let Value::Object(members) = claims else { return None };
    members.iter().find_map(|(name, _)| {
        let registered = REGISTERED.into_iter().find(|registered| name != registered && folds_to(name, registered))?;
        Some((&**name, registered))
    })
}

impl Registered {
    /// Reads them. `folding`: as older servers did, which took names of any case, the last in byte order winning.
    ///
    /// # Errors
    /// The claim that has a type which the server does not take.
    pub(super) fn read(claims: &Value, folding: bool) -> Result<Self, &'static str> {
        let claim = |name: &'static str| match claims {
            Value::Object(members) if folding => {
                let same = members.iter().filter(|(known, _)| folds_to(known, name));
                same.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, value)| value)
            }
            _ => claims.member(name),
        };
        let text = |name| match claim(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(value) => value.as_text().map(str::to_owned).ok_or(name),
        };
        let date = |name| match claim(name) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_float().map(seconds).ok_or(name),
        };
        let audiences = match claim("aud") {
            None => Vec::new(),
            Some(Value::Text(audience)) => vec![audience.clone()],
            Some(Value::List(items)) => {
                let texts = items.iter().map(|item| item.as_text().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or("aud")?
            }
            Some(_) => return Err("aud"),
        };
        text("jti")?;
        Ok(Self {
            issuer: text("iss")?,
            subject: text("sub")?,
            audiences,
            dates: Dates { expires: date("exp")?, not_before: date("nbf")?, issued: date("iat")? },
        })
    }
}

/// Whether every number can be a 64-bit float: the servers refuse claims with one that cannot.
pub(super) fn numbers_fit(value: &Value) -> bool {
    match value {
        Value::Number(literal) => literal.parse::<f64>().is_ok_and(f64::is_finite),
        Value::List(items) => items.iter().all(numbers_fit),
        Value::Object(members) => members.iter().all(|(_, value)| numbers_fit(value)),
        _ => true,
    }
}

/// Looks a claim up as `bound_claims`, `groups_claim` and `claim_mappings` do: a pointer if the name begins with a slash, else a
/// name as it stands. null is as good as absent. A number becomes the text of its whole part.
pub(super) fn look_up(claims: &Value, name: &str, audience_is_list: bool) -> Option<Value> {
    let found = match name.strip_prefix('/') {
        None => claims.member(name)?,
        Some(pointer) => follow(claims, pointer)?,
    };
    match found {
        Value::Null => None,
        Value::Number(_) => Some(Value::Number(whole(found.as_float()?))),
        Value::Text(_) if audience_is_list && name == "aud" => Some(Value::List(vec![found.clone()])),
        other => Some(other.clone()),
    }
}

/// The decimal text of a number's whole part; the smallest integer for what is too large.
fn whole(number: f64) -> String {
    seconds(number).to_string()
}

fn follow<'a>(claims: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').try_fold(claims, |value, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        match value {
            Value::Object(_) => value.member(&part),
            Value::List(items) => items.get(index(&part)?),
            _ => None,
        }
    })
}

/// An index as Go's `strconv.ParseInt` with base 0 reads it: `01` is octal, `0x1` hexadecimal, nothing is 0.
pub(super) fn index(text: &str) -> Option<usize> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Between digits, and behind a prefix, an underscore may stand.
    if digits.contains("__") || digits.starts_with('_') || digits.ends_with('_') {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let lower = lower.replace('_', "");
    let (radix, digits) = match lower.as_bytes() {
        [] => return text.is_empty().then_some(0),
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, &*lower),
    };
    let plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    // Below zero there is nothing, but a zero may have a sign.
    plain.then(|| usize::from_str_radix(digits, radix).ok())?.filter(|number| !negative || *number == 0)
}

/// The user claim.
///
/// # Errors
/// `user_claim_missing`, `user_claim_not_string`.
pub(super) fn user_claim(claims: &Value, name: &str, pointer: bool, audience_is_list: bool) -> Result<String, Refusal> {
    let found = if pointer {
        look_up(claims, name, audience_is_list)
    } else {
        claims.member(name).filter(|value| **value != Value::Null).cloned()
    };
    match found {
        None => Err(Refusal::UserClaimMissing),
        Some(Value::Text(user)) => Ok(user),
        Some(_) => Err(Refusal::UserClaimNotString),
    }
}

/// A value for people, without what it holds inside.
pub(super) fn describe(value: Option<&Value>) -> String {
    match value {
        None => "(absent)".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Boolean(value)) => value.to_string(),
        Some(Value::Number(literal)) => literal.clone(),
        Some(Value::Text(text)) => format!("{text:?}"),
        Some(Value::List(items)) => {
            let items: Vec<String> = items.iter().take(20).map(|item| describe(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::Object(_)) => "{…}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;

    fn value(json: &str) -> Value {
        Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap()
    }

    fn read(json: &str) -> Result<Registered, &'static str> {
        Registered::read(&value(json), false)
    }

    #[test]
    fn registered_claims_have_their_types() {
        for name in ["iss", "sub", "jti"] {
            for (json, sound) in
                [("\"x\"", true), ("null", true), ("5", false), ("[]", false), ("true", false), ("{}", false)]
            {
                assert_eq!(read(&format!(r#"{{"{name}":{json}}}"#)).is_ok(), sound, "{name} {json}");
            }
        }
        for (json, wanted) in [
            ("\"\"", Some(&[""][..])),
            ("[]", Some(&[])),
            (r#"["a","b"]"#, Some(&["a", "b"])),
            (r#"["a",5]"#, None),
            ("null", None),
            ("5", None),
            ("{}", None),
        ] {
            let read = read(&format!(r#"{{"aud":{json}}}"#)).ok().map(|claims| claims.audiences);
            assert_eq!(read, wanted.map(|texts| texts.iter().map(ToString::to_string).collect()), "{json}");
        }
        for name in ["exp", "nbf", "iat"] {
            for (json, sound) in
                [("5", true), ("5.9", true), ("1e3", true), ("null", true), ("\"5\"", false), ("true", false)]
            {
                assert_eq!(read(&format!(r#"{{"{name}":{json}}}"#)).is_ok(), sound, "{name} {json}");
            }
        }
        let dates = read(r#"{"exp":0.5,"nbf":-0.5,"iat":1e3}"#).unwrap().dates;
        assert_eq!(dates, Dates { expires: 0, not_before: 0, issued: 1000 });
    }

    #[test]
    fn names_that_differ_by_case() {
        for (json, wanted) in [
            (r#"{"Sub":1}"#, Some(("Sub", "sub"))),
            (r#"{"iſs":1}"#, Some(("iſs", "iss"))),
            (r#"{"EXP":1}"#, Some(("EXP", "exp"))),
            (r#"{"sub":1,"subs":1,"Name":1}"#, None),
        ] {
            assert_eq!(ambiguous(&value(json)), wanted, "{json}");
        }
        let older = Registered::read(&value(r#"{"SUB":"a","sub":"b","Iss":"c"}"#), true).unwrap();
        assert_eq!((&*older.subject, &*older.issuer), ("b", "c"));
    }

    #[test]
    fn names_and_pointers() {
        let claims = value(
            r#"{"a":{"b":[10,{"c":"x"}],"":"e","/":"slash","~":"tilde"},"a.b":"dots","https://x/y":"u","/p":"literal","":{"z":1},"n":null,"f":5.9,"g":-5.9,"h":9007199254740993,"i":1e300,"aud":"w"}"#,
        );
        let text = |json: &str| Some(value(json));
        for (name, wanted) in [
            ("/a/b/1/c", text(r#""x""#)),
            ("/a/b/01/c", text(r#""x""#)),
            ("/a/b/0x1/c", text(r#""x""#)),
            ("/a/b/0_1/c", text(r#""x""#)),
            ("/a/b/+1/c", text(r#""x""#)),
            ("/a/b/", text("10")),
            ("/a/b/-0", text("10")),
            ("/a/b/08", None),
            ("/a/b/_1", None),
            ("/a/b/0", text("10")),
            ("/a/b/-", None),
            ("/a/b/2", None),
            ("/a/b/-1", None),
            ("/a/", text(r#""e""#)),
            ("/a/~1", text(r#""slash""#)),
            ("/a/~0", text(r#""tilde""#)),
            ("/A/b", None),
            ("/", text(r#"{"z":1}"#)),
            ("/p", None),
            ("a.b", text(r#""dots""#)),
            ("https://x/y", text(r#""u""#)),
            ("n", None),
            ("/n", None),
            ("/n/x", None),
            ("f", text("5")),
            ("g", text("-5")),
            ("h", text("9007199254740992")),
            ("i", text("-9223372036854775808")),
            ("aud", text(r#"["w"]"#)),
            ("/aud", text(r#""w""#)),
        ] {
            assert_eq!(look_up(&claims, name, true), wanted, "{name}");
        }
        assert_eq!(look_up(&claims, "aud", false), text(r#""w""#));
        assert_eq!(user_claim(&claims, "/p", false, true), Ok("literal".to_owned()));
        assert_eq!(user_claim(&claims, "/p", true, true), Err(Refusal::UserClaimMissing));
        assert_eq!(user_claim(&claims, "aud", true, true), Err(Refusal::UserClaimNotString));
        assert_eq!(user_claim(&claims, "aud", false, true), Ok("w".to_owned()));
        assert_eq!(user_claim(&claims, "f", false, true), Err(Refusal::UserClaimNotString));
    }
}
