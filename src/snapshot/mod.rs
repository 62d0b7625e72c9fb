//! Everything that a scrape needs, frozen: the poller assembles a [`Snapshot`] and publishes it whole.
//!
//! Observations are shared with the previous snapshot, so that assembling one costs a pointer per Secret.

mod row;
mod state;

pub use row::{Row, key_beside_name};
pub use state::State;

use crate::observation::{ExtraLabels, KeptToken, Reason, SecretObservation, TokenObservation};
use crate::prefetch::prefetch;
use crate::time::UnixSeconds;
use std::io;
use std::slice;
use std::sync::Arc;

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The label `source`: `kubernetes`, `manifests`.
    pub name: Arc<str>,
    /// The first try is over, well or not.
    pub tried: bool,
    /// The last try went well, in every part.
    pub up: bool,
    /// The parts that are read by themselves: the namespaces that the configuration names.
    pub scopes: Arc<[ScopeStatus]>,
    /// When a try went well last.
    pub last_success: Option<UnixSeconds>,
    /// Why the last try failed, for people.
    pub failure: Option<Arc<str>>,
    /// Tokens held now.
    pub tokens: usize,
    /// Secrets held now: those with a token, and those that should have one.
    pub secrets: usize,
}

impl SourceStatus {
    /// A source that has not been asked yet.
    #[must_use]
    pub fn untried(name: &str) -> Self {
        Self {
            name: name.into(),
            tried: false,
            up: false,
            scopes: Arc::default(),
            last_success: None,
            failure: None,
            tokens: 0,
            secrets: 0,
        }
    }
}

/// What is known of a part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeStatus {
    /// The label `scope`: a namespace.
    pub name: Arc<str>,
    /// The last try went well.
    pub up: bool,
}

/// One consistent state of all sources.
#[derive(Debug, Default)]
pub struct Snapshot {
    sources: Vec<SourceStatus>,
    secrets: Vec<Arc<SecretObservation>>,
    /// Some Secrets have the same namespace and name, in several clusters.
    has_namesakes: bool,
    /// So many tokens, from the first, have their series in the detailed families.
    detailed: usize,
    /// Whatever is missing now, it was ready before.
    ready_before: bool,
}

impl Snapshot {
    /// Puts the observations of all sources in the order of namespace and name, and those of several clusters in that of
    /// the clusters. If two sources hold a Secret of the same name in the same cluster, the one named first is shown. Tokens whose series would make a detailed family larger than `max_series`
    /// have their token samples only.
    #[must_use]
    pub fn assemble<'a>(
        sources: impl IntoIterator<Item = (&'a SourceStatus, &'a [Arc<SecretObservation>])>,
        max_series: usize,
    ) -> Self {
        let mut snapshot = Self::default();
        for (status, held) in sources {
            snapshot.sources.push(status.clone());
            snapshot.secrets.extend_from_slice(held);
        }
        // Stable, and the sources come sorted: this merges runs.
        snapshot.secrets.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cluster().cmp(b.cluster())));
        snapshot.secrets.dedup_by(|next, kept| place(next) == place(kept) && next.cluster() == kept.cluster());
        snapshot.has_namesakes =
            snapshot.secrets.iter().zip(snapshot.secrets.iter().skip(1)).any(|(one, next)| place(one) == place(next));
        let mut series = 0usize;
        snapshot.detailed = snapshot
            .tokens()
            .take_while(|token| {
                series = series.saturating_add(token.series_count());
                series <= max_series
            })
            .count();
        snapshot
    }

    /// In the order of the configuration.
    #[must_use]
    pub fn sources(&self) -> &[SourceStatus] {
        &self.sources
    }

    /// All tokens, by namespace, name, key and cluster.
    fn tokens(&self) -> impl Iterator<Item = &TokenObservation> {
        let (single, among_namesakes) = self.by_namesakes();
        single.iter().flat_map(|secret| &secret.tokens).chain(namesakes(among_namesakes).flat_map(tokens_of))
    }

    /// Calls `each` with all tokens, by namespace, name, key and cluster, until it fails. What it reads of them should be little more
    /// than their locations.
    ///
    /// # Errors
    /// The first one of `each`.
    pub fn each_token(&self, each: &mut dyn FnMut(&TokenObservation) -> io::Result<()>) -> io::Result<()> {
        self.pass(usize::MAX, TokenObservation::prefetch_location, each)
    }

    /// The same with those that have their series in the detailed families, and with their whole texts.
    ///
    /// # Errors
    /// The first one of `each`.
    pub fn each_detailed(&self, each: &mut dyn FnMut(&TokenObservation) -> io::Result<()>) -> io::Result<()> {
        self.pass(self.detailed, TokenObservation::prefetch_text, each)
    }

    /// Goes through the first `most` tokens. The processor is told of each of them a while before it is needed: three quarters of a
    /// scrape were spent waiting for a Secret, its token, and the token's text, one after the other, in each family anew.
    fn pass(
        &self,
        most: usize,
        prefetch_token: fn(&TokenObservation),
        each: &mut dyn FnMut(&TokenObservation) -> io::Result<()>,
    ) -> io::Result<()> {
        let (single, among_namesakes) = self.by_namesakes();
        let mut left = most;
        for (at, secret) in single.iter().enumerate() {
            // What is read of one says where the next one is: so each is fetched a while after the one before.
            if let Some(secret) = single.get(at + 3 * AHEAD) {
                prefetch(slice::from_ref(&secret.tokens));
            }
            if let Some(secret) = single.get(at + 2 * AHEAD) {
                prefetch(&secret.tokens);
            }
            if let Some(secret) = single.get(at + AHEAD) {
                for token in &secret.tokens {
                    prefetch_token(token);
                }
            }
            for token in &secret.tokens {
                let Some(less) = left.checked_sub(1) else { return Ok(()) };
                left = less;
                each(token)?;
            }
        }
        namesakes(among_namesakes).flat_map(tokens_of).take(left).try_for_each(each)
    }

    /// How many tokens have no series in the detailed families because of `max_series`.
    #[must_use]
    pub fn beyond_detailed(&self) -> usize {
        self.secrets.iter().map(|secret| secret.tokens.len()).sum::<usize>().saturating_sub(self.detailed)
    }

    /// One with nothing in it but tokens that somebody asks about.
    #[must_use]
    pub fn of_kept(tokens: Vec<KeptToken>) -> Self {
        let secret = SecretObservation {
            kept: tokens.into(),
            ..SecretObservation::broken("", Vec::new(), &ExtraLabels::default())
        };
        Self { secrets: vec![Arc::new(secret)], ..Self::default() }
    }

    /// The tokens with a login, by namespace, name and key.
    pub fn kept(&self) -> impl Iterator<Item = &KeptToken> {
        self.secrets.iter().flat_map(|secret| &secret.kept)
    }

    /// The Secrets, as those that are the only ones of their names, or as those that may not be.
    fn by_namesakes(&self) -> (&[Arc<SecretObservation>], &[Arc<SecretObservation>]) {
        if self.has_namesakes { (&[], &self.secrets) } else { (&self.secrets, &[]) }
    }

    /// The state of the Secret that has a token or an error at the place with these location labels: it is another one after
    /// every change.
    #[must_use]
    pub fn version_at(&self, location: &str) -> Option<u64> {
        // Behind the place stand the labels that the configuration adds.
        let is_there =
            |held: &str| held.strip_prefix(location).is_some_and(|rest| rest.is_empty() || rest.starts_with(','));
        let is_at = |secret: &&Arc<SecretObservation>| {
            secret.tokens.iter().any(|token| is_there(token.location()))
                || secret.errors.iter().any(|error| is_there(&error.location))
        };
        self.secrets.iter().find(is_at).map(|secret| secret.version)
    }

    /// Location and reason of all errors, by namespace, name, key and cluster; also of the tokens that `max_series` left out of the
    /// detailed families.
    pub fn errors(&self) -> impl Iterator<Item = (&str, Reason)> {
        let mut tokens_before = 0usize;
        let (single, among_namesakes) = self.by_namesakes();
        single.chunks(1).chain(namesakes(among_namesakes)).flat_map(move |secrets| {
            let shown = self.detailed.saturating_sub(tokens_before);
            tokens_before += secrets.iter().map(|secret| secret.tokens.len()).sum::<usize>();
            let held = secrets.iter().flat_map(|secret| &secret.errors);
            let mut errors: Vec<_> = held.map(|error| (&*error.location, error.reason)).collect();
            let before = errors.len();
            if tokens_before > self.detailed {
                // A joined token has this error by itself.
                let beyond = tokens_of(secrets).into_iter().skip(shown).filter(|token| !token.joined);
                errors.extend(beyond.map(|token| (token.location(), Reason::TooManySeries)));
            }
            if errors.len() > before || secrets.len() > 1 {
                errors.sort_unstable_by(|a, b| key(a.0).cmp(key(b.0)).then_with(|| a.cmp(b)));
            }
            errors
        })
    }

    /// Whether it is ready whatever is missing: once ready is ready from then on, also with sources that were added.
    pub fn set_ready(&mut self, ready: bool) {
        self.ready_before = ready;
    }

    /// Whether every source has finished a first try, and one of them ever went well. Without sources there is nothing to
    /// wait for.
    ///
    /// # Errors
    /// What is missing, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        if self.ready_before {
            return Ok(());
        }
        if let Some(source) = self.sources.iter().find(|source| !source.tried) {
            return Err(format!("the first poll of {} is not finished", source.name));
        }
        if self.sources.is_empty() || self.sources.iter().any(|source| source.last_success.is_some()) {
            return Ok(());
        }
        Err("no source could be read yet; the log says why".into())
    }
}

/// So many Secrets before it is needed, something is fetched: what is on its way then fits into a processor's first cache.
const AHEAD: usize = 8;

fn place(secret: &SecretObservation) -> (&str, &str) {
    (&secret.namespace, &secret.name)
}

/// Runs of Secrets of the same namespace and name.
fn namesakes(secrets: &[Arc<SecretObservation>]) -> impl Iterator<Item = &[Arc<SecretObservation>]> {
    secrets.chunk_by(|one, next| place(one) == place(next))
}

/// The tokens of such a run, by key and then by cluster.
fn tokens_of(secrets: &[Arc<SecretObservation>]) -> Vec<&TokenObservation> {
    let mut tokens: Vec<_> = secrets.iter().flat_map(|secret| &secret.tokens).collect();
    if secrets.len() > 1 {
        tokens.sort_by_key(|token| key(token.location()));
    }
    tokens
}

/// The value of `secret_key` in a location as it is written: without what is in front of it and behind.
fn key(location: &str) -> &str {
    let key = location.split_once("secret_key=\"").map_or(location, |(_, behind)| behind);
    key.split_once("\",secret_name=\"").map_or(key, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::ClaimPaths;
    use crate::observation::{Bounds, DataValue, ExtraLabels, Logins, Observer, Reading, SecretView};

    fn secret(namespace: &str, name: &str, roles: usize) -> Arc<SecretObservation> {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let roles: Vec<String> = (0..roles).map(|n| format!("\"r{n}\"")).collect();
        let claims = encode(&format!(r#"{{"roles":[{}]}}"#, roles.join(",")));
        let token = format!("{}.{claims}.", encode(r#"{"alg":"none"}"#));
        let data = [("k".into(), DataValue::Plain(token.into()))];
        let extra = &ExtraLabels::default();
        let view = SecretView {
            namespace,
            name,
            annotation: None,
            data: &data,
            logins: Logins::Annotation(None),
            picked: true,
            extra,
            version: 0,
        };
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
        Arc::new(Observer::new(Reading::new(ClaimPaths::default(), bounds)).observe(&view).unwrap())
    }

    fn status(name: &str) -> SourceStatus {
        SourceStatus::untried(name)
    }

    fn names(snapshot: &Snapshot) -> Vec<String> {
        snapshot.secrets.iter().map(|secret| format!("{}/{}", secret.namespace, secret.name)).collect()
    }

    #[test]
    fn sources_are_merged_in_order_and_the_first_one_wins() {
        let (kubernetes, manifests) = (status("kubernetes"), status("manifests"));
        let (left, right) = (
            [secret("a", "x", 1), secret("b", "y", 1)],
            [secret("a", "w", 1), secret("b", "y", 3), secret("c", "z", 1)],
        );
        let snapshot = Snapshot::assemble([(&kubernetes, &left[..]), (&manifests, &right[..])], 100);
        assert_eq!(names(&snapshot), ["a/w", "a/x", "b/y", "c/z"]);
        assert_eq!(snapshot.tokens().map(TokenObservation::series_count).sum::<usize>(), 4);
        assert_eq!(snapshot.sources().len(), 2);
    }

    /// A Secret of a cluster whose keys have a token with two roles each, but for `broken`.
    fn in_cluster(cluster: &str, keys: &[&str], broken: &[&str]) -> Arc<SecretObservation> {
        let token = "eyJhbGciOiJub25lIn0.eyJyb2xlcyI6WyJhIiwiYiJdfQ.";
        let value = |key: &&str| DataValue::Plain(if broken.contains(key) { "hello" } else { token }.into());
        let data: Vec<_> = keys.iter().map(|key| ((*key).into(), value(key))).collect();
        let bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 100 };
        let mut reading = Reading::new(ClaimPaths::default(), bounds);
        reading.cluster = crate::observation::cluster_label(Some(cluster));
        let extra = &reading.extra_labels(|_| None, None);
        let (annotation, picked, version) = (Some(&*keys.join(",")), true, 0);
        let logins = crate::observation::Logins::Annotation(None);
        let view = SecretView { namespace: "n", name: "s", annotation, data: &data, logins, picked, extra, version };
        Arc::new(Observer::new(reading).observe(&view).unwrap())
    }

    #[test]
    fn clusters_come_after_keys() {
        let place = |location: &str| {
            let labels: Vec<_> = crate::observation::labels(location).map(|(_, value)| value.into_owned()).collect();
            format!("{} {}", labels[1], labels[0])
        };
        let (a, b) = ([in_cluster("a", &["k", "m", "x"], &["x"])], [in_cluster("b", &["k", "l", "m"], &["k"])]);
        let manifest = [in_cluster("", &["m"], &[])];
        let (first, second, third) = (status("kubernetes/b"), status("kubernetes/a"), status("manifests"));
        for (most, detailed) in [(100, 5), (4, 2), (0, 0)] {
            let sources = [(&first, &b[..]), (&second, &a[..]), (&third, &manifest[..])];
            let snapshot = Snapshot::assemble(sources, most);
            let tokens: Vec<_> = snapshot.tokens().map(|token| place(token.location())).collect();
            assert_eq!(tokens, ["k a", "l b", "m ", "m a", "m b"]);
            let mut shown = Vec::new();
            let _ = snapshot.each_detailed(&mut |token| {
                shown.push(place(token.location()));
                Ok(())
            });
            assert_eq!(shown, tokens[..detailed]);
            let rows: Vec<_> = snapshot.rows().map(|row| row.location().nth(1).unwrap().1).collect();
            assert_eq!(rows, ["k", "k", "l", "m", "m", "m", "x"]);
            let errors: Vec<_> = snapshot.errors().map(|(location, reason)| (place(location), reason)).collect();
            let mut wanted: Vec<_> = tokens[detailed..].iter().map(|at| (at.clone(), Reason::TooManySeries)).collect();
            wanted.extend([("k b".to_owned(), Reason::NotAJwt), ("x a".to_owned(), Reason::NotAJwt)]);
            wanted.sort();
            assert_eq!(errors, wanted);
        }
    }

    #[test]
    fn series_are_bounded_in_all() {
        let held = [secret("a", "a", 2), secret("a", "b", 3), secret("a", "c", 1)];
        let source = status("kubernetes");
        for (most, detailed) in [(0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (6, 3), (100, 3)] {
            let snapshot = Snapshot::assemble([(&source, &held[..])], most);
            let mut shown = 0;
            let _ = snapshot.each_detailed(&mut |_| {
                shown += 1;
                Ok(())
            });
            assert_eq!(shown, detailed, "{most}");
            let beyond = snapshot.errors().filter(|(_, reason)| *reason == Reason::TooManySeries);
            assert_eq!((beyond.count(), snapshot.beyond_detailed()), (3 - detailed, 3 - detailed), "{most}");
        }
    }

    #[test]
    fn ready_once_all_were_tried_and_one_went_well() {
        let ready = |sources: &[SourceStatus]| Snapshot::assemble(sources.iter().map(|s| (s, &[][..])), 1).ready();
        let failed = SourceStatus { tried: true, ..status("kubernetes") };
        let good = SourceStatus { tried: true, up: true, last_success: Some(UnixSeconds(1)), ..status("manifests") };
        let once_good = SourceStatus { up: false, ..good.clone() };
        assert!(ready(&[]).is_ok());
        assert!(ready(&[status("kubernetes"), good.clone()]).unwrap_err().contains("kubernetes"));
        assert!(ready(std::slice::from_ref(&failed)).is_err());
        assert!(ready(&[failed.clone(), good]).is_ok());
        assert!(ready(&[failed, once_good]).is_ok());
        let untried = status("kubernetes");
        let mut later = Snapshot::assemble([(&untried, &[][..])], 1);
        assert!(later.ready().is_err());
        later.set_ready(true);
        assert!(later.ready().is_ok());
    }
}
