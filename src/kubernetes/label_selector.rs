//! Label selectors, read as the API server reads them, so that a typo is found at the start and not at the first poll.

use super::name::{check_label_value, check_qualified};
use std::fmt;

/// A selector in Kubernetes' grammar (apimachinery, `labels.Parse`): `app=web,tier in (a,b),!canary`. Never empty: an
/// empty one selects everything and is told apart before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    text: String,
    requirements: Vec<Requirement>,
}

/// All requirements of a selector must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

/// What a requirement asks of the label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Absent,
    /// `=`, `==` and `in`.
    OneOf(Vec<String>),
    /// `!=` and `notin`: a label that is not there passes.
    NoneOf(Vec<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Reads a selector; `None` for the one without a requirement, which selects everything.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let requirements = Parser::new(text).selector()?;
        Ok((!requirements.is_empty()).then(|| Self { text: text.trim().to_owned(), requirements }))
    }

    /// The selector of one label with one value. Both have to be such as Kubernetes takes.
    #[must_use]
    pub fn equals(key: &str, value: &str) -> Self {
        let requirement = Requirement { key: key.to_owned(), test: Test::OneOf(vec![value.to_owned()]) };
        Self { text: format!("{key}={value}"), requirements: vec![requirement] }
    }

    /// The selector as the API takes it in `labelSelector`, not yet escaped for a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it selects an object whose label of a given key has the value that `label` tells, as the API server decides
    /// (apimachinery, `labels.Requirement.Matches`).
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.test.passes(label(&requirement.key)))
    }
}

/// What a selector asks of one label and an object does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The label's key.
    pub key: String,
    /// What its value has to be, to stand behind the key: `has to be a or b`.
    pub wanted: String,
}

impl LabelSelector {
    /// The requirements that do not hold of an object's labels; none if it is selected.
    pub fn unmet<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> Vec<Unmet> {
        let failing = self.requirements.iter().filter(|requirement| !requirement.test.passes(label(&requirement.key)));
        failing.map(|Requirement { key, test }| Unmet { key: key.clone(), wanted: test.in_words() }).collect()
    }
}

impl Test {
    fn in_words(&self) -> String {
        match self {
            Self::Present => "has to be there".to_owned(),
            Self::Absent => "must not be there".to_owned(),
            Self::OneOf(values) => format!("has to be {}", quoted(values)),
            Self::NoneOf(values) => format!("must not be {}", quoted(values)),
            Self::GreaterThan(bound) => format!("has to be a number above {bound}"),
            Self::LessThan(bound) => format!("has to be a number below {bound}"),
        }
    }

    fn passes(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::OneOf(wanted) => value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value)),
            Self::NoneOf(unwanted) => value.is_none_or(|value| unwanted.iter().all(|unwanted| unwanted != value)),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn quoted(values: &[String]) -> String {
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" or ")
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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

    fn selector(&mut self) -> Rule<Vec<Requirement>> {
        let mut requirements = Vec::new();
        if self.peek().is_none() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                None => return Ok(requirements),
                Some(Token::Sign(',')) => {}
                Some(_) => return Err("a requirement is followed by a comma or the end"),
            }
        }
    }

    fn requirement(&mut self) -> Rule<Requirement> {
        let absent = self.peek() == Some(Token::Sign('!'));
        if absent {
            self.next();
        }
        let Some(Token::Word(key)) = self.next() else {
            return Err("a requirement begins with a label's key");
        };
        check_qualified(key)?;
        let test = if absent {
            Test::Absent
        } else if matches!(self.peek(), None | Some(Token::Sign(','))) {
            Test::Present
        } else {
            match self.next() {
                Some(Token::Word("in")) => Test::OneOf(self.set()?),
                Some(Token::Word("notin")) => Test::NoneOf(self.set()?),
                Some(Token::Equals) => Test::OneOf(vec![self.label_value()?]),
                Some(Token::Differs) => Test::NoneOf(vec![self.label_value()?]),
                Some(Token::Sign('>')) => Test::GreaterThan(self.number()?),
                Some(Token::Sign('<')) => Test::LessThan(self.number()?),
                _ => return Err("after a key comes one of =, ==, !=, in, notin, > and <"),
            }
        };
        Ok(Requirement { key: key.to_owned(), test })
    }

    fn label_value(&mut self) -> Rule<String> {
        let value = self.value()?;
        check_label_value(value)?;
        Ok(value.to_owned())
    }

    /// The number is a label's value too, so it has no sign.
    fn number(&mut self) -> Rule<i64> {
        let value = self.value()?;
        check_label_value(value)?;
        value.parse().map_err(|_| "'>' and '<' compare with a whole number")
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

    /// Values in parentheses; between two commas, before the first and behind the last there may be an empty one.
    fn set(&mut self) -> Rule<Vec<String>> {
        const RULE: &str = "after 'in' and 'notin' come values in parentheses, with commas between";
        if self.next() != Some(Token::Sign('(')) {
            return Err(RULE);
        }
        if self.peek() == Some(Token::Sign(')')) {
            return Err("a set holds at least one value");
        }
        let mut values = Vec::new();
        loop {
            let mut value = "";
            if let Some(Token::Word(word)) = self.peek() {
                self.next();
                check_label_value(word)?;
                value = word;
            }
            values.push(value.to_owned());
            match self.next() {
                Some(Token::Sign(',')) => {}
                Some(Token::Sign(')')) => return Ok(values),
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

    #[test]
    fn what_is_not_met_is_told_in_words() {
        let selector = LabelSelector::parse("a=x,b in (y,z),!c,d,e!=q,f>5").unwrap().unwrap();
        let unmet = |labels: &[(&str, &'static str)]| {
            let labels: Vec<(String, &'static str)> =
                labels.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            let label = |key: &str| labels.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
            selector.unmet(label).into_iter().map(|unmet| format!("{} {}", unmet.key, unmet.wanted)).collect::<Vec<_>>()
        };
        assert_eq!(
            unmet(&[("a", "other"), ("c", ""), ("e", "q"), ("f", "5")]),
            [
                "a has to be \"x\"",
                "b has to be \"y\" or \"z\"",
                "c must not be there",
                "d has to be there",
                "e must not be \"q\"",
                "f has to be a number above 5"
            ]
        );
        assert!(unmet(&[("a", "x"), ("b", "z"), ("d", ""), ("f", "6")]).is_empty());
    }

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
            "x>1,y<2",
            "in=in",
            "notin",
            "x=in",
            "example.com/key=v",
            "monitor.jwt.io/monitoring=true",
        ] {
            let selector = LabelSelector::parse(text).unwrap_or_else(|rule| panic!("{text}: {rule}"));
            assert_eq!(selector.unwrap().as_str(), text.trim());
        }
    }

    #[test]
    fn a_selector_matches_labels_as_the_api_server_does() {
        let labels = |key: &str| match key {
            "app" => Some("web"),
            "empty" => Some(""),
            "n" => Some("7"),
            "example.com/x" => Some("y"),
            _ => None,
        };
        for (text, wanted) in [
            ("app", true),
            ("!app", false),
            ("other", false),
            ("!other", true),
            ("app=web", true),
            ("app==web", true),
            ("app=WEB", false),
            ("app=", false),
            ("empty=", true),
            ("empty", true),
            ("other=", false),
            ("app!=web", false),
            ("app!=db", true),
            ("other!=x", true),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("empty in (,a)", true),
            ("other in (,a)", false),
            ("app notin (web)", false),
            ("app notin (db)", true),
            ("other notin (db)", true),
            ("n>6", true),
            ("n>7", false),
            ("n<8", true),
            ("n<7", false),
            ("app>1", false),
            ("other<1", false),
            ("example.com/x=y", true),
            ("app=web,n>1,!other", true),
            ("app=web,other", false),
        ] {
            let selector = LabelSelector::parse(text).unwrap().unwrap();
            assert_eq!(selector.matches(labels), wanted, "{text}");
        }
        assert_eq!(LabelSelector::parse("a=b"), Ok(Some(LabelSelector::equals("a", "b"))));
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
            "x<-7",
            "x>+7",
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
