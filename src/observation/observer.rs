//! From a Secret to what is kept of it.

use super::document::{self, DocumentFault};
use super::findings::Findings;
use super::label_set::without_tokens;
use super::view::ValueFault;
use super::{
    Bounds, DataValue, ExtraLabels, FileView, LabelMap, Logins, MAX_VALUE_BYTES, Reason, SecretObservation, SecretView,
    Showings, TokenSeries,
};
use crate::jwt::{ClaimPaths, Decoder, looks_like_jwt, without_decoration};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use zeroize::Zeroize as _;

/// How tokens are read: the part of the configuration that this room needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Where the claims without a registered name stand.
    pub claims: ClaimPaths,
    /// What one Secret may cost us.
    pub bounds: Bounds,
    /// The label of the cluster, as [`cluster_label`](super::cluster_label) writes it.
    pub cluster: String,
    /// The names of the logins that tokens can be held against. Without any, no token is kept whole.
    pub logins: Arc<[String]>,
    /// Labels of the Secret that stand on its samples.
    pub secret_labels: LabelMap,
    /// Labels of its namespace that do.
    pub namespace_labels: LabelMap,
    /// How the labels made of a token are shown.
    pub show: Showings,
    /// Whether it has the series of the reference's families.
    pub token_series: TokenSeries,
}

impl Reading {
    /// With no labels but the fixed ones.
    #[must_use]
    pub fn new(claims: ClaimPaths, bounds: Bounds) -> Self {
        let (secret_labels, namespace_labels) = (LabelMap::default(), LabelMap::default());
        let (show, token_series) = (Showings::default(), TokenSeries::default());
        Self {
            claims,
            bounds,
            cluster: String::new(),
            logins: Arc::default(),
            secret_labels,
            namespace_labels,
            show,
            token_series,
        }
    }

    /// The labels for a Secret whose label of a given key has the value that `of_secret` tells, and those of its namespace as
    /// [`LabelMap::render`] writes them; empty ones where nothing is known of it.
    pub fn extra_labels<'l>(
        &self,
        of_secret: impl Fn(&str) -> Option<&'l str>,
        of_namespace: Option<&str>,
    ) -> ExtraLabels {
        let of_secret = self.secret_labels.render(of_secret);
        let labels = match of_namespace {
            Some(of_namespace) => ExtraLabels::new(of_secret, of_namespace),
            None => ExtraLabels::new(of_secret, &self.namespace_labels.render(|_| None)),
        };
        labels.in_cluster(&self.cluster)
    }
}

/// Looks into one Secret after the other. It owns the buffers, so that a Secret costs no allocation but for what is kept.
pub struct Observer {
    reading: Reading,
    decoder: Decoder,
    value: Vec<u8>,
    text: String,
}

impl Observer {
    /// An observer with empty buffers.
    #[must_use]
    pub fn new(reading: Reading) -> Self {
        Self { reading, decoder: Decoder::default(), value: Vec::new(), text: String::new() }
    }

    /// How it reads.
    #[must_use]
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What is to be kept of `secret`: `None` if it holds no token and nobody said that it should.
    ///
    /// The annotation names the data keys; without it every value that looks like a token is read, and every document
    /// is searched for some.
    pub fn observe(&mut self, secret: &SecretView<'_>) -> Option<SecretObservation> {
        let mut found = Findings::new(secret, &self.reading);
        let mut keys = secret.annotation.into_iter().flat_map(named_keys).peekable();
        let annotated = keys.peek().is_some();
        for key in keys {
            // Each costs one of the places, and an annotation names tens of thousands.
            if found.overflown {
                break;
            }
            match secret.data.iter().find(|(name, _)| name == key) {
                Some((_, value)) => self.read(key, value, true, &mut found),
                None => found.error(key, Reason::MissingKey, missing_key(secret)),
            }
        }
        if !annotated {
            for (key, value) in secret.data.iter().filter(|(_, value)| value.is_worth_a_look()) {
                self.read(key, value, false, &mut found);
            }
        }
        if found.is_empty() {
            if !secret.picked {
                return None;
            }
            found.error("", Reason::NoToken, no_token(secret));
        }
        Some(found.into_observation(secret))
    }

    /// What is to be kept of a file: `None` if there is no token in it and nobody said that there should be.
    pub fn observe_file(&mut self, file: &FileView<'_>) -> Option<SecretObservation> {
        let data = [(file.key.into(), DataValue::Bytes(file.bytes))];
        let view = SecretView {
            namespace: "",
            name: file.path,
            annotation: None,
            data: &data,
            logins: Logins::Annotation(None),
            picked: file.named,
            extra: &self.reading.extra_labels(|_| None, None),
            version: file.version,
        };
        let mut found = Findings::new(&view, &self.reading);
        for (key, value) in data.iter().filter(|(_, value)| file.named || value.is_worth_a_look()) {
            self.read(key, value, file.named, &mut found);
        }
        (!found.is_empty()).then(|| found.into_observation(&view))
    }

    /// Reads one value, and keeps the tokens in it that have a login. Only a `wanted` one, named by somebody, is an error if it holds no token.
    fn read(&mut self, key: &str, value: &DataValue<'_>, wanted: bool, found: &mut Findings<'_>) {
        let Self { reading, decoder, value: buffer, text } = self;
        found.keep_of(key);
        let bytes = match value.bytes(buffer) {
            Ok(bytes) => bytes,
            Err(fault) => {
                if wanted {
                    let (reason, detail) = value_fault(&fault);
                    found.error(key, reason, detail);
                }
                return;
            }
        };
        let bare = without_decoration(bytes);
        let mut not_a_token = None;
        if wanted || looks_like_jwt(bare) {
            match decoder.decode(bare, &reading.claims) {
                Ok(jwt) => return found.token(key, &jwt, reading, bare, text),
                Err(error) => not_a_token = Some(error),
            }
        }
        let before = found.len();
        let end = document::search(bare, &mut |pointer, value| {
            let place = format!("{key}{pointer}");
            match decoder.decode(value, &reading.claims) {
                Ok(jwt) => found.token(&place, &jwt, reading, without_decoration(value), text),
                Err(error) => found.decode_error(&place, without_decoration(value), &error),
            }
            if found.overflown { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match (end, not_a_token) {
            (Err(DocumentFault::NoDocument), Some(error)) => found.decode_error(key, bare, &error),
            (Err(fault), _) if wanted => found.error(key, Reason::InvalidDocument, fault.to_string()),
            (Ok(()), _) if wanted && found.len() == before => {
                found.error(key, Reason::NoToken, "the document holds no token".into());
            }
            _ => {}
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// The data keys of an annotation, each once.
fn named_keys(annotation: &str) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    annotation.split(',').map(str::trim).filter(move |key| !key.is_empty() && seen.insert(*key))
}

fn value_fault(fault: &ValueFault) -> (Reason, String) {
    match fault {
        ValueFault::TooLarge { bytes } => {
            (Reason::TooLarge, format!("{bytes} bytes are more than the {MAX_VALUE_BYTES} that are looked into"))
        }
        ValueFault::NotBase64 => (Reason::NotAJwt, "the value under `data` is not base64".into()),
    }
}

fn missing_key(secret: &SecretView<'_>) -> String {
    format!("a data key is named that is not there; {}", keys_of(secret))
}

fn no_token(secret: &SecretView<'_>) -> String {
    format!("nothing in it looks like a token; {}", keys_of(secret))
}

fn keys_of(secret: &SecretView<'_>) -> String {
    const SHOWN: usize = 8;
    if secret.data.is_empty() {
        return "it has no data".into();
    }
    let names: Vec<_> = secret.data.iter().take(SHOWN).map(|(key, _)| without_tokens(key)).collect();
    let more = if secret.data.len() > SHOWN { ", …" } else { "" };
    format!("it has: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    fn token(claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    const BOUNDS: Bounds = Bounds { max_tokens_per_secret: 3, max_series_per_token: 4 };

    fn observe(annotation: Option<&str>, data: &[(&str, &str)], picked: bool) -> Option<SecretObservation> {
        let data: Vec<_> =
            data.iter().map(|(key, value)| ((*key).into(), DataValue::Base64(STANDARD.encode(value).into()))).collect();
        let extra = &ExtraLabels::default();
        let view = SecretView {
            namespace: "ns",
            name: "s",
            annotation,
            data: &data,
            logins: Logins::Annotation(None),
            picked,
            extra,
            version: 1,
        };
        Observer::new(Reading::new(ClaimPaths::default(), BOUNDS)).observe(&view)
    }

    /// Locations of the tokens, and locations with reasons of the errors.
    fn found(observation: &SecretObservation) -> (Vec<String>, Vec<(String, &'static str)>) {
        let key = |location: &str| {
            let rest = location.strip_prefix("secret_key=\"").unwrap();
            assert!(rest.ends_with(r#",secret_name="s",secret_namespace="ns""#), "{rest}");
            rest.split('"').next().unwrap().to_owned()
        };
        (
            observation.tokens.iter().map(|token| key(token.location())).collect(),
            observation.errors.iter().map(|error| (key(&error.location), error.reason.as_str())).collect(),
        )
    }

    fn expect(annotation: Option<&str>, data: &[(&str, &str)], tokens: &[&str], errors: &[(&str, &str)]) {
        let observation = observe(annotation, data, true).unwrap();
        let (found_tokens, found_errors) = found(&observation);
        assert_eq!(found_tokens, tokens, "{observation:?}");
        let found_errors: Vec<_> = found_errors.iter().map(|(key, reason)| (key.as_str(), *reason)).collect();
        assert_eq!(found_errors, errors, "{observation:?}");
    }

    #[test]
    fn the_annotation_names_the_keys() {
        let t = token("{}");
        expect(Some("b"), &[("a", &t), ("b", &t)], &["b"], &[]);
        expect(Some(" b , a,b,"), &[("a", &t), ("b", &t)], &["a", "b"], &[]);
        expect(Some("c,a"), &[("a", &t)], &["a"], &[("c", "missing_key")]);
        expect(Some("a"), &[], &[], &[("a", "missing_key")]);
        expect(Some(" , "), &[("a", &t)], &["a"], &[]);
    }

    #[test]
    fn without_annotation_every_value_is_looked_at() {
        let t = token("{}");
        expect(None, &[("a", &t), ("b", "password"), ("c", &format!("Bearer {t}\n"))], &["a", "c"], &[]);
        expect(None, &[("b", "password"), ("h", "www.example.com")], &[], &[("", "no_token")]);
        expect(None, &[], &[], &[("", "no_token")]);
        expect(None, &[("a", "eyJhbGciOiJub25lIn0=.e30.")], &[], &[("a", "invalid_header")]);
    }

    #[test]
    fn nobody_picked_it() {
        assert_eq!(observe(None, &[("b", "password")], false), None);
        assert_eq!(observe(None, &[("b", "{\"broken\":")], false), None);
        assert!(observe(None, &[("a", &token("{}"))], false).is_some());
        assert!(observe(Some("a"), &[], false).is_some());
    }

    #[test]
    fn every_reason_of_a_named_value() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for (value, reason) in [
            (String::new(), "no_token"),
            ("hello".into(), "not_a_jwt"),
            ("a.b".into(), "not_a_jwt"),
            (format!("{header}.e30.*"), "not_a_jwt"),
            ("e30.e30.".into(), "invalid_header"),
            (format!("{header}.W10."), "invalid_claims"),
            ("{\"a\":".into(), "invalid_document"),
            ("{\"a\":\"b\"}".into(), "no_token"),
            ("x".repeat(300_000), "too_large"),
            ("x".repeat(1_100_000), "too_large"),
        ] {
            expect(Some("k"), &[("k", &value)], &[], &[("k", reason)]);
        }
    }

    #[test]
    fn errors_beside_a_token() {
        expect(None, &[("k", &token(r#"{"exp":"soon"}"#))], &["k"], &[("k", "invalid_claims")]);
        expect(None, &[("k", &token(r#"{"roles":["1","2","3","4","5"]}"#))], &["k"], &[("k", "too_many_series")]);
        let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP"}"#));
        expect(None, &[("k", &jwe)], &["k"], &[("k", "encrypted")]);
    }

    #[test]
    fn documents_are_searched() {
        let t = token("{}");
        let document = format!(r#"{{"b":{{"c":"{t}"}},"a":"{t}","x":"eyJ4IjoxfQ.e30."}}"#);
        let errors = [("k/x", "invalid_header")];
        expect(None, &[("k", &document)], &["k/a", "k/b/c"], &errors);
        expect(Some("k"), &[("k", &document)], &["k/a", "k/b/c"], &errors);
    }

    #[test]
    fn the_documents_that_people_keep_in_secrets() {
        let t = token("{}");
        let auth = STANDARD.encode(format!("user:{t}"));
        // Kubernetes, "kubernetes.io/dockerconfigjson"; Argo CD, "Declarative Setup", clusters; OAuth 2.0, RFC 6749, 5.1.
        let login = format!(
            r#"{{"auths":{{"https://a/v1/":{{"username":"u","password":"{t}","auth":"{auth}"}},"b":{{"auth":"{auth}"}},"c":{{"identitytoken":"{t}"}}}}}}"#
        );
        let argo = format!(r#"{{"bearerToken":"{t}","tlsClientConfig":{{"insecure":false,"caData":"LS0t"}}}}"#);
        let oauth = format!(r#"{{"access_token":"{t}","expires_in":3600,"id_token":"{t}"}}"#);
        expect(
            None,
            &[(".dockerconfigjson", &login)],
            &[
                ".dockerconfigjson/auths/b/auth",
                ".dockerconfigjson/auths/c/identitytoken",
                ".dockerconfigjson/auths/https:~1~1a~1v1~1/password",
            ],
            &[],
        );
        let cluster = [("config", argo.as_str()), ("name", "a-cluster"), ("server", "https://10.0.0.1")];
        expect(None, &cluster, &["config/bearerToken"], &[]);
        expect(None, &[("answer", &oauth)], &["answer/access_token", "answer/id_token"], &[]);
        let deep = format!("{}\"{t}\"{}", "[".repeat(100), "]".repeat(100));
        expect(None, &[("deep", &deep)], &[&format!("deep{}", "/0".repeat(100))], &[]);
    }

    #[test]
    fn tokens_of_one_secret_are_bounded() {
        let t = token("{}");
        let data: Vec<(String, &str)> = (0..9).map(|n| (format!("k{n}"), t.as_str())).collect();
        let data: Vec<(&str, &str)> = data.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        expect(None, &data, &["k0", "k1", "k2"], &[("", "too_many_tokens")]);
        expect(None, &data[..3], &["k0", "k1", "k2"], &[]);
        let document = format!("[{}]", vec![format!("\"{t}\""); 1000].join(","));
        expect(Some("d"), &[("d", &document)], &["d/0", "d/1", "d/2"], &[("", "too_many_tokens")]);
        expect(
            Some("a,b,c,d"),
            &[],
            &[],
            &[("", "too_many_tokens"), ("a", "missing_key"), ("b", "missing_key"), ("c", "missing_key")],
        );
    }

    /// Of a megabyte each. With work that grows as the square of it, each takes minutes.
    #[test]
    fn the_largest_of_secrets_is_read_in_a_moment() {
        let begun = std::time::Instant::now();
        let t = token("{}");
        let many = |count, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>().join(",");
        let distinct = many(80_000, &|n| format!("k{n}"));
        let repeated = format!("{}{}", "a,".repeat(100_000), "b,".repeat(100_000));
        let data: Vec<(String, &str)> = (0..20_000).map(|n| (format!("x{n}"), "y")).collect();
        let data: Vec<(&str, &str)> = data.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        for annotation in [&distinct, &repeated] {
            assert!(!observe(Some(annotation), &data, true).unwrap().errors.is_empty());
        }
        let beginnings = "eyJ".repeat(300_000);
        let registries =
            format!(r#"{{"auths":{{"{}":{{{}}}}}}}"#, "r".repeat(400_000), many(40_000, &|n| format!(r#""{n}":{{}}"#)));
        for document in [
            format!(r#"{{"{beginnings}":"{t}"}}"#),
            token(&format!(r#"{{"sub":"{}"}}"#, "eyJ".repeat(60_000))),
            registries,
        ] {
            observe(Some("k"), &[("k", &document)], true).unwrap();
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_token_in_the_place_of_a_name_is_not_shown() {
        let secret = token(r#"{"sub":"hunter2"}"#);
        let nested = token(&format!(r#"{{"sub":"{secret}","name":"x {secret}"}}"#));
        let document = format!(r#"{{"{secret}":"{}"}}"#, token("{}"));
        for (annotation, data) in [
            (Some(secret.as_str()), vec![("a", "x")]),
            (Some("b"), vec![(secret.as_str(), "x")]),
            (None, vec![(secret.as_str(), "x")]),
            (None, vec![("k", document.as_str())]),
            (None, vec![("k", nested.as_str())]),
        ] {
            let shown = format!("{:?}", observe(annotation, &data, true).unwrap());
            let middle = secret.split('.').nth(1).unwrap();
            assert!(!shown.contains(middle) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn places_that_are_cut_to_the_same_text_count_once() {
        let (t, long) = (token("{}"), "x".repeat(600));
        for (value, found) in [(t.as_str(), (1, 0)), ("eyJ4IjoxfQ.e30.", (0, 1))] {
            let document = format!(r#"{{"{long}1":"{value}","{long}2":"{value}"}}"#);
            let observation = observe(None, &[("k", &document)], true).unwrap();
            assert_eq!((observation.tokens.len(), observation.errors.len()), found, "{observation:?}");
        }
    }

    #[test]
    fn a_repeated_place_counts_once() {
        let document = format!(r#"{{"a":"{}","a":"{}"}}"#, token(r#"{"exp":1}"#), token(r#"{"exp":2}"#));
        let observation = observe(None, &[("k", &document)], true).unwrap();
        assert_eq!(observation.tokens.len(), 1);
        assert_eq!(observation.tokens[0].expires(), Some(crate::time::UnixSeconds(2)));
    }
}
