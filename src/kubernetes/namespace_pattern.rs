//! Names of namespaces, exact or with wildcards. The API knows no patterns: these are matched here.

/// A name in which `*` stands for any characters, also none, and `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePattern {
    text: String,
}

impl NamespacePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The rule that the text breaks: what no namespace can match, and what every one does.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the name is not empty");
        }
        if text.bytes().all(|byte| byte == b'*') {
            return Err("this one leaves no namespace");
        }
        if text.len() > 63 {
            return Err("the name has at most 63 characters");
        }
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*' | b'?');
        if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(
                "the name consists of small letters, digits and '-', and begins and ends with a letter or digit; '*' and '?' \
                 stand for any of them",
            );
        }
        Ok(Self { text: text.to_owned() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name, if it is one without wildcards.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.text.contains(['*', '?'])).then_some(&*self.text)
    }

    /// Whether a namespace is meant. Takes time in proportion to both lengths at most.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.text.as_bytes(), name.as_bytes());
        // What follows the last star, and what was left of the name when it stood for nothing.
        let mut star: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern.split_first(), rest.split_first()) {
                (Some((b'*', behind)), _) => {
                    star = Some((behind, rest));
                    pattern = behind;
                }
                (Some((wanted, behind)), Some((found, after))) if *wanted == b'?' || wanted == found => {
                    (pattern, rest) = (behind, after);
                }
                (None, None) => return true,
                // The star takes one character more.
                _ => match star {
                    Some((behind, [_, after @ ..])) => {
                        star = Some((behind, after));
                        (pattern, rest) = (behind, after);
                    }
                    _ => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NamespacePattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (pattern, name) in [
            ("kube-*", "kube-system"),
            ("kube-*", "kube-"),
            ("*-dev", "a-b-dev"),
            ("a*b*c", "a-b-b-c"),
            ("team-?", "team-1"),
            ("*a?", "banana-ab"),
            ("x", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("kube-*", "my-kube-system"), ("team-?", "team-12"), ("team-?", "team-"), ("x", "xy"), ("a*b", "abc")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", "*", "**", "Kube-*", "kube_*", "a/b", "-a", "a-", "[ab]", "!a", " a", "ä", &"a".repeat(64)] {
            assert!(NamespacePattern::parse(text).is_err(), "{text}");
        }
        assert_eq!(NamespacePattern::parse("a-b").unwrap().exact(), Some("a-b"));
        assert_eq!(NamespacePattern::parse("a?").unwrap().exact(), None);
    }

    /// The same, said by the definition.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|from| by_definition(rest, &name[from..])),
            [first, rest @ ..] => {
                name.first().is_some_and(|found| *first == b'?' || first == found) && by_definition(rest, &name[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_does(pattern in "[ab*?]{0,8}[ab]", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
