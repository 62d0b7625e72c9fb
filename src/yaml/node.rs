//! One document as a tree, for readers that check by hand and point at the very place of a mistake.

use super::{YamlError, seeded_by_operator};
use crate::json::Value;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// A document may not unfold into more values than this: aliases of aliases grow without end.
pub const MAX_NODES: usize = 100_000;

/// A value of a document. Mappings keep their order and their repeated keys; aliases are resolved; merge keys (`<<`) are
/// keys like any other.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false` as YAML 1.2 knows them; `yes` and `on` are [`Text`](Self::Text).
    Boolean(bool),
    /// A whole number, however it was written (`0x1F` too).
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Plain or quoted: the parser does not tell them apart.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping: pairs of key and value.
    Map(Vec<(Node, Node)>),
}

/// One step on the way from the root of a document to a part of it; all indexes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To an item of a sequence.
    Item(usize),
    /// To the key of an entry of a mapping, in the order of the text.
    Key(usize),
    /// To the value of an entry of a mapping.
    Value(usize),
}

impl Node {
    /// Reads one document. An empty one is [`Node::Null`].
    ///
    /// # Errors
    /// Where the text is not YAML, carries tags, or unfolds into more than [`MAX_NODES`] values.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        seeded_by_operator(text, Grow { left: &Cell::new(MAX_NODES) })
    }
}

/// The same document as a tree of JSON. Keys become texts; of a repeated one the last counts. A number that is not whole is written
/// with its point.
impl From<&Node> for Value {
    fn from(node: &Node) -> Self {
        match node {
            Node::Null => Self::Null,
            Node::Boolean(value) => Self::Boolean(*value),
            Node::Integer(number) => Self::Number(number.to_string()),
            Node::Float(number) => Self::Number(format!("{number:?}")),
            Node::Text(text) => Self::Text(text.clone()),
            Node::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Node::Map(entries) => {
                let mut members: Vec<(String, Self)> = Vec::new();
                for (key, value) in entries {
                    let name = match Self::from(key) {
                        Self::Text(name) | Self::Number(name) => name,
                        Self::Boolean(name) => name.to_string(),
                        _ => continue,
                    };
                    members.retain(|(known, _)| *known != name);
                    members.push((name, Self::from(value)));
                }
                Self::Object(members)
            }
        }
    }
}

/// Line and column, both from 1, of the part of `text` to which `steps` lead; `None` if they lead nowhere. The text is one
/// that [`Node::parse`] has read. What an alias stands for is found at its anchor.
#[must_use]
pub fn locate(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    // The parser tells positions of errors only. So the way is walked once more, and ends in one.
    let arrival = seeded_by_operator(text, Walk { steps }).err()?;
    arrival.line.zip(arrival.column)
}

/// Builds the tree and counts its values.
#[derive(Clone, Copy)]
struct Grow<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Grow<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom(format_args!("more than {MAX_NODES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Grow<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Ok(i128::try_from(value).map_or_else(|_| Node::Text(value.to_string()), Node::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("a tag (what begins with !) has no meaning here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry_seed(self, self)? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// Goes the way and fails where it ends.
#[derive(Clone, Copy)]
struct Walk<'a> {
    steps: &'a [Step],
}

impl Walk<'_> {
    fn arrive<E: Error>(self) -> Result<(), E> {
        if self.steps.is_empty() { Err(E::custom("arrived")) } else { Ok(()) }
    }

    /// The rest of the way if its next step is `step`.
    fn after(self, step: Step) -> Option<Self> {
        let (first, steps) = self.steps.split_first()?;
        (*first == step).then_some(Self { steps })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.arrive()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.arrive()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.arrive()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.arrive()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.arrive()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.arrive()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.arrive()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.arrive()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.arrive()?;
        let mut index = 0;
        while match self.after(Step::Item(index)) {
            Some(onward) => items.next_element_seed(onward)?.is_some(),
            None => items.next_element::<serde::de::IgnoredAny>()?.is_some(),
        } {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.arrive()?;
        let mut index = 0;
        while match self.after(Step::Key(index)) {
            Some(onward) => entries.next_key_seed(onward)?.is_some(),
            None => entries.next_key::<serde::de::IgnoredAny>()?.is_some(),
        } {
            match self.after(Step::Value(index)) {
                Some(onward) => entries.next_value_seed(onward)?,
                None => entries.next_value::<serde::de::IgnoredAny>().map(|_| ())?,
            }
            index += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn a_tree_keeps_order_and_repeated_keys() {
        let node = Node::parse("b: [1, x, null, 1.5, yes, true]\na: {}\nb: ~\n").unwrap();
        let list = vec![Node::Integer(1), text("x"), Node::Null, Node::Float(1.5), text("yes"), Node::Boolean(true)];
        let map = vec![(text("b"), Node::List(list)), (text("a"), Node::Map(vec![])), (text("b"), Node::Null)];
        assert_eq!(node, Node::Map(map));
    }

    #[test]
    fn aliases_are_resolved_and_merge_keys_are_keys() {
        let node = Node::parse("a: &a [x]\nb: *a\n<<: {c: 1}\n").unwrap();
        let Node::Map(entries) = node else { panic!("{node:?}") };
        assert_eq!(entries[0].1, entries[1].1);
        assert_eq!(entries[2].0, text("<<"));
    }

    #[test]
    fn every_part_of_a_document_has_its_place() {
        use Step::{Item, Key, Value};
        let document =
            "# a comment\na: x\nbb:\n  - 1\n  -   {c: true,\n       d: y}\n? [k]\n: |\n  text\ne: &e q\nf: *e\n";
        for (steps, at) in [
            (&[][..], (2, 1)),
            (&[Key(0)], (2, 1)),
            (&[Value(0)], (2, 4)),
            (&[Key(1)], (3, 1)),
            (&[Value(1)], (4, 3)),
            (&[Value(1), Item(0)], (4, 5)),
            (&[Value(1), Item(1)], (5, 7)),
            (&[Value(1), Item(1), Key(0)], (5, 8)),
            (&[Value(1), Item(1), Value(0)], (5, 11)),
            (&[Value(1), Item(1), Value(1)], (6, 11)),
            (&[Key(2)], (7, 3)),
            (&[Key(2), Item(0)], (7, 4)),
            (&[Value(2)], (8, 3)),
            (&[Value(4)], (10, 4)),
        ] {
            assert_eq!(locate(document, steps), Some(at), "{steps:?}");
        }
        for steps in [&[Item(0)][..], &[Key(9)], &[Value(0), Item(0)], &[Value(1), Item(2)]] {
            assert_eq!(locate(document, steps), None, "{steps:?}");
        }
    }

    #[test]
    fn tags_and_floods_are_refused() {
        assert!(Node::parse("a: !b c").unwrap_err().message.contains("a tag"));
        let flood = format!("[{}]", "1,".repeat(MAX_NODES));
        let error = Node::parse(&flood).unwrap_err();
        assert!(error.message.contains("more than 100000 values"), "{error}");
    }
}
