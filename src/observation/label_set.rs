//! Label sets in the text format, written once when a token is read and sent as they are at every scrape.
//! (Prometheus, "Exposition formats", text-based format: label values escape `\`, `"` and the line feed.)

use super::{Showing, labels};
pub use crate::jwt::without_tokens;

/// A label value longer than this is cut: claims may be megabytes, and every scrape would carry them.
pub const MAX_LABEL_BYTES: usize = 512;

/// What a cut value ends in; it counts towards [`MAX_LABEL_BYTES`].
const ELLIPSIS: &str = "…";

/// Appends `name="value"`, escaped and cut, and without a token in it.
pub fn push_label(set: &mut String, name: &str, value: &str) {
    set.push_str(name);
    set.push_str("=\"");
    push_value(set, &without_tokens(value));
    set.push('"');
}

/// The label that says in which of several clusters something is, with a comma behind it; empty where there is but one, and
/// nothing is said. What is in no cluster has an empty name.
#[must_use]
pub fn cluster_label(cluster: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(name) = cluster {
        push_label(&mut text, "secret_cluster", name);
        text.push(',');
    }
    text
}

/// Which labels of Kubernetes objects become labels of samples: `team: app.kubernetes.io/team`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    /// The name of the sample's label, the key of the object's, and how it is shown; by the name.
    entries: Vec<(String, String, Showing)>,
}

impl LabelMap {
    /// The names have to be such as Prometheus takes, each there once, and none in use otherwise.
    #[must_use]
    pub fn new(mut entries: Vec<(String, String)>) -> Self {
        entries.sort();
        Self { entries: entries.into_iter().map(|(name, key)| (name, key, Showing::Plain)).collect() }
    }

    /// Whether no label is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and keys, in the order of the names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, key, _)| (name.as_str(), key.as_str()))
    }

    /// Shows the label of this name so from now on. Whether there is one.
    pub fn show(&mut self, name: &str, how: &Showing) -> bool {
        let Some(at) = self.entries.iter().position(|(known, ..)| known == name) else { return false };
        if *how == Showing::Dropped {
            self.entries.remove(at);
        } else if let Some((.., showing)) = self.entries.get_mut(at) {
            *showing = how.clone();
        }
        true
    }

    /// The labels of an object whose label of a given key has the value that `label` tells: `,team="…"` each. Those that the
    /// object does not have are empty.
    pub fn render<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> String {
        let mut text = String::new();
        for (name, key, showing) in &self.entries {
            text.push(',');
            showing.push(&mut text, name, label(key).unwrap_or_default());
            text.pop();
        }
        text
    }
}

/// The labels that the configuration adds to every sample of a Secret, as they stand at the end of its location: first those
/// of the Secret, then those of its namespace, which alone change while the Secret does not. Each begins with a comma.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraLabels {
    cluster: String,
    text: String,
    of_namespace: usize,
}

impl ExtraLabels {
    /// Both as [`LabelMap::render`] writes them.
    #[must_use]
    pub fn new(of_secret: String, of_namespace: &str) -> Self {
        let mut text = of_secret;
        text.push_str(of_namespace);
        Self { cluster: String::new(), text, of_namespace: of_namespace.len() }
    }

    /// With the label of a cluster, as [`cluster_label`] writes it, which stands at the beginning of the location.
    #[must_use]
    pub fn in_cluster(self, label: &str) -> Self {
        Self { cluster: label.to_owned(), ..self }
    }

    /// The label of the cluster, with a comma behind it; empty without one.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The text of those at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How much of a location they are.
    #[must_use]
    pub fn length(&self) -> ExtraLength {
        let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        ExtraLength { all: short(self.text.len()), of_namespace: short(self.of_namespace) }
    }
}

/// How many bytes at the end of a location are [`ExtraLabels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraLength {
    all: u32,
    of_namespace: u32,
}

impl ExtraLength {
    /// A location without them.
    #[must_use]
    pub fn cut_off(self, location: &str) -> &str {
        cut_end(location, self.all)
    }

    /// A location without those of the namespace.
    #[must_use]
    pub fn cut_off_namespace(self, location: &str) -> &str {
        cut_end(location, self.of_namespace)
    }

    /// With others of the namespace.
    #[must_use]
    pub fn with_namespace(self, of_namespace: &str) -> Self {
        let of_namespace = u32::try_from(of_namespace.len()).unwrap_or(u32::MAX);
        Self { all: self.all.saturating_sub(self.of_namespace).saturating_add(of_namespace), of_namespace }
    }
}

fn cut_end(text: &str, length: u32) -> &str {
    let end = text.len().saturating_sub(length as usize);
    text.get(..end).unwrap_or(text)
}

fn push_value(set: &mut String, value: &str) {
    let (kept, mark) = cut(value);
    let mut rest = kept;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        let (before, special) = rest.split_at(at);
        set.push_str(before);
        set.push_str(match special.as_bytes().first() {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            _ => "\\n",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    set.push_str(rest);
    set.push_str(mark);
}

/// The part of `value` that is kept, and what follows it.
fn cut(value: &str) -> (&str, &'static str) {
    if value.len() <= MAX_LABEL_BYTES {
        return (value, "");
    }
    // A character has four bytes at most: one of these positions is the beginning of one.
    let most = MAX_LABEL_BYTES - ELLIPSIS.len();
    let kept = (most - 3..=most).rev().find_map(|end| value.get(..end));
    (kept.unwrap_or_default(), ELLIPSIS)
}

/// The value of a label in a set that [`push_label`] wrote.
#[must_use]
pub fn label_value(set: &str, name: &str) -> Option<String> {
    labels(set).find(|(known, _)| *known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(value: &str) -> String {
        let mut set = String::new();
        push_label(&mut set, "a", value);
        set
    }

    /// What a scraper makes of it.
    fn read_back(set: &str) -> String {
        label_value(set, "a").unwrap()
    }

    #[test]
    fn the_three_special_characters() {
        assert_eq!(label("a\\b\"c\nd\te"), "a=\"a\\\\b\\\"c\\nd\te\"");
        assert_eq!(label(""), "a=\"\"");
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(read_back(&label(&"x".repeat(512))).len(), 512);
        let cut = read_back(&label(&"x".repeat(513)));
        assert_eq!(cut, format!("{}…", "x".repeat(509)));
        let cut = read_back(&label(&"é".repeat(400)));
        assert_eq!(cut, format!("{}…", "é".repeat(254)));
    }

    #[test]
    fn no_token_gets_into_a_label() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
        assert_eq!(label(token), "a=\"…\"");
        assert_eq!(label(&format!("doc.json/{token}/{token}x y")), "a=\"doc.json/…/… y\"");
        assert_eq!(label(&format!("é{token}é")), "a=\"é…é\"");
        for harmless in ["eyJ", "keyJar.a.b", "eyJhbGciOiJub25lIn0", "a.eyJ.c"] {
            assert_eq!(label(harmless), format!("a=\"{harmless}\""));
        }
    }

    #[test]
    fn a_long_value_of_beginnings_of_tokens_is_read_once() {
        let begun = std::time::Instant::now();
        let beginnings = "eyJ".repeat(20_000);
        assert!(read_back(&label(&beginnings)).starts_with("eyJeyJ"));
        assert_eq!(label(&format!("{beginnings}.e30.")), "a=\"…\"");
        assert_eq!(label(&format!("{beginnings}.e30./x/{beginnings}..y")), "a=\"…/x/…\"");
        // Not bytes times beginnings: that takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn extra_labels_stand_in_the_order_of_their_names_and_those_of_the_namespace_last() {
        let map = |entries: &[(&str, &str)]| {
            LabelMap::new(entries.iter().map(|(name, key)| ((*name).into(), (*key).into())).collect())
        };
        let labels = |key: &str| match key {
            "a/team" => Some("x\"y"),
            "b/tier" => Some("eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"),
            _ => None,
        };
        let of_secret = map(&[("z", "c"), ("b_tier", "b/tier"), ("a_team", "a/team")]).render(labels);
        assert_eq!(of_secret, r#",a_team="x\"y",b_tier="…",z="""#);
        let extra = ExtraLabels::new(of_secret, r#",env="dev""#);
        assert_eq!(extra.as_str(), r#",a_team="x\"y",b_tier="…",z="",env="dev""#);
        let location = format!("secret_key=\"k\"{}", extra.as_str());
        assert_eq!(extra.length().cut_off(&location), "secret_key=\"k\"");
        assert!(extra.length().cut_off_namespace(&location).ends_with(r#",z="""#));
        let longer = r#",env="development""#;
        let location = format!("{}{longer}", extra.length().cut_off_namespace(&location));
        assert_eq!(extra.length().with_namespace(longer).cut_off(&location), "secret_key=\"k\"");
        assert_eq!(map(&[]).render(labels), "");
    }

    #[test]
    fn one_of_several_is_found_by_its_name() {
        let mut set = String::new();
        for (name, value) in [("aa", "a=\"x\",a=\"y"), ("b", ""), ("a", "\\,\n")] {
            push_label(&mut set, name, value);
            set.push(',');
        }
        assert_eq!(label_value(&set, "a").unwrap(), "\\,\n");
        assert_eq!(label_value(&set, "b").unwrap(), "");
        for (set, name) in [(set.as_str(), "c"), ("", "a"), ("a=", "a"), ("a=\"b", "a"), ("a=\"\\", "a")] {
            assert_eq!(label_value(set, name), None, "{set}");
        }
    }

    proptest! {
        #[test]
        fn values_read_back(value in "(?s).{0,300}") {
            let read = read_back(&label(&value));
            if value.len() <= MAX_LABEL_BYTES {
                prop_assert_eq!(read, value);
            } else {
                prop_assert!(read.len() <= MAX_LABEL_BYTES && read.ends_with('…'));
            }
        }
    }
}
