//! Checks that both auth methods make.

use super::cidr::Cidr;
use super::claims::{Registered, ambiguous, numbers_fit};
use super::reason::{Refusal, Unknown};
use super::server::Server;
use super::token::SignedToken;
use super::verdict::{Check, Ended, Steps, Verdict};
use super::window::{Clock, Leeways};
use crate::json::{Duplicates, Value};
use crate::time::UnixSeconds;
use core::net::IpAddr;

/// What is bound, for people.
pub(super) fn written(bound: &str) -> String {
    if bound.is_empty() { "(anything)".to_owned() } else { format!("{bound:?}") }
}

fn verdict(passed: bool, refusal: Refusal) -> Verdict {
    if passed { Verdict::Accepted } else { Verdict::Refused(refusal) }
}

pub(super) fn check_source(steps: &mut Steps, cidrs: &[Cidr], source: Option<IpAddr>) -> Result<(), Ended> {
    if cidrs.is_empty() {
        return Ok(());
    }
    let verdict = match source {
        None => Verdict::Undetermined(Unknown::SourceAddress),
        Some(source) => verdict(cidrs.iter().any(|cidr| cidr.contains(source)), Refusal::CidrDenied),
    };
    let has = source.map_or_else(|| "(not known)".to_owned(), |source| source.to_string());
    let wants = steps.words(|| format!("one of {} CIDRs", cidrs.len()));
    steps.note(Check::SourceAddress, wants, has, verdict)
}

pub(super) fn note_syntax(steps: &mut Steps, read: Result<SignedToken, Refusal>) -> Result<SignedToken, Ended> {
    let (check, refusal) = match &read {
        Ok(_) => (Check::Syntax, None),
        Err(Refusal::UnsupportedAlg) => (Check::Algorithm, Some(Refusal::UnsupportedAlg)),
        Err(refusal) => (Check::Syntax, Some(*refusal)),
    };
    steps.note(check, "a signed JWT", "", refusal.map_or(Verdict::Accepted, Verdict::Refused))?;
    read.map_err(|_| Steps::nothing())
}

/// The payload as a JSON object; null stands for one without members.
pub(super) fn note_payload(steps: &mut Steps, token: &SignedToken, duplicates: Duplicates) -> Result<Value, Ended> {
    let claims = match Value::parse(&token.payload, duplicates) {
        Ok(object @ Value::Object(_)) if numbers_fit(&object) => Some(object),
        Ok(Value::Null) => Some(Value::Object(Vec::new())),
        _ => None,
    };
    let has = if claims.is_some() { "a JSON object" } else { "something else" };
    steps.note(Check::Claims, "a JSON object", has, verdict(claims.is_some(), Refusal::MalformedClaims))?;
    claims.ok_or_else(Steps::nothing)
}

/// No name differs from a registered one by case alone.
pub(super) fn note_names(steps: &mut Steps, claims: &Value, server: Server) -> Result<(), Ended> {
    match ambiguous(claims).filter(|_| server.refuses_ambiguous_claims()) {
        None => Ok(()),
        Some((name, registered)) => {
            let refused = Verdict::Refused(Refusal::AmbiguousClaim);
            steps.note(Check::Claims, format!("no other spelling of {registered}"), name, refused)
        }
    }
}

pub(super) fn note_registered(steps: &mut Steps, claims: &Value, server: Server) -> Result<Registered, Ended> {
    let read = Registered::read(claims, !server.refuses_ambiguous_claims());
    if let Err(name) = &read {
        let has = super::claims::describe(claims.member(name));
        let refused = Verdict::Refused(Refusal::MalformedClaims);
        steps.note(Check::Claims, format!("{name} of the type that RFC 7519 gives it"), has, refused)?;
    }
    read.map_err(|_| Steps::nothing())
}

pub(super) fn note_issuer(steps: &mut Steps, bound: &str, issuer: &str) -> Result<(), Ended> {
    let passed = bound.is_empty() || bound == issuer;
    let (wants, has) = (steps.words(|| written(bound)), steps.words(|| format!("{issuer:?}")));
    steps.note(Check::Issuer, wants, has, verdict(passed, Refusal::IssuerMismatch))
}

pub(super) fn note_audience(steps: &mut Steps, bound: &[String], audiences: &[String]) -> Result<(), Ended> {
    if bound.is_empty() {
        return Ok(());
    }
    let passed = bound.iter().any(|bound| audiences.contains(bound));
    let shown = |texts: &[String]| texts.iter().take(20).map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
    let (wants, has) = (steps.words(|| format!("one of {}", shown(bound))), steps.words(|| shown(audiences)));
    steps.note(Check::Audience, wants, has, verdict(passed, Refusal::AudienceMismatch))
}

pub(super) fn note_time(steps: &mut Steps, clock: Clock, registered: &Registered, leeways: Leeways) {
    let bound = |at: Option<UnixSeconds>| at.map_or_else(|| "ever".to_owned(), |at| at.to_string());
    let wants = steps.words(|| match clock.window() {
        None => "a time that no clock shows".to_owned(),
        Some(window) => {
            let skew = leeways.clock_skew();
            format!("from {} until {}, clock_skew_leeway of {skew} s included", bound(window.from), bound(window.until))
        }
    });
    let has = steps.words(|| {
        let dates = registered.dates;
        let dates = [("iat", dates.issued), ("nbf", dates.not_before), ("exp", dates.expires)];
        let present = dates.iter().filter(|(_, at)| *at != 0);
        present.map(|(name, at)| format!("{name} {}", UnixSeconds(*at))).collect::<Vec<_>>().join(", ")
    });
    steps.time(clock, wants, has);
}
