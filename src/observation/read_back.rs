//! Label sets read back: a page or table for people shows what the exposition shows, and nothing else is kept of a token.

use std::borrow::Cow;

/// Name and value of each label of a text that [`push_label`](super::push_label) wrote, with commas between or behind them.
/// Ends at the first thing that is no label.
pub fn labels(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, behind) = rest.trim_start_matches(',').split_once("=\"")?;
        let end = closing_quote(behind)?;
        let value = behind.get(..end)?;
        rest = behind.get(end + 1..)?;
        Some((name, unescaped(value)))
    })
}

/// Where the first quote stands that no backslash is before.
fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'\\', b'"', text.as_bytes().get(from..)?)?;
        if text.as_bytes().get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => break,
            },
            other => other,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::push_label;
    use proptest::prelude::*;

    #[test]
    fn labels_are_read_as_they_were_written() {
        let found: Vec<_> = labels(r#"a="",b="x\\\"\n,c=\"y\"",d="é","#).collect();
        assert_eq!(found, [("a", "".into()), ("b", "x\\\"\n,c=\"y\"".into()), ("d", Cow::Borrowed("é"))]);
        for nothing in ["", ",", "a", "a=", "a=\"", "a=\"\\\"", "a=\"b\\"] {
            assert_eq!(labels(nothing).count(), 0, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read(values in proptest::collection::vec("(?s).{0,40}", 0..5)) {
            let mut text = String::new();
            for value in &values {
                push_label(&mut text, "name", value);
                text.push(',');
            }
            let expected: Vec<String> = values.iter().map(|value| super::super::without_tokens(value).into_owned()).collect();
            let found: Vec<String> = labels(&text).map(|(_, value)| value.into_owned()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_text_panics(text in "[a-b=\\\\\",é\n]{0,30}") {
            let _ = labels(&text).count();
        }
    }
}
