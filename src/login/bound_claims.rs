//! `bound_claims`: any of the values that the role binds must be any of those that the token has.

use super::claims::look_up;
use super::reason::Refusal;
use crate::json::Value;

/// How bound values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BoundClaimsType {
    /// Equal, type and all.
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// Compares one bound claim.
///
/// # Errors
/// `claim_missing`, `claim_unsupported_type`, `claim_mismatch`, `server_panic`.
pub(super) fn compare(
    claims: &Value,
    name: &str,
    bound: &Value,
    how: BoundClaimsType,
    audience_is_list: bool,
) -> Result<(), Refusal> {
    let actual = look_up(claims, name, audience_is_list).ok_or(Refusal::ClaimMissing)?;
    let actual = values(&actual).ok_or(Refusal::ClaimUnsupportedType)?;
    let bound = values(bound).ok_or(Refusal::ClaimUnsupportedType)?;
    // A number inside a list stays a float, which is never equal to the role's.
    let in_list = matches!(look_up(claims, name, audience_is_list), Some(Value::List(_)));
    for bound in bound {
        for actual in actual {
            match (how, bound, actual) {
                (BoundClaimsType::Glob, Value::Text(pattern), Value::Text(text)) => {
                    if glob(pattern, text) {
                        return Ok(());
                    }
                }
                (BoundClaimsType::Glob, ..) => {}
                // Go panics when it compares two of these.
                (_, Value::List(_), Value::List(_)) | (_, Value::Object(_), Value::Object(_)) => {
                    return Err(Refusal::ServerPanic);
                }
                (_, Value::Number(_), Value::Number(_)) if in_list => {}
                (_, bound, actual) => {
                    if bound == actual {
                        return Ok(());
                    }
                }
            }
        }
    }
    Err(Refusal::ClaimMismatch)
}

/// A value as a list: objects and null are none.
fn values(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(items) => Some(items),
        Value::Text(_) | Value::Boolean(_) | Value::Number(_) => Some(std::slice::from_ref(value)),
        Value::Null | Value::Object(_) => None,
    }
}

/// Whether a pattern with `*` for any text, also an empty one, matches from end to end. No other character is special.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.split_once(piece) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Duplicates;
    use proptest::prelude::*;

    fn held(claim: &str, bound: &str, how: BoundClaimsType) -> Result<(), Refusal> {
        let value = |json: &str| Value::parse(json.as_bytes(), Duplicates::LastWins).unwrap();
        compare(&value(&format!(r#"{{"c":{claim}}}"#)), "c", &value(bound), how, true)
    }

    #[test]
    fn any_value_equal_to_any_other_type_and_all() {
        use Refusal::{ClaimMismatch, ClaimMissing, ClaimUnsupportedType, ServerPanic};
        for (claim, bound, wanted) in [
            (r#""a""#, r#""a""#, Ok(())),
            (r#""a""#, r#""A""#, Err(ClaimMismatch)),
            (r#""a""#, r#"["b","a"]"#, Ok(())),
            (r#"["x","a"]"#, r#""a""#, Ok(())),
            (r#"["x","a"]"#, r#"["y","a"]"#, Ok(())),
            ("null", r#""a""#, Err(ClaimMissing)),
            ("true", "true", Ok(())),
            ("true", r#""true""#, Err(ClaimMismatch)),
            ("false", "0", Err(ClaimMismatch)),
            ("5", "5", Ok(())),
            ("5", r#""5""#, Err(ClaimMismatch)),
            (r#""5""#, "5", Err(ClaimMismatch)),
            ("5.9", "5", Ok(())),
            ("5", "5.0", Err(ClaimMismatch)),
            ("5.5", "5.5", Err(ClaimMismatch)),
            ("5.0", "5", Ok(())),
            ("-5.9", "-5", Ok(())),
            ("9007199254740993", "9007199254740992", Ok(())),
            ("9007199254740993", "9007199254740993", Err(ClaimMismatch)),
            ("[5]", "5", Err(ClaimMismatch)),
            ("[5]", "[5]", Err(ClaimMismatch)),
            ("5", "[4,5]", Ok(())),
            ("[]", r#""a""#, Err(ClaimMismatch)),
            (r#""a""#, "[]", Err(ClaimMismatch)),
            ("{}", r#""a""#, Err(ClaimUnsupportedType)),
            (r#""a""#, "{}", Err(ClaimUnsupportedType)),
            (r#""a""#, "null", Err(ClaimUnsupportedType)),
            ("[null]", "[null]", Ok(())),
            ("[{}]", "[{}]", Err(ServerPanic)),
            ("[[]]", "[[]]", Err(ServerPanic)),
            ("[[]]", "[{}]", Err(ClaimMismatch)),
            (r#"["a",[]]"#, r#"["a",[]]"#, Ok(())),
            ("[[],1]", r#""a""#, Err(ClaimMismatch)),
        ] {
            assert_eq!(held(claim, bound, BoundClaimsType::String), wanted, "{claim} {bound}");
        }
    }

    #[test]
    fn globs_are_stars_alone_and_anchored() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "a\nb", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a?", "ab", false),
            ("a?", "a?", true),
            (r"\*", r"\x", true),
            (r"\*", "*", false),
            ("**", "x", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
        let glob = BoundClaimsType::Glob;
        assert_eq!(held("5", r#""*""#, glob), Err(Refusal::ClaimMismatch));
        assert_eq!(held("null", r#""*""#, glob), Err(Refusal::ClaimMissing));
        assert_eq!(held(r#"[5,"ab"]"#, r#"["x","a*"]"#, glob), Ok(()));
        assert_eq!(held(r#""refs/x""#, r#""refs/*""#, BoundClaimsType::String), Err(Refusal::ClaimMismatch));
    }

    proptest! {
        /// The plain definition, which takes every way.
        #[test]
        fn globs_agree_with_their_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, _) => text.is_empty(),
                    (Some((b'*', rest)), tail) => naive(rest, text) || tail.is_some_and(|(_, tail)| naive(pattern, tail)),
                    (Some((a, rest)), Some((b, tail))) => a == b && naive(rest, tail),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(glob(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
