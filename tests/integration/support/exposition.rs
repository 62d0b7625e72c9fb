//! Reads expositions in the text format, version 0.0.4, so that a test can ask for one sample by its labels:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. It trusts nothing: a line that is
//! neither a comment nor a sample is a panic, and so is a sample that stands twice.

use std::collections::{BTreeMap, BTreeSet};

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    /// A label's value; empty if it has none, as Prometheus sees it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples, in their order.
pub fn samples(exposition: &str) -> Vec<Sample> {
    let lines = exposition.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let samples: Vec<Sample> = lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect();
    let mut seen = BTreeSet::new();
    for sample in &samples {
        assert!(seen.insert((&sample.name, &sample.labels)), "a sample stands twice: {sample:?}");
    }
    samples
}

/// The samples of one name that have all these label values, in their order.
pub fn find(exposition: &str, name: &str, labels: &[(&str, &str)]) -> Vec<Sample> {
    let wanted =
        |sample: &Sample| sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == *value);
    samples(exposition).into_iter().filter(wanted).collect()
}

/// The value of the only sample of this name with these label values. Panics if there is none or more than one.
pub fn value(exposition: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = find(exposition, name, labels);
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?} in\n{exposition}");
    found[0].value
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (text, after) = quoted(after)?;
            let repeated = labels.insert(label.to_owned(), text).is_some();
            if label.is_empty() || repeated {
                return None;
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A label value after its opening quote: unescaped, and what follows its closing quote.
fn quoted(from: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = from.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &from[at + 1..])),
            '\\' => text.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            _ => text.push(character),
        }
    }
    None
}
