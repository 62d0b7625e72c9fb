//! A tree of YAML, read strictly: every refusal knows its key and its place.

use super::{ConfigProblem, Expected};
use crate::log::escape;
use crate::yaml::{Node, Step};

/// A mistake and the way to it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) steps: Vec<Step>,
    pub(super) problem: ConfigProblem,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    steps: Vec<Step>,
    /// `claims.scope[1]`; empty for the document.
    key: String,
}

impl<'a> Reader<'a> {
    pub(super) fn document(node: &'a Node) -> Self {
        Self { node, steps: Vec::new(), key: String::new() }
    }

    /// The refusal of this value.
    pub(super) fn refuse(&self, expected: Expected) -> Fault {
        let problem = ConfigProblem::Value { key: self.key.clone(), expected, found: describe(self.node) };
        Fault { steps: self.steps.clone(), problem }
    }

    /// The same of a value that may hold a credential by mistake: it is not quoted.
    pub(super) fn hidden_refuse(&self, expected: Expected) -> Fault {
        let found = match self.node {
            Node::Text(_) => "another text".to_owned(),
            other => describe(other),
        };
        let problem = ConfigProblem::Value { key: self.key.clone(), expected, found };
        Fault { steps: self.steps.clone(), problem }
    }

    /// A text as `read` understands it, which is not quoted in the refusal.
    pub(super) fn hidden_text<T>(&self, what: &str, read: impl Fn(&str) -> Result<T, Expected>) -> Result<T, Fault> {
        match self.node {
            Node::Text(text) => read(text).map_err(|expected| self.hidden_refuse(expected)),
            _ => Err(self.hidden_refuse(Expected::new(what))),
        }
    }

    /// A text as `read` understands it.
    pub(super) fn text<T>(&self, what: &str, read: impl Fn(&str) -> Result<T, Expected>) -> Result<T, Fault> {
        match self.node {
            Node::Text(text) => read(text).map_err(|expected| self.refuse(expected)),
            // What looks like a number to YAML is refused in the words of the text's own reader: it knows that 8080
            // wants a colon and 60 a unit.
            Node::Integer(number) => {
                let refused = read(&number.to_string()).err();
                Err(self.refuse(refused.unwrap_or_else(|| Expected::new(format!("{what}, in quotes")))))
            }
            Node::Float(_) | Node::Boolean(_) => Err(self.refuse(Expected::new(format!("{what}, in quotes")))),
            _ => Err(self.refuse(Expected::new(what))),
        }
    }

    /// `true` or `false`, and the other words that YAML 1.1 has for them, as the reference's parser reads them.
    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        match self.node {
            Node::Boolean(value) => Ok(*value),
            Node::Text(text) => match text.as_str() {
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(true),
                "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(false),
                _ => Err(self.refuse(Expected::new("true or false"))),
            },
            _ => Err(self.refuse(Expected::new("true or false"))),
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(&self, most: usize) -> Result<usize, Fault> {
        let number = if let Node::Integer(number) = self.node { usize::try_from(*number).ok() } else { None };
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| self.refuse(Expected::new(format!("a whole number from 1 to {most}"))))
    }

    /// The items of a list.
    pub(super) fn list(&self, what: &str) -> Result<Vec<Reader<'a>>, Fault> {
        let Node::List(items) = self.node else {
            let hint = if matches!(self.node, Node::Text(_)) { ", in brackets or each after a dash" } else { "" };
            return Err(self.refuse(Expected::new(format!("a list of {what}{hint}"))));
        };
        let item = |(index, node)| Reader {
            node,
            steps: self.onward(Step::Item(index)),
            key: format!("{}[{index}]", self.key),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a mapping, none of them unknown, none twice. Merge keys (`<<`) bring what the mapping does not
    /// say itself. A mapping that is not there has no entries.
    pub(super) fn fields(&self, known: &'static [&'static str]) -> Result<Fields<'a>, Fault> {
        let mut fields = Fields { found: Vec::new() };
        if *self.node != Node::Null {
            self.collect(known, &mut fields)?;
        }
        Ok(fields)
    }

    /// The entries of a mapping whose keys are the operator's own: each key with the refusal of it, and its value.
    pub(super) fn entries(&self, what: &str) -> Result<Vec<Entry<'a>>, Fault> {
        let Node::Map(entries) = self.node else {
            return Err(self.refuse(Expected::new(what)));
        };
        let entry = |(index, (name, node)): (usize, &'a (Node, Node))| {
            let Node::Text(text) = name else {
                let problem = ConfigProblem::Value {
                    key: self.key.clone(),
                    expected: Expected::new("texts as keys"),
                    found: describe(name),
                };
                return Err(Fault { steps: self.onward(Step::Key(index)), problem });
            };
            let key = Reader { node: name, steps: self.onward(Step::Key(index)), key: self.key.clone() };
            let value = Reader { node, steps: self.onward(Step::Value(index)), key: self.below(text) };
            Ok((key, value))
        };
        entries.iter().enumerate().map(entry).collect()
    }

    fn collect(&self, known: &'static [&'static str], fields: &mut Fields<'a>) -> Result<(), Fault> {
        let Node::Map(entries) = self.node else {
            return Err(self.refuse(Expected::new("keys with values")));
        };
        let mut own: Vec<&str> = Vec::new();
        let mut merged = Vec::new();
        for (index, (name, node)) in entries.iter().enumerate() {
            let value = |key: String| Reader { node, steps: self.onward(Step::Value(index)), key };
            let fault = |problem| Err(Fault { steps: self.onward(Step::Key(index)), problem });
            let Node::Text(name) = name else {
                return fault(ConfigProblem::UnknownKey { key: self.below(&describe(name)), meant: None });
            };
            if own.contains(&name.as_str()) {
                return fault(ConfigProblem::RepeatedKey { key: self.below(name) });
            }
            own.push(name);
            if name == "<<" {
                merged.push(value(self.below("<<")));
            } else if let Some(known) = known.iter().copied().find(|known| known == name) {
                if !fields.found.iter().any(|(found, _)| *found == known) {
                    fields.found.push((known, value(self.below(name))));
                }
            } else {
                return fault(ConfigProblem::UnknownKey { key: self.below(name), meant: closest(name, known) });
            }
        }
        for mapping in merged {
            match mapping.node {
                Node::List(_) => {
                    for item in mapping.list("mappings")? {
                        item.collect(known, fields)?;
                    }
                }
                _ => mapping.collect(known, fields)?,
            }
        }
        Ok(())
    }

    /// The same with the keys as they are, each once. A key without a value is not there.
    pub(super) fn named_values(&self, what: &str) -> Result<Vec<(String, Reader<'a>)>, Fault> {
        let mut found: Vec<(String, Reader<'a>)> = Vec::new();
        for (name, value) in self.entries(what)? {
            let Node::Text(text) = name.node else { continue };
            if found.iter().any(|(known, _)| known == text) {
                return Err(Fault { steps: name.steps, problem: ConfigProblem::RepeatedKey { key: self.below(text) } });
            }
            if *value.node != Node::Null {
                found.push((text.clone(), value));
            }
        }
        Ok(found)
    }

    fn onward(&self, step: Step) -> Vec<Step> {
        self.steps.iter().copied().chain([step]).collect()
    }

    fn below(&self, name: &str) -> String {
        // A name from the file may be of any length.
        let name = shortened(name);
        if self.key.is_empty() { name } else { format!("{}.{name}", self.key) }
    }
}

/// A key as a value of its own, and what it stands for.
pub(super) type Entry<'a> = (Reader<'a>, Reader<'a>);

/// The entries of a mapping whose keys are known.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    found: Vec<(&'static str, Reader<'a>)>,
}

impl<'a> Fields<'a> {
    /// The value of a key, unless the key is not there or has none.
    pub(super) fn get(&self, name: &str) -> Option<&Reader<'a>> {
        self.found
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .filter(|value| *value.node != Node::Null)
    }
}

const LONGEST: usize = 60;

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST { text.to_owned() } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

/// A value as the operator sees it in the file, cut short.
fn describe(node: &Node) -> String {
    match node {
        Node::Null => "nothing".to_owned(),
        Node::Boolean(value) => value.to_string(),
        Node::Integer(number) => format!("the number {number}"),
        Node::Float(number) => format!("the number {number}"),
        Node::Text(text) => format!("\"{}\"", escape(&shortened(text))),
        Node::List(_) => "a list".to_owned(),
        Node::Map(_) => "keys with values".to_owned(),
    }
}

/// The known key that a wrong one was perhaps meant to be: few letters are wrong, or it differs in its signs alone.
fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    if name.len() > LONGEST {
        return None;
    }
    let without_signs = |text: &str| text.replace('_', "");
    known
        .iter()
        .copied()
        .map(|known| {
            let same = without_signs(known) == without_signs(&name);
            (if same { 0 } else { distance(&name, known) }, known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .map(|(_, known)| known)
}

/// How many letters must be put in, left out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut next = vec![index + 1];
        for ((other, above), pair) in b.iter().zip(row.iter().skip(1)).zip(row.iter()) {
            let left = next.last().copied().unwrap_or(index + 1);
            next.push((pair + usize::from(letter != *other)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, wanted) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ä", "a", 1)] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_recognized_and_a_stranger_is_not() {
        let known = ["address", "polling_interval", "max_series"];
        for (name, meant) in [
            ("adress", Some("address")),
            ("pollingInterval", Some("polling_interval")),
            ("polling-interval", Some("polling_interval")),
            ("POLLING_INTERVAL", Some("polling_interval")),
            ("maxseries", Some("max_series")),
            ("interval", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(name, &known), meant, "{name}");
        }
    }
}
