//! Documents that are small as a text and huge as a value or as work.
//!
//! - An alias stands for all that its anchor holds. The parser bounds how often aliases are followed, but not how much they
//!   bring: one long text and a hundred thousand aliases of it fill any memory.
//! - The parser looks at every open bracket again for each token: a hundred thousand of them cost seconds, a million
//!   minutes. It refuses more than 128 levels, but only afterwards.

use super::YamlError;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// How many times its own length a text may unfold to, counting the bytes of texts and one per value.
const MOST_FOLD: usize = 10;

/// What any text may unfold to: a short one that repeats a block of lines is no attack.
const ALWAYS_FINE: usize = 1024 * 1024;

/// Length times brackets of a text by strangers: the worst such text takes a few tenths of a second, 128 KiB may still hold
/// a thousand lists.
const MOST_WORK: usize = 1 << 27;

/// Refuses a text that could take long to read, whatever it holds. Whether a bracket opens something cannot be told
/// without the parser, so each counts.
///
/// # Errors
/// The text has too many brackets for its length.
pub(super) fn check_work(text: &str) -> Result<(), YamlError> {
    let opening = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if text.len().saturating_mul(opening) > MOST_WORK {
        let message = format!("{opening} opening brackets are too many in a text of {} bytes", text.len());
        return Err(YamlError { line: None, column: None, message });
    }
    Ok(())
}

/// Refuses a text that unfolds too far. Other mistakes are left for the real reader to find, which finds them no later.
///
/// # Errors
/// The text unfolds to more than [`MOST_FOLD`] times its length and [`ALWAYS_FINE`] beyond.
pub(super) fn check(text: &str) -> Result<(), YamlError> {
    // Without an anchor and an alias, a value is no larger than its text.
    if !(text.contains('&') && text.contains('*')) {
        return Ok(());
    }
    let left = Cell::new(Some(text.len().saturating_mul(MOST_FOLD).saturating_add(ALWAYS_FINE)));
    let measured = Measure { left: &left }.deserialize(serde_yaml::Deserializer::from_str(text));
    match measured {
        Err(error) if left.get().is_none() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Reads over a document and counts.
#[derive(Clone, Copy)]
struct Measure<'a> {
    /// `None` once there is nothing left.
    left: &'a Cell<Option<usize>>,
}

impl Measure<'_> {
    fn spend<E: Error>(self, bytes: usize) -> Result<(), E> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(bytes)));
        match self.left.get() {
            Some(_) => Ok(()),
            None => Err(E::custom(format_args!(
                "aliases (*) make the document more than {MOST_FOLD} times as large as its text"
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.spend(1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.spend(1 + text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.spend(1)?;
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.spend(1)?;
        while entries.next_entry_seed(self, self)?.is_some() {}
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(self)?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_long_text_behind_many_aliases_is_refused() {
        let mut text = format!("a: &a {}\n", "x".repeat(10_000));
        (0..1000).for_each(|n| text.push_str(&format!("k{n}: *a\n")));
        let error = super::super::parse::<BTreeMap<String, String>>(&text).unwrap_err();
        assert!(error.message.contains("more than 10 times"), "{error}");
        assert!(error.line.is_some());
    }

    #[test]
    fn what_unfolds_to_a_little_is_read() {
        for text in ["a: &a [x, y]\nb: *a\nc: *a\n", "a: &a !t {x: !u y}\nb: *a\n", "a: '& and *'\n"] {
            assert!(check(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_text_of_brackets_is_refused_before_it_is_read() {
        for unit in ["[", "{a: "] {
            assert!(check_work(&unit.repeat(1 << 20)).is_err(), "{unit}");
        }
        assert!(check_work(&"args: []\n".repeat(1000)).is_ok());
        assert!(check_work(&"a: b\n".repeat(1 << 20)).is_ok());
    }

    #[test]
    fn other_mistakes_are_left_to_the_reader() {
        for text in ["a: *b\nc: &c", "a: &a [*", "&a [*a]"] {
            assert!(check(text).is_ok(), "{text}");
        }
    }
}
