//! What was found, written down.

use super::super::check::harmless;
use super::super::words::width;
use super::finding::Found;
use super::oddities::{members, oddities};
use crate::json;
use crate::jwt::{OpenedJwt, TokenType};
use crate::log::escape;
use crate::observation::without_tokens;
use crate::time::{UnixSeconds, date, from_now};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A longer value is cut.
const MAX_SHOWN: usize = 400;

/// The claims that are dates: those of RFC 7519, and those of OpenID Connect.
const DATES: [&str; 5] = ["exp", "nbf", "iat", "auth_time", "updated_at"];

/// For people.
pub(super) fn text(found: &[Found], now: UnixSeconds) -> String {
    let mut out = String::new();
    for (number, item) in found.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "{}", shown(&item.place));
        match &item.result {
            Ok(token) => write_token(token, now, &mut out),
            Err(reason) => {
                let _ = writeln!(out, "  cannot be decoded: {reason}");
            }
        }
    }
    out
}

fn write_token(token: &OpenedJwt, now: UnixSeconds, out: &mut String) {
    let kind = match (token.token_type, token.is_signed) {
        (TokenType::Jwe, _) => "JWE, encrypted",
        (TokenType::Jws, true) => "JWS, with a signature, which is neither verified nor shown",
        (TokenType::Jws, false) => "JWS, without a signature",
    };
    let _ = writeln!(out, "  {kind}; {} bytes", token.bytes);
    write_object("header", &token.header, None, out);
    if let Some(Ok(claims)) = &token.claims {
        write_object("claims", claims, Some(now), out);
    }
    let odd = oddities(token, now);
    if !odd.is_empty() {
        out.push_str("  odd\n");
    }
    for oddity in odd {
        let _ = writeln!(out, "    - {}", oddity.text);
    }
}

fn write_object(title: &str, object: &str, now: Option<UnixSeconds>, out: &mut String) {
    let _ = writeln!(out, "  {title}");
    let members: Vec<(String, String, &str)> =
        members(object).into_iter().map(|(name, value)| (shown(&name), value_in_words(value), value)).collect();
    let widest = members.iter().map(|(name, ..)| width(name)).max().unwrap_or_default().min(24);
    for (name, value, written) in members {
        let padding = widest.saturating_sub(width(&name));
        let _ = write!(out, "    {name}{:padding$}  {value}", "");
        if let Some((now, at)) = now.filter(|_| DATES.contains(&&*name)).zip(seconds(written)) {
            let _ = write!(out, "  ({}, {})", date(at), from_now(at, now));
        }
        out.push('\n');
    }
}

/// A whole or broken number of seconds that is a date.
fn seconds(written: &str) -> Option<UnixSeconds> {
    let number: f64 = written.parse().ok()?;
    #[allow(clippy::cast_possible_truncation)] // the range is looked at before
    (number.abs() <= 8.64e12).then(|| UnixSeconds(number.trunc() as i64))
}

/// A JSON value for people: a text without its quotes, everything else as JSON.
fn value_in_words(written: &str) -> String {
    match written.as_bytes().first() {
        Some(b'"') => shown(&json::string(written).unwrap_or_default()),
        Some(b'{' | b'[') => match serde_json::from_str::<Value>(written) {
            Ok(mut value) => {
                hide_tokens(&mut value);
                shown(&value.to_string())
            }
            Err(_) => "…".to_owned(),
        },
        _ => shown(written),
    }
}

/// What somebody else wrote: no token in it, no control character, and not too long.
pub(super) fn shown(text: &str) -> String {
    let text = without_tokens(text);
    let end = text.char_indices().nth(MAX_SHOWN).map_or(text.len(), |(at, _)| at);
    let kept = text.get(..end).unwrap_or_default();
    let mark = if end < text.len() { "…" } else { "" };
    format!("{}{mark}", escape(kept))
}

/// A claim may be a token itself, with its signature.
fn hide_tokens(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_tokens(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(hide_tokens),
        Value::Object(members) => {
            let old = std::mem::take(members);
            for (name, mut value) in old {
                hide_tokens(&mut value);
                members.insert(without_tokens(&name).into_owned(), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// For programs: `tokens`, each with `place` and either `error` or `type`, `header`, `claims`, `dates` and `odd`.
pub(super) fn json(found: &[Found], now: UnixSeconds) -> String {
    let object = |text: &str| {
        let mut value = serde_json::from_str::<Value>(text).unwrap_or_default();
        hide_tokens(&mut value);
        value
    };
    let token = |item: &Found| match &item.result {
        Err(reason) => json!({"place": without_tokens(&item.place), "error": reason.to_string()}),
        Ok(token) => {
            let claims = token.claims.as_ref().and_then(|claims| claims.as_ref().ok());
            let dates: serde_json::Map<String, Value> = claims
                .map(|claims| members(claims))
                .unwrap_or_default()
                .into_iter()
                .filter(|(name, _)| DATES.contains(&name.as_str()))
                .filter_map(|(name, written)| {
                    let at = seconds(written)?;
                    Some((name, json!({"rfc3339": at.to_string(), "unix": at.0, "in_seconds": at.since(now)})))
                })
                .collect();
            let odd: Vec<Value> =
                oddities(token, now).into_iter().map(|odd| json!({"code": odd.code, "text": odd.text})).collect();
            json!({
                "place": without_tokens(&item.place),
                "type": token.token_type.as_str(),
                "signed": token.is_signed,
                "bytes": token.bytes,
                "header": object(&token.header),
                "claims": claims.map(|claims| object(claims)),
                "dates": dates,
                "odd": odd,
            })
        }
    };
    let whole = json!({"tokens": found.iter().map(token).collect::<Vec<_>>()});
    harmless(&format!("{whole:#}\n"))
}
