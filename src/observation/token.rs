//! What is kept of one token, in as few bytes as its samples need.

use super::{ExtraLabels, MAX_LABEL_BYTES, Reading, Showing, TokenSeries, push_label};
use crate::jwt::{ClaimsSet, TokenType, UnverifiedJwt};
use crate::prefetch::prefetch;
use crate::time::UnixSeconds;
use std::borrow::Cow;
use std::collections::HashSet;

/// The bounds that hold for each Secret and each token by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens (and errors) of one Secret beyond this are left out.
    pub max_tokens_per_secret: usize,
    /// A token with more combinations of role and scope becomes one series with joined values.
    pub max_series_per_token: usize,
}

/// One token: its labels as they go out, and its times.
///
/// The text holds, one after the other, `algorithm="…",` and the claims that the configuration adds · the labels from `audience`
/// to `name` · `role="…",scope="…",` of the first series · the location, which ends in the labels of Kubernetes objects that the
/// configuration adds · `,` and `subject` · and of each further series `role="…",scope="…",` with a line feed behind it, which no
/// escaped label contains. So the label set of the first series, of most tokens the only one, is one piece of it, that of another
/// one is three. What the configuration drops is not there.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenObservation {
    text: Box<str>,
    info_end: u32,
    head_end: u32,
    first_end: u32,
    location_end: u32,
    tail_end: u32,
    series: u32,
    /// Its roles and scopes were too many, and stand joined in one series.
    pub joined: bool,
    /// Signed or encrypted.
    pub token_type: TokenType,
    expires: Date,
    issued: Date,
    not_before: Date,
}

/// A date, or none, in eight bytes: an `Option<UnixSeconds>` has sixteen, and each token has three. None is a number that no date of a
/// token can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date(i64);

impl Date {
    const NONE: Self = Self(i64::MIN);

    fn of(date: Option<UnixSeconds>) -> Self {
        date.map_or(Self::NONE, |UnixSeconds(at)| Self(at))
    }

    fn at(self) -> Option<UnixSeconds> {
        (self != Self::NONE).then_some(UnixSeconds(self.0))
    }
}

/// The label sets of a token's series in the detailed families, in pieces.
#[derive(Clone, Copy, Debug)]
pub struct LabelSets<'a> {
    /// That of the first series.
    pub first: &'a [u8],
    /// What the others have in front of `role`.
    pub head: &'a [u8],
    /// What the others have between head and tail, each with a line feed behind.
    pub others: &'a [u8],
    /// What the others have behind `scope`.
    pub tail: &'a [u8],
}

/// The place of a token as labels, and those that the configuration adds: the same in every family that speaks of it.
#[must_use]
pub fn location(namespace: &str, name: &str, key: &str, extra: &ExtraLabels) -> String {
    let mut set = String::with_capacity(
        64 + extra.cluster().len() + namespace.len() + name.len() + key.len() + extra.as_str().len(),
    );
    set.push_str(extra.cluster());
    push_label(&mut set, "secret_key", key);
    set.push(',');
    push_label(&mut set, "secret_name", name);
    set.push(',');
    push_label(&mut set, "secret_namespace", namespace);
    set.push_str(extra.as_str());
    set
}

impl TokenObservation {
    /// Writes down what is exposed of `jwt`.
    pub(super) fn new(jwt: &UnverifiedJwt<'_>, location: &str, reading: &Reading, scratch: &mut String) -> Self {
        let (claims, show) = (&jwt.claims, &reading.show);
        let text = scratch;
        text.clear();
        show.algorithm.push(text, "algorithm", &jwt.algorithm);
        let nothing = Cow::Borrowed("");
        // A JWE has none.
        for ((name, showing), value) in show.added.iter().zip(claims.added.iter().chain(std::iter::repeat(&nothing))) {
            showing.push(text, name, value);
        }
        let info_end = text.len();
        show.audience.push(text, "audience", &claims.audience);
        show.email.push(text, "email", &claims.email);
        show.id.push(text, "id", &claims.id);
        show.issuer.push(text, "issuer", &claims.issuer);
        show.name.push(text, "name", &claims.name);
        let head_end = text.len();
        text.push_str(location);
        let location_end = text.len();
        if show.subject != Showing::Dropped {
            text.push(',');
            show.subject.push(text, "subject", &claims.subject);
            text.pop();
        }
        let tail_end = text.len();
        let (series, joined) = match reading.token_series {
            TokenSeries::Detailed => push_all_series(text, claims, reading),
            TokenSeries::Compact => (0, false),
        };
        let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (labels, series_labels) = text.split_at_checked(tail_end).unwrap_or_default();
        let (head, tail) = labels.split_at_checked(head_end).unwrap_or_default();
        let (first, others) = series_labels.split_once('\n').unwrap_or_default();
        Self {
            text: [head, first, tail, others].concat().into(),
            info_end: short(info_end),
            head_end: short(head_end),
            first_end: short(head_end + first.len()),
            location_end: short(location_end + first.len()),
            tail_end: short(tail_end + first.len()),
            series: short(series),
            joined,
            token_type: jwt.token_type,
            expires: Date::of(claims.expires.at()),
            issued: Date::of(claims.issued.at()),
            not_before: Date::of(claims.not_before.at()),
        }
    }

    /// The same at another location.
    pub(super) fn with_location(&self, location: &str) -> Self {
        let behind = self.text.get(self.location_end as usize..).unwrap_or_default();
        let location_end = self.first_end.saturating_add(u32::try_from(location.len()).unwrap_or(u32::MAX));
        Self {
            text: [self.part(0, self.first_end), location, behind].concat().into(),
            location_end,
            tail_end: location_end.saturating_add(self.tail_end.saturating_sub(self.location_end)),
            ..*self
        }
    }

    /// `exp`.
    #[must_use]
    pub fn expires(&self) -> Option<UnixSeconds> {
        self.expires.at()
    }

    /// `iat`.
    #[must_use]
    pub fn issued(&self) -> Option<UnixSeconds> {
        self.issued.at()
    }

    /// `nbf`.
    #[must_use]
    pub fn not_before(&self) -> Option<UnixSeconds> {
        self.not_before.at()
    }

    fn part(&self, from: u32, to: u32) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Has the processor fetch its whole text: it will be read soon.
    pub fn prefetch_text(&self) {
        prefetch(self.text.as_bytes());
    }

    /// The same of its location alone.
    pub fn prefetch_location(&self) {
        prefetch(self.bytes(self.first_end, self.location_end));
    }

    fn bytes(&self, from: u32, to: u32) -> &[u8] {
        self.text.as_bytes().get(from as usize..to as usize).unwrap_or_default()
    }

    /// The labels of its samples. As bytes, since to cut a text looks at what stands on both sides of the cut.
    #[must_use]
    pub fn label_sets(&self) -> LabelSets<'_> {
        LabelSets {
            first: self.bytes(0, self.tail_end),
            head: self.bytes(0, self.head_end),
            others: self.text.as_bytes().get(self.tail_end as usize..).unwrap_or_default(),
            tail: self.bytes(self.first_end, self.tail_end),
        }
    }

    /// `algorithm="…",` and the claims that the configuration adds, each with a comma behind.
    #[must_use]
    pub fn info(&self) -> &str {
        self.part(0, self.info_end)
    }

    /// [`info`](Self::info) and the labels from `audience` to `name`, each with a comma behind.
    #[must_use]
    pub fn head(&self) -> &str {
        self.part(0, self.head_end)
    }

    /// `secret_key="…",secret_name="…",secret_namespace="…"`, in front of them `secret_cluster="…",` where there are several, and the labels that the configuration adds.
    #[must_use]
    pub fn location(&self) -> &str {
        self.part(self.first_end, self.location_end)
    }

    /// The labels behind `scope`: the location, a comma, and `subject="…"`
    #[must_use]
    pub fn tail(&self) -> &str {
        self.part(self.first_end, self.tail_end)
    }

    /// Per series `role="…",scope="…",`.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        let first = (self.series > 0).then(|| self.part(self.head_end, self.first_end));
        first.into_iter().chain(self.text.get(self.tail_end as usize..).unwrap_or_default().split_terminator('\n'))
    }

    /// Everything that is kept of it as text, in which every label's value stands as it is escaped for the exposition.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many there are.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series as usize
    }
}

fn or_empty<T: AsRef<str>>(texts: &[T]) -> impl Iterator<Item = &str> + Clone {
    texts.iter().map(AsRef::as_ref).chain(texts.is_empty().then_some(""))
}

/// Drops the lines behind `from` that are there already: two texts may have been cut to the same label. How many are left.
fn each_once(text: &mut String, from: usize) -> usize {
    let lines = text.split_off(from);
    let mut seen = HashSet::new();
    text.extend(lines.split_inclusive('\n').filter(|line| seen.insert(*line)));
    seen.len()
}

/// Per role and scope that are shown a line, or one for all of them if they are too many. How many lines, and whether it is one
/// for all.
fn push_all_series(text: &mut String, claims: &ClaimsSet<'_>, reading: &Reading) -> (usize, bool) {
    // More of them would be cut off the joined label.
    const MOST_HASHED: usize = MAX_LABEL_BYTES / 16 + 1;
    let first = text.len();
    let shown = |texts: &[_], showing: &Showing| if *showing == Showing::Dropped { 0 } else { texts.len() };
    let (role, scope) = (&reading.show.role, &reading.show.scope);
    let (roles, scopes) = (shown(&claims.roles, role), shown(&claims.scopes, scope));
    let combinations = roles.max(1).saturating_mul(scopes.max(1));
    let joined = combinations > reading.bounds.max_series_per_token;
    let most = if joined { MOST_HASHED } else { usize::MAX };
    let (roles, scopes) = (role.of_texts(&claims.roles, most), scope.of_texts(&claims.scopes, most));
    let mut push = |role_text: &str, scope_text: &str| {
        for (name, showing, value) in [("role", role, role_text), ("scope", scope, scope_text)] {
            if *showing != Showing::Dropped {
                push_label(text, name, value);
                text.push(',');
            }
        }
        text.push('\n');
    };
    if joined {
        push(&roles.join(","), &scopes.join(","));
    } else {
        for scope in or_empty(&scopes) {
            for role in or_empty(&roles) {
                push(role, scope);
            }
        }
    }
    (if joined || combinations == 1 { 1 } else { each_once(text, first) }, joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::ClaimPaths;

    const BOUNDS: Bounds = Bounds { max_tokens_per_secret: 32, max_series_per_token: 4 };

    fn reading() -> Reading {
        Reading::new(ClaimPaths::default(), BOUNDS)
    }

    fn observe(claims: ClaimsSet<'_>) -> TokenObservation {
        let jwt = UnverifiedJwt { token_type: TokenType::Jws, algorithm: "RS256".into(), claims };
        TokenObservation::new(&jwt, &location("ns", "s", "k", &ExtraLabels::default()), &reading(), &mut String::new())
    }

    #[test]
    fn the_parts_add_up_to_the_labels_of_a_sample() {
        let token = observe(ClaimsSet {
            audience: "aud".into(),
            email: "e".into(),
            id: "i".into(),
            issuer: "iss".into(),
            name: "n\n".into(),
            subject: "s".into(),
            ..ClaimsSet::default()
        });
        assert!(!token.joined);
        assert_eq!(token.info(), r#"algorithm="RS256","#);
        assert_eq!(token.head(), r#"algorithm="RS256",audience="aud",email="e",id="i",issuer="iss",name="n\n","#);
        assert_eq!(token.location(), r#"secret_key="k",secret_name="s",secret_namespace="ns""#);
        assert_eq!(token.tail(), r#"secret_key="k",secret_name="s",secret_namespace="ns",subject="s""#);
        assert_eq!(token.series().collect::<Vec<_>>(), [r#"role="",scope="","#]);
    }

    #[test]
    fn beside_its_text_a_token_is_small() {
        let token =
            observe(ClaimsSet { expires: crate::jwt::NumericDate::At(UnixSeconds(-1)), ..ClaimsSet::default() });
        assert_eq!((token.expires(), token.issued(), token.not_before()), (Some(UnixSeconds(-1)), None, None));
        assert!(size_of::<TokenObservation>() <= 72, "{}", size_of::<TokenObservation>());
    }

    #[test]
    fn one_series_per_role_and_scope() {
        let texts = |texts: &[&'static str]| texts.iter().map(|text| (*text).into()).collect::<Vec<_>>();
        let token =
            observe(ClaimsSet { roles: texts(&["r", "q"]), scopes: texts(&["a", "b"]), ..ClaimsSet::default() });
        let series: Vec<_> = token.series().collect();
        assert_eq!(
            series,
            [r#"role="r",scope="a","#, r#"role="q",scope="a","#, r#"role="r",scope="b","#, r#"role="q",scope="b","#]
        );
        assert_eq!((token.series_count(), token.joined), (4, false));

        let token =
            observe(ClaimsSet { roles: texts(&["r", "q", "p"]), scopes: texts(&["a", "b"]), ..ClaimsSet::default() });
        assert_eq!(token.series().collect::<Vec<_>>(), [r#"role="r,q,p",scope="a,b","#]);
        assert_eq!((token.series_count(), token.joined), (1, true));
    }

    #[test]
    fn texts_that_are_cut_to_the_same_label_are_one_series() {
        let long = "x".repeat(600);
        let roles = vec![format!("{long}1").into(), "r".into(), format!("{long}2").into()];
        let token = observe(ClaimsSet { roles, ..ClaimsSet::default() });
        assert_eq!((token.series().count(), token.series_count()), (2, 2));
    }

    #[test]
    fn a_joined_list_does_not_need_its_full_length() {
        let scopes = (0..20_000).map(|n| format!("scope-{n}").into()).collect();
        let token = observe(ClaimsSet { scopes, ..ClaimsSet::default() });
        assert!(token.text.len() < 1_000);
    }
}
