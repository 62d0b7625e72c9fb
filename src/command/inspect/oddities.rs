//! What is odd about a token: what a careful reader would point at. None of it is a verdict on the signature.

use crate::json;
use crate::jwt::{ClaimPaths, ClaimsSet, NumericDate, OpenedJwt, TokenType};
use crate::time::{UnixSeconds, date, from_now, span};
use std::collections::BTreeSet;

/// One of them: a code for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Oddity {
    pub(super) code: &'static str,
    pub(super) text: String,
}

/// A signed token that lives longer than this is rather a password.
const LONG_LIFE: i64 = 366 * 86_400;

/// Clocks differ by so much (Kubernetes, Vault and most libraries allow a minute or two).
const CLOCK_SKEW: i64 = 60;

/// HTTP servers stop at 8 KiB of header (nginx, Apache, Node.js).
const HEADER_LIMIT: usize = 8 * 1024;

/// A number that is a date of this century in milliseconds, and of the year 33,000 in seconds.
const MILLISECONDS: std::ops::Range<i64> = 1_000_000_000_000..10_000_000_000_000;

/// All that is odd, in the order of the token.
pub(super) fn oddities(token: &OpenedJwt, now: UnixSeconds) -> Vec<Oddity> {
    let mut odd = List(Vec::new());
    odd.header(token);
    match &token.claims {
        None => odd.push("encrypted", "encrypted (JWE): its claims, and its dates, are for the recipient alone".into()),
        Some(Ok(text)) => odd.claims(text, now),
        Some(Err(fault)) => odd.push("invalid_claims", format!("the claims set (part 2) {fault}")),
    }
    if token.bytes > HEADER_LIMIT {
        let text = format!("{} bytes long: many HTTP servers refuse a header of more than 8 KiB", token.bytes);
        odd.push("large", text);
    }
    odd.0
}

struct List(Vec<Oddity>);

impl List {
    fn push(&mut self, code: &'static str, text: String) {
        self.0.push(Oddity { code, text });
    }

    fn header(&mut self, token: &OpenedJwt) {
        self.repeated(&token.header, "header");
        let members = members(&token.header);
        let member = |name: &str| members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value);
        let algorithm = member("alg").and_then(json::string);
        match algorithm.as_deref() {
            None => self.push("no_alg", "the header has no text `alg`: nobody can tell how it is signed".into()),
            Some("none") if token.is_signed => {
                self.push("alg_none_signed", "`alg` is none, and yet there is a signature".into());
            }
            Some(none) if none.eq_ignore_ascii_case("none") => {
                self.push("alg_none", format!("`alg` is {none}: it is not signed, anybody can have made it"));
            }
            Some(_) if !token.is_signed && token.token_type == TokenType::Jws => {
                self.push("no_signature", "the signature is empty, though `alg` is not none".into());
            }
            Some(_) => {}
        }
        if let Some(critical) = member("crit") {
            self.critical(critical, &member);
        }
        for (name, what) in [
            ("jwk", "a key of its own (`jwk`)"),
            ("jku", "an address for its keys (`jku`)"),
            ("x5u", "an address for its certificate (`x5u`)"),
        ] {
            if member(name).is_some() {
                self.push("own_key", format!("it brings {what}: a verifier must not trust that by itself"));
            }
        }
    }

    /// `crit` (RFC 7515, section 4.1.11).
    fn critical<'a>(&mut self, value: &str, member: &dyn Fn(&str) -> Option<&'a str>) {
        let (mut names, mut bad) = (Vec::new(), false);
        let read = json::elements(value, |element| match json::string(element) {
            Some(name) => names.push(name.into_owned()),
            None => bad = true,
        });
        if read.is_err() || bad || names.is_empty() {
            return self.push("invalid_crit", "`crit` is no list of names: every verifier has to refuse it".into());
        }
        for name in names {
            let shown = super::report::shown(&name);
            if member(&name).is_none() {
                self.push("invalid_crit", format!("`crit` names {shown}, which the header does not have"));
            } else if name != "b64" {
                let text = format!("`crit` names {shown}, which is no registered extension: most verifiers refuse it");
                self.push("unknown_crit", text);
            }
        }
    }

    fn claims(&mut self, text: &str, now: UnixSeconds) {
        self.repeated(text, "claims set");
        let Ok(claims) = ClaimsSet::of_text(text, &ClaimPaths::default()) else { return };
        let members = members(text);
        for (name, claim) in [("exp", claims.expires), ("nbf", claims.not_before), ("iat", claims.issued)] {
            let written = members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value);
            self.date(name, claim, written.unwrap_or_default());
        }
        let (expires, issued, begins) = (claims.expires.at(), claims.issued.at(), claims.not_before.at());
        match expires {
            None if claims.expires == NumericDate::Absent => {
                self.push("no_exp", "it has no `exp`: it never expires".into());
            }
            None => {}
            Some(at) if at <= now => self.push("expired", format!("it expired {}", from_now(at, now))),
            Some(_) => {}
        }
        for (name, start) in [("iat", issued), ("nbf", begins)] {
            if let (Some(start), Some(end)) = (start, expires)
                && end <= start
            {
                self.push("never_valid", format!("`exp` is not after `{name}`: it is never valid"));
            }
        }
        if let (Some(start), Some(end)) = (issued.or(begins), expires)
            && end.since(start) > LONG_LIFE
        {
            let life = span(end.since(start).unsigned_abs());
            self.push("long_lifetime", format!("it lives for {life}: rather a password than a token"));
        }
        if let Some(at) = issued.filter(|at| at.since(now) > CLOCK_SKEW) {
            self.push("issued_in_future", format!("`iat` is in the future ({})", from_now(at, now)));
        }
        if let Some(at) = begins.filter(|at| at.since(now) > 0) {
            self.push("not_yet_valid", format!("it is not valid yet: `nbf` is {}", from_now(at, now)));
        }
        let has = |name: &str| members.iter().any(|(known, _)| known == name);
        for (name, code, text) in [
            ("aud", "no_aud", "it has no `aud`: whoever trusts the issuer may take it"),
            ("iss", "no_iss", "it has no `iss`: it does not say who issued it"),
        ] {
            if !has(name) {
                self.push(code, text.into());
            }
        }
    }

    fn date(&mut self, name: &str, date_read: NumericDate, written: &str) {
        match date_read {
            NumericDate::Invalid => {
                let hint = if written.starts_with('"') { " (it is a text)" } else { "" };
                self.push("no_date", format!("`{name}` is no number of seconds that a date can have{hint}"));
            }
            NumericDate::At(at) if MILLISECONDS.contains(&at.0) => {
                let meant = date(UnixSeconds(at.0 / 1000));
                self.push("milliseconds", format!("`{name}` looks like milliseconds: {meant} may be meant"));
            }
            NumericDate::At(at) if at.0 <= 0 => {
                self.push("no_date", format!("`{name}` is {}: in 1970 or before", at.0));
            }
            NumericDate::At(_) | NumericDate::Absent => {}
        }
    }

    fn repeated(&mut self, object: &str, part: &str) {
        let (mut seen, mut told) = (BTreeSet::new(), BTreeSet::new());
        for (name, _) in members(object) {
            if !seen.insert(name.clone()) && told.insert(name.clone()) {
                let name = super::report::shown(&name);
                let text = format!("the {part} has {name} more than once: verifiers may differ in which one they take");
                self.push("repeated_member", text);
            }
        }
    }
}

/// Name and value of each member, as they are written. The text has been parsed before.
pub(super) fn members(object: &str) -> Vec<(String, &str)> {
    let mut members = Vec::new();
    let _ = json::members(object, |name, value| members.push((name.into_owned(), value)));
    members
}
