//! Label selectors, read as the API server reads them, so that a typo is found at the start and not at the first poll.

use super::Expected;
use super::name::{check_label_value, check_qualified};
use std::fmt;

/// A selector in Kubernetes' grammar (apimachinery, `labels.Parse`): `app=web,tier in (a,b),!canary`. Never empty: an
/// empty one selects everything and is told apart before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(String);

impl LabelSelector {
    /// Reads a selector; `None` for the one without a requirement, which selects everything.
    ///
    /// # Errors
    /// What is expected instead, with the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, Expected> {
        match Parser::new(text).selector() {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(Self(text.trim().to_owned()))),
            Err(rule) => Err(Expected::new(format!("a label selector such as app=web or tier in (a,b) ({rule})"))),
        }
    }

    /// What the reference selects when nothing is configured.
    pub(super) fn reference_default() -> Self {
        Self("monitor.jwt.io/monitoring=true".to_owned())
    }

    /// The selector as the API takes it in `labelSelector`, not yet escaped for a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, or the words `in` and `notin`: which one, the place decides.
    Word(&'a str),
    /// One of `( ) , ! > <`.
    Sign(char),
    /// `=` or `==`.
    Equals,
    /// `!=`.
    Differs,
}

struct Parser<'a> {
    rest: &'a str,
}

type Rule<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The number of requirements.
    fn selector(&mut self) -> Rule<usize> {
        let mut requirements = 0;
        if self.peek().is_none() {
            return Ok(0);
        }
        loop {
            self.requirement()?;
            requirements += 1;
            match self.next() {
                None => return Ok(requirements),
                Some(Token::Sign(',')) => {}
                Some(_) => return Err("a requirement is followed by a comma or the end"),
            }
        }
    }

    fn requirement(&mut self) -> Rule<()> {
        let absent = self.peek() == Some(Token::Sign('!'));
        if absent {
            self.next();
        }
        let Some(Token::Word(key)) = self.next() else {
            return Err("a requirement begins with a label's key");
        };
        check_qualified(key)?;
        if absent || matches!(self.peek(), None | Some(Token::Sign(','))) {
            return Ok(());
        }
        match self.next() {
            Some(Token::Word("in" | "notin")) => self.set(),
            Some(Token::Equals | Token::Differs) => check_label_value(self.value()?),
            Some(Token::Sign('>' | '<')) => {
                self.value()?.parse::<i64>().map(|_| ()).map_err(|_| "'>' and '<' compare with a whole number")
            }
            _ => Err("after a key comes one of =, ==, !=, in, notin, > and <"),
        }
    }

    /// One value; nothing at all is the empty one.
    fn value(&mut self) -> Rule<&'a str> {
        match self.peek() {
            None | Some(Token::Sign(',')) => Ok(""),
            Some(Token::Word(value)) => {
                self.next();
                Ok(value)
            }
            Some(_) => Err("after an operator comes a label's value"),
        }
    }

    fn set(&mut self) -> Rule<()> {
        const RULE: &str = "after 'in' and 'notin' come values in parentheses, with commas between";
        if self.next() != Some(Token::Sign('(')) {
            return Err(RULE);
        }
        if self.peek() == Some(Token::Sign(')')) {
            return Err("a set holds at least one value");
        }
        loop {
            if let Some(Token::Word(value)) = self.peek() {
                self.next();
                check_label_value(value)?;
            }
            match self.next() {
                Some(Token::Sign(',')) => {}
                Some(Token::Sign(')')) => return Ok(()),
                _ => return Err(RULE),
            }
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        Self { rest: self.rest }.next()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        for (sign, token) in [("==", Token::Equals), ("!=", Token::Differs), ("=", Token::Equals)] {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Some(token);
            }
        }
        let special = |c: char| matches!(c, '(' | ')' | ',' | '!' | '>' | '<' | '=');
        let first = self.rest.chars().next()?;
        let end = if special(first) {
            first.len_utf8()
        } else {
            self.rest.find(|c| special(c) || matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(self.rest.len())
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(if special(first) { Token::Sign(first) } else { Token::Word(word) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Both lists follow labels/selector_test.go of apimachinery.
    #[test]
    fn selectors_that_kubernetes_takes() {
        for text in [
            "x=a,y=b,z=c",
            "x!=a,y=b",
            "x=",
            "x= ",
            "x=,z= ",
            "x= ,z= ",
            " x = a ",
            "x==a",
            "x",
            "!x",
            "! x",
            "x in (a,b)",
            "x in(a)",
            "x notin (a),y",
            "x in (,a)",
            "x in (a,)",
            "x in (a,,b)",
            "x>1",
            "x<-7",
            "x>1,y<2",
            "in=in",
            "notin",
            "x=in",
            "example.com/key=v",
            "monitor.jwt.io/monitoring=true",
        ] {
            assert_eq!(LabelSelector::parse(text), Ok(Some(LabelSelector(text.trim().to_owned()))), "{text}");
        }
    }

    #[test]
    fn a_selector_without_a_requirement_selects_everything() {
        for text in ["", " ", "\n\t"] {
            assert_eq!(LabelSelector::parse(text), Ok(None));
        }
    }

    #[test]
    fn selectors_that_kubernetes_refuses() {
        let long = format!("a={}", "b".repeat(64));
        for text in [
            "x=a||y=b",
            "x==a==b",
            "!x=a",
            "x<a",
            "x>",
            ",",
            ",x",
            "x,",
            "x,,y",
            "=a",
            "x in",
            "x in a",
            "x in (",
            "x in ()",
            "x in (a",
            "x in (a b)",
            "x in (a)b",
            "x notin",
            "x!a",
            "x y",
            "x in (a=b)",
            "-x=a",
            "x=-a",
            "x=a b",
            "a/b/c=d",
            "X/y=z",
            "x=ä",
            "(x=a)",
            "x=!a",
            "!",
            "!!x",
            "x=a;y=b",
            "\"x=a\"",
            &long,
        ] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_the_same_again(text in "\\PC{0,30}|[a-b/ !=,()<>1in]{0,20}") {
            if let Ok(Some(selector)) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(selector.as_str()), Ok(Some(selector)));
            }
        }

        #[test]
        fn requirements_joined_by_commas_are_a_selector(
            parts in proptest::collection::vec("[a-z]{1,5}(=[a-z]{0,3}|!=[0-9]|| in \\([a-z](,[a-z]){0,2}\\)| notin \\(a\\))|![a-z]", 1..5)
        ) {
            prop_assert!(LabelSelector::parse(&parts.join(",")).is_ok());
        }
    }
}
