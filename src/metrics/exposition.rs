//! A snapshot in Prometheus' text format, streamed: no family is ever held as a whole.

use super::family::{
    EXPIRATION, EXPIRES_IN, Family, ISSUED_AT, ISSUED_AT_DOCUMENTED, ISSUED_SINCE, SCOPE_UP, SOURCE_LAST_SUCCESS,
    SOURCE_SECRETS, SOURCE_TOKENS, SOURCE_UP, TOKEN_ERROR, TOKEN_EXPIRATION, TOKEN_INFO, TOKEN_ISSUED_AT,
    TOKEN_NEVER_EXPIRES, TOKEN_NOT_BEFORE,
};
use super::own::OwnMetrics;
use super::text::Text;
use crate::jwt::TokenType;
use crate::observation::{LabelSets, TokenObservation, push_label};
use crate::snapshot::{Snapshot, SourceStatus};
use crate::time::UnixSeconds;
use std::io::{self, Write};

/// Text format 0.0.4 (Prometheus, "Exposition formats"). Version 3 of Prometheus refuses an answer without it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the part of the exposition that only a new snapshot changes: most of it.
///
/// # Errors
/// Those of `out`: a scraper that went away.
pub fn encode_lasting(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Text::new(out);
    detailed(&mut text, snapshot, EXPIRATION, &|token| token.expires().map(|at| at.0))?;
    detailed(&mut text, snapshot, ISSUED_AT, &|token| token.issued().map(|at| at.0))?;
    detailed(&mut text, snapshot, ISSUED_AT_DOCUMENTED, &|token| token.issued().map(|at| at.0))?;

    let mut info = text.family(TOKEN_INFO);
    snapshot.each_token(&mut |token| {
        let labels = [token.info(), token.location(), ",type=\"", token.token_type.as_str(), "\""];
        info.sample(&labels, 1)
    })?;
    info.end();
    dates(&mut text, snapshot, TOKEN_EXPIRATION, &|token| token.expires())?;
    dates(&mut text, snapshot, TOKEN_ISSUED_AT, &|token| token.issued())?;
    dates(&mut text, snapshot, TOKEN_NOT_BEFORE, &|token| token.not_before())?;
    let mut endless = text.family(TOKEN_NEVER_EXPIRES);
    snapshot.each_token(&mut |token| {
        if token.token_type != TokenType::Jws || token.expires().is_some() {
            return Ok(());
        }
        endless.sample(&[token.location()], 1)
    })?;
    endless.end();
    let mut errors = text.family(TOKEN_ERROR);
    for (location, reason) in snapshot.errors() {
        errors.sample(&[location, ",reason=\"", reason.as_str(), "\""], 1)?;
    }
    errors.end();

    sources(&mut text, snapshot, SOURCE_UP, &|source| Some(i64::from(source.up)))?;
    scopes(&mut text, snapshot)?;
    sources(&mut text, snapshot, SOURCE_LAST_SUCCESS, &|source| source.last_success.map(|at| at.0))?;
    sources(&mut text, snapshot, SOURCE_TOKENS, &|source| i64::try_from(source.tokens).ok())?;
    sources(&mut text, snapshot, SOURCE_SECRETS, &|source| i64::try_from(source.secrets).ok())?;
    text.end()
}

/// Writes the rest: what depends on the clock, computed from `now`, and the exporter's own families. Together with
/// [`encode_lasting`] it is the exposition, in either order.
///
/// # Errors
/// Those of `out`: a scraper that went away.
pub fn encode_passing(snapshot: &Snapshot, own: &OwnMetrics, now: UnixSeconds, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Text::new(out);
    detailed(&mut text, snapshot, EXPIRES_IN, &|token| token.expires().map(|at| at.since(now)))?;
    detailed(&mut text, snapshot, ISSUED_SINCE, &|token| token.issued().map(|at| now.since(at)))?;
    own.encode_logins(now, &mut text)?;
    own.encode(&mut text)?;
    text.end()
}

/// Writes the whole exposition.
///
/// # Errors
/// Those of `out`: a scraper that went away.
pub fn encode(snapshot: &Snapshot, own: &OwnMetrics, now: UnixSeconds, out: &mut dyn Write) -> io::Result<()> {
    encode_lasting(snapshot, out)?;
    encode_passing(snapshot, own, now, out)
}

/// Writes what still holds when it is read later, from a file: nothing that the clock makes stale, nothing of the process.
///
/// # Errors
/// Those of `out`.
pub fn encode_for_file(snapshot: &Snapshot, own: &OwnMetrics, out: &mut dyn Write) -> io::Result<()> {
    encode_lasting(snapshot, out)?;
    let mut text = Text::new(out);
    own.encode_lasting_logins(&mut text)?;
    own.encode_those(&mut text, |name| !name.starts_with("process_"))?;
    text.end()
}

/// A family with one sample per series of each token: here is where a scrape spends its time.
fn detailed(
    text: &mut Text<'_>,
    snapshot: &Snapshot,
    family: Family,
    value: &dyn Fn(&TokenObservation) -> Option<i64>,
) -> io::Result<()> {
    let mut samples = text.family(family);
    snapshot.each_detailed(&mut |token| {
        let Some(value) = value(token).filter(|_| token.series_count() > 0) else { return Ok(()) };
        samples.value(value)?;
        let LabelSets { first, head, mut others, tail } = token.label_sets();
        samples.labels(first)?;
        samples.end_sample()?;
        while let Some((one, rest)) = memchr::memchr(b'\n', others).and_then(|at| others.split_at_checked(at)) {
            others = rest.get(1..).unwrap_or_default();
            samples.labels(head)?;
            samples.labels(one)?;
            samples.labels(tail)?;
            samples.end_sample()?;
        }
        Ok(())
    })?;
    samples.end();
    Ok(())
}

/// A family with one sample per token that has the date.
fn dates(
    text: &mut Text<'_>,
    snapshot: &Snapshot,
    family: Family,
    date: &dyn Fn(&TokenObservation) -> Option<UnixSeconds>,
) -> io::Result<()> {
    let mut samples = text.family(family);
    snapshot.each_token(&mut |token| {
        let Some(date) = date(token) else { return Ok(()) };
        samples.sample(&[token.location()], date.0)
    })?;
    samples.end();
    Ok(())
}

/// The family with one sample per part of a source.
fn scopes(text: &mut Text<'_>, snapshot: &Snapshot) -> io::Result<()> {
    let mut samples = text.family(SCOPE_UP);
    for source in snapshot.sources() {
        for scope in &*source.scopes {
            let mut labels = String::new();
            push_label(&mut labels, "scope", &scope.name);
            labels.push(',');
            push_label(&mut labels, "source", &source.name);
            samples.sample(&[&labels], i64::from(scope.up))?;
        }
    }
    samples.end();
    Ok(())
}

/// A family with one sample per source.
fn sources(
    text: &mut Text<'_>,
    snapshot: &Snapshot,
    family: Family,
    value: &dyn Fn(&SourceStatus) -> Option<i64>,
) -> io::Result<()> {
    let mut samples = text.family(family);
    for source in snapshot.sources() {
        let Some(value) = value(source) else { continue };
        let mut label = String::new();
        push_label(&mut label, "source", &source.name);
        samples.sample(&[&label], value)?;
    }
    samples.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{ClaimPaths, PseudonymKey};
    use crate::metrics::BuildInfo;
    use crate::observation::{
        Bounds, DataValue, LabelMap, Logins, Observer, Reading, SecretView, Showing, Showings, TokenSeries,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::sync::Arc;

    fn token(claims: &str) -> DataValue<'static> {
        let (header, claims) = (URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), URL_SAFE_NO_PAD.encode(claims));
        DataValue::Plain(format!("{header}.{claims}.c2ln").into())
    }

    fn reading() -> Reading {
        Reading::new(ClaimPaths::default(), Bounds { max_tokens_per_secret: 32, max_series_per_token: 3 })
    }

    fn exposition(secrets: &[(&str, DataValue<'static>)], max_series: usize, labels: &[&str]) -> String {
        let labels = LabelMap::new(labels.iter().map(|name| ((*name).into(), (*name).into())).collect());
        exposition_of(secrets, max_series, Reading { secret_labels: labels, ..reading() })
    }

    fn exposition_of(secrets: &[(&str, DataValue<'static>)], max_series: usize, reading: Reading) -> String {
        let mut observer = Observer::new(reading);
        let mut held = Vec::new();
        for (name, value) in secrets {
            let DataValue::Plain(text) = value else { unreachable!() };
            let data = [("token".into(), DataValue::Plain(text.clone()))];
            let extra = observer.reading().extra_labels(|key| (key == "team").then_some("a \"b\""), Some(""));
            let view = SecretView {
                namespace: "ns",
                name,
                annotation: None,
                data: &data,
                logins: Logins::Annotation(None),
                picked: true,
                extra: &extra,
                version: 0,
            };
            held.extend(observer.observe(&view).map(Arc::new));
        }
        let source = SourceStatus {
            tried: true,
            up: true,
            last_success: Some(UnixSeconds(1_700_000_000)),
            tokens: held.iter().map(|secret| secret.tokens.len()).sum(),
            secrets: held.len(),
            ..SourceStatus::untried("kubernetes")
        };
        let own = OwnMetrics::new(BuildInfo { version: "v", revision: "r", rustc: "c" }).unwrap();
        let mut text = Vec::new();
        let snapshot = Snapshot::assemble([(&source, &held[..])], max_series);
        encode(&snapshot, &own, UnixSeconds(1_700_000_100), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        // The process differs from run to run.
        text.lines().filter(|line| !line.contains("process_")).map(|line| format!("{line}\n")).collect()
    }

    /// Golden files are rewritten with GOLDEN=rewrite in the environment.
    fn golden(name: &str, found: &str) {
        let path = format!("{}/tests/golden/exposition/{name}.prom", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite") {
            std::fs::write(&path, found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{path}");
    }

    #[test]
    fn nothing_to_show() {
        golden("empty", &exposition(&[], 100, &[]));
    }

    #[test]
    fn tokens_of_every_kind() {
        let all = r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1700003700,"iat":1699999900,"nbf":1699999901,"jti":"1",
            "name":"N \"x\" \\ \n","email":"e@x","scope":"read write","roles":["r"]}"#;
        let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP"}"#));
        let secrets = [
            ("all-claims", token(all)),
            ("broken", DataValue::Plain("hello".into())),
            ("encrypted", DataValue::Plain(jwe.into())),
            ("expired", token(r#"{"exp":1700000000}"#)),
            ("no-claims", token("{}")),
            ("odd-dates", token(r#"{"exp":"tomorrow","iat":1.5e9}"#)),
        ];
        golden("tokens", &exposition(&secrets, 100, &[]));
    }

    #[test]
    fn bounds_show() {
        let secrets = [
            ("a-joined", token(r#"{"exp":1,"roles":["r1","r2"],"scope":"a b"}"#)),
            ("b-in-full", token(r#"{"exp":2,"roles":["r1","r2"]}"#)),
            ("c-beyond", token(r#"{"exp":3,"roles":["r1","r2"]}"#)),
            ("d-beyond-and-joined", token(r#"{"exp":4,"roles":["r1","r2"],"scope":"a b"}"#)),
        ];
        golden("bounds", &exposition(&secrets, 3, &[]));
    }

    #[test]
    fn labels_of_the_configuration_stand_on_every_token_family() {
        let secrets = [
            ("all-families", token(r#"{"exp":1,"iat":2,"nbf":3,"roles":["r1","r2"]}"#)),
            ("beyond", token(r#"{"roles":["r1","r2"]}"#)),
            ("broken", DataValue::Plain("hello".into())),
        ];
        golden("extra_labels", &exposition(&secrets, 2, &["tier", "team"]));
    }

    const PERSON: &str = r#"{"iss":"i","sub":"ann","aud":["a","b"],"exp":1700003700,"iat":1699999900,"nbf":3,"jti":"1","name":"Ann",
        "email":"ann@x","scope":"read write","roles":["r","q"],"tenant":{"id":7},"groups":["g","h"]}"#;

    fn show(reading: &mut Reading, how: &Showing, names: &[&str]) {
        for name in names {
            assert!(
                reading.show.named(name).map(|showing| *showing = how.clone()).is_some()
                    || reading.secret_labels.show(name, how)
            );
        }
    }

    #[test]
    fn claims_that_the_configuration_adds_stand_on_the_series_and_on_token_info() {
        let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP"}"#));
        let secrets = [
            ("encrypted", DataValue::Plain(jwe.into())),
            ("neither", token(r#"{"exp":1,"tenant":{},"groups":{"a":1}}"#)),
            ("person", token(PERSON)),
        ];
        let mut reading = reading();
        reading.claims.added = ["/tenant/id", "/groups"].map(|pointer| pointer.parse().unwrap()).into();
        reading.show.added = ["tenant", "groups"].map(|name| (name.to_owned(), Showing::Plain)).into();
        golden("claim_labels", &exposition_of(&secrets, 100, reading));
    }

    #[test]
    fn dropped_labels_are_not_there_and_equal_samples_are_one() {
        let secrets = [("broken", DataValue::Plain("hello".into())), ("person", token(PERSON))];
        for (name, dropped) in [
            ("drop_personal", &["name", "email", "subject"][..]),
            ("drop_role", &["role"]),
            ("drop_everything", &Showings::NAMES),
        ] {
            let mut reading = reading();
            show(&mut reading, &Showing::Dropped, dropped);
            golden(name, &exposition_of(&secrets, 100, reading));
        }
        let mut reading = reading();
        reading.secret_labels = LabelMap::new(vec![("team".into(), "team".into()), ("tier".into(), "tier".into())]);
        show(&mut reading, &Showing::Dropped, &["team"]);
        golden("drop_secret_label", &exposition_of(&secrets, 100, reading));
    }

    #[test]
    fn hashed_labels_are_pseudonyms_and_nothing_stays_nothing() {
        let secrets = [
            ("joined", token(r#"{"exp":1,"sub":"ann","roles":["r","q"],"scope":"read write"}"#)),
            ("nobody", token(r#"{"exp":1}"#)),
            ("person", token(r#"{"exp":1,"sub":"ann","name":"Ann","scope":"read write"}"#)),
        ];
        let mut reading = reading();
        reading.secret_labels = LabelMap::new(vec![("team".into(), "team".into())]);
        let hashed = Showing::Hashed(PseudonymKey::new(b"0123456789abcdef").unwrap());
        show(&mut reading, &hashed, &["subject", "name", "scope", "role", "team"]);
        golden("hash", &exposition_of(&secrets, 100, reading));
    }

    #[test]
    fn compact_leaves_out_the_series_and_what_is_said_of_them() {
        let many = token(r#"{"exp":1,"roles":["1","2","3","4"]}"#);
        let secrets = [("broken", DataValue::Plain("hello".into())), ("many", many), ("person", token(PERSON))];
        let text = exposition_of(&secrets, 1, Reading { token_series: TokenSeries::Compact, ..reading() });
        assert!(!text.contains("jwt_exporter_jwt_") && !text.contains("too_many_series"), "{text}");
        golden("compact", &text);
    }

    #[test]
    fn a_scraper_that_goes_away_is_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let own = OwnMetrics::new(BuildInfo { version: "v", revision: "r", rustc: "c" }).unwrap();
        assert!(encode(&Snapshot::default(), &own, UnixSeconds(0), &mut Gone).is_err());
    }
}
