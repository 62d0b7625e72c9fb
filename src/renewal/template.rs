//! Texts with `${variables}`, each value escaped for the place where it stands, so that a password with quotes, braces or a
//! line break neither breaks the request nor adds to it.
//!
//! `$$` is a plain `$` (so `$${x}` is the text `${x}`), and so is a `$` with neither `$` nor `{` behind it. A place where no
//! escaping is known holds no variable: it is refused when the configuration is read.

use super::place::{Place, has_dot_segment, has_whole_escapes, in_header, in_url, push_json, push_percent_encoded};
use crate::redacted::Redacted;
use std::fmt;
use zeroize::Zeroizing;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Variable(String),
}

/// A checked text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    place: Place,
    text: String,
    pieces: Vec<Piece>,
}

/// What is wrong with a text, in words to stand in parentheses. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// `${` without a name of letters, digits, `-`, `_`, `.` and a `}` behind it.
    Syntax,
    /// A variable where it cannot be escaped.
    VariableIn {
        /// The place.
        place: &'static str,
    },
    /// Without its variables it is not what it should be.
    Malformed {
        /// What is wrong.
        cause: &'static str,
    },
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str(
                "a variable is written ${name}, with letters, digits, '-', '_' and '.', and the text \"${\" as $${",
            ),
            Self::VariableIn { place } => write!(f, "no variable may stand in {place}"),
            Self::Malformed { cause } => f.write_str(cause),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Why a text cannot be completed. Names variables, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// There is no such variable.
    Missing {
        /// Its name.
        variable: String,
    },
    /// Its value cannot stand in a header: it has a control character or one beyond ASCII.
    InHeader {
        /// Its name.
        variable: String,
    },
    /// White space at an end of a header's value, which nobody would see there.
    OuterSpace,
    /// The path would have a segment `.` or `..`.
    DotSegment,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { variable } => write!(f, "there is no value for ${{{variable}}}"),
            Self::InHeader { variable } => write!(
                f,
                "the value of ${{{variable}}} holds a control character or one that is not ASCII, which no header can carry"
            ),
            Self::OuterSpace => f.write_str("a header would begin or end with white space, which gets lost on the way"),
            Self::DotSegment => f.write_str("a variable makes a segment \".\" or \"..\" of the URL's path"),
        }
    }
}

impl std::error::Error for RenderError {}

impl Template {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// What is wrong with it, whatever the values will be.
    pub fn parse(text: &str, place: Place) -> Result<Self, TemplateError> {
        let template = Self { place, text: text.to_owned(), pieces: pieces(text)? };
        match place {
            Place::Json => template.check_json()?,
            Place::Form => {}
            Place::Header => template.check_header()?,
            Place::Url => template.check_url()?,
            Place::Opaque if template.variables().next().is_some() => {
                let place = "a body that is neither JSON nor a form (header Content-Type)";
                return Err(TemplateError::VariableIn { place });
            }
            Place::Opaque => {}
        }
        Ok(template)
    }

    /// As it stands in the configuration.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// The text with the values that `value` gives for the names of variables.
    ///
    /// # Errors
    /// A variable without a value, or with one that cannot stand here.
    pub fn render<'a>(&self, value: &dyn Fn(&str) -> Option<&'a Redacted>) -> Result<Redacted, RenderError> {
        // Room for the longest escapes, so that no copy is left behind by growing.
        let mut room = 0;
        for piece in &self.pieces {
            room += match piece {
                Piece::Literal(text) => text.len(),
                Piece::Variable(name) => 6 * value(name).map_or(0, |value| value.expose().len()),
            };
        }
        let mut out = Zeroizing::new(String::with_capacity(room));
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Variable(name) => {
                    let value = value(name).ok_or_else(|| RenderError::Missing { variable: name.clone() })?.expose();
                    match self.place {
                        Place::Json => push_json(&mut out, value),
                        Place::Form | Place::Url => push_percent_encoded(&mut out, value),
                        Place::Header if value.bytes().all(in_header) => out.push_str(value),
                        Place::Header | Place::Opaque => {
                            return Err(RenderError::InHeader { variable: name.clone() });
                        }
                    }
                }
            }
        }
        match self.place {
            Place::Header if out.trim_ascii().len() != out.len() => Err(RenderError::OuterSpace),
            Place::Url if has_dot_segment(&out) => Err(RenderError::DotSegment),
            _ => Ok(Redacted::new(std::mem::take(&mut *out))),
        }
    }

    /// With `stand_in` in the place of every variable.
    fn with_all(&self, stand_in: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Variable(_) => stand_in.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    fn check_json(&self) -> Result<(), TemplateError> {
        let (mut in_string, mut escaped) = (false, false);
        for piece in &self.pieces {
            match piece {
                Piece::Variable(_) if !in_string || escaped => {
                    return Err(TemplateError::VariableIn {
                        place: "JSON outside of a string: put it in double quotes",
                    });
                }
                Piece::Variable(_) => {}
                Piece::Literal(text) => {
                    for byte in text.bytes() {
                        (in_string, escaped) = match byte {
                            b'"' if !escaped => (!in_string, false),
                            b'\\' => (in_string, in_string && !escaped),
                            _ => (in_string, false),
                        };
                    }
                }
            }
        }
        // A tree, because that looks into every string: half of an escape must not wait for a value.
        serde_json::from_str::<serde_json::Value>(&self.with_all(""))
            .map(|_| ())
            .map_err(|_| TemplateError::Malformed { cause: "the body is not JSON, as its Content-Type says" })
    }

    fn check_header(&self) -> Result<(), TemplateError> {
        let literal = self.with_all("x");
        if !literal.bytes().all(in_header) || literal.trim_ascii().len() != literal.len() {
            let cause = "a header's value is ASCII without control characters and without white space at its ends";
            return Err(TemplateError::Malformed { cause });
        }
        Ok(())
    }

    fn check_url(&self) -> Result<(), TemplateError> {
        let in_front = match self.pieces.first() {
            Some(Piece::Literal(text)) => text.as_str(),
            _ => "",
        };
        let after_scheme = in_front.split_once("://").map(|(_, rest)| rest);
        let has_path = after_scheme.is_some_and(|rest| rest.contains(['/', '?']));
        if !has_path && self.variables().next().is_some() {
            return Err(TemplateError::VariableIn { place: "a URL's scheme, host or port" });
        }
        if self.text.contains('#') {
            return Err(TemplateError::Malformed { cause: "a URL's fragment (#) is never sent" });
        }
        for piece in &self.pieces {
            let Piece::Literal(text) = piece else { continue };
            if !text.bytes().all(in_url) || !has_whole_escapes(text) {
                let cause = "in a URL other characters than letters, digits and the signs of URLs are written %XX";
                return Err(TemplateError::Malformed { cause });
            }
        }
        if has_dot_segment(&self.with_all("x")) {
            return Err(TemplateError::Malformed { cause: "a path must not have the segments \".\" and \"..\"" });
        }
        Ok(())
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            literal.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let (name, after) = inner.split_once('}').ok_or(TemplateError::Syntax)?;
            if name.is_empty() || name.len() > 253 || !name.bytes().all(in_name) {
                return Err(TemplateError::Syntax);
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Variable(name.to_owned()));
            rest = after;
        } else {
            literal.push('$');
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// A data key of a Secret.
pub(super) fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn render(place: Place, text: &str, values: &[(&str, &str)]) -> Result<String, RenderError> {
        let values: Vec<(String, Redacted)> =
            values.iter().map(|(name, value)| ((*name).to_owned(), Redacted::new((*value).to_owned()))).collect();
        let template = Template::parse(text, place).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(template.as_written(), text);
        let value = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        template.render(&value).map(|text| text.expose().to_owned())
    }

    fn decoded(text: &str, plus: bool) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                b'%' => {
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                    rest = &after[2..];
                }
                b'+' if plus => bytes.push(b' '),
                other => bytes.push(*other),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn dollars() {
        for (text, wanted) in [
            ("$$", "$"),
            ("$${a}", "${a}"),
            ("$$${a}", "$A"),
            ("$a $ ${a}$", "$a $ A$"),
            ("${a}${a-b.c_1}", "AB"),
            ("", ""),
        ] {
            assert_eq!(render(Place::Form, text, &[("a", "A"), ("a-b.c_1", "B")]).unwrap(), wanted, "{text}");
        }
        for text in ["${", "${a", "${}", "${a b}", "${ä}", "${${a}}"] {
            assert_eq!(Template::parse(text, Place::Form), Err(TemplateError::Syntax), "{text}");
        }
        assert_eq!(render(Place::Form, "${b}", &[]), Err(RenderError::Missing { variable: "b".into() }));
    }

    #[test]
    fn a_variable_of_json_stands_in_a_string() {
        for text in [
            r#"{"n":${a}}"#,
            r"${a}",
            r#"{"n":"\${a}"}"#,
            r#"{"n":"\u12${a}"}"#,
            r#"{"n":"\ud83d${a}"}"#,
            r#"{"n":"${a}}"#,
            "{'n':'${a}'}",
            "username=${a}",
        ] {
            assert!(Template::parse(text, Place::Json).is_err(), "{text}");
        }
        assert_eq!(render(Place::Json, r#"{"${a}":"\\${a}"}"#, &[("a", "\"")]).unwrap(), r#"{"\"":"\\\""}"#);
    }

    #[test]
    fn a_variable_of_a_url_stands_behind_the_host() {
        for text in [
            "${a}://h/",
            "https://${a}/",
            "https://h${a}/",
            "https://h:${a}/x",
            "https://h${a}",
            "${a}",
            "https://h/%${a}",
            "https://h/%4${a}",
            "https://h/a b",
            "https://h/../x",
            "https://h/%2e%2E/x",
            "https://h/#${a}",
            "https://h/ä",
        ] {
            assert!(Template::parse(text, Place::Url).is_err(), "{text}");
        }
        let url = "https://h:8443/a/${a}/%41?q=${a}&$${a}".replace("$${a}", "");
        assert_eq!(render(Place::Url, &url, &[("a", "/?&=# %")]).unwrap().matches("%2F%3F%26%3D%23%20%25").count(), 2);
        for value in ["..", "."] {
            assert_eq!(render(Place::Url, "https://h/${a}/x", &[("a", value)]), Err(RenderError::DotSegment));
        }
        assert_eq!(render(Place::Url, "https://h/.${a}/x", &[("a", ".")]), Err(RenderError::DotSegment));
        assert_eq!(render(Place::Url, "https://h/x?${a}", &[("a", "..")]).as_deref(), Ok("https://h/x?.."));
    }

    #[test]
    fn a_header_takes_no_line_break_nor_anything_like_it() {
        assert_eq!(render(Place::Header, "Basic ${a}", &[("a", "x\"{}y")]).as_deref(), Ok("Basic x\"{}y"));
        for value in ["a\r\nX: y", "a\n", "\0", "\t", "\u{7f}", "ä"] {
            let refused = Err(RenderError::InHeader { variable: "a".into() });
            assert_eq!(render(Place::Header, "x ${a}", &[("a", value)]), refused, "{value:?}");
        }
        assert_eq!(render(Place::Header, "x ${a}", &[("a", "y ")]), Err(RenderError::OuterSpace));
        assert!(Template::parse("a\nb", Place::Header).is_err());
    }

    #[test]
    fn a_body_of_another_kind_has_no_variables() {
        assert!(Template::parse("<a>${b}</a>", Place::Opaque).is_err());
        assert_eq!(render(Place::Opaque, "<a>$${b}</a>", &[]).unwrap(), "<a>${b}</a>");
        for (content_type, place) in [
            ("application/json", Place::Json),
            ("Application/JSON ; charset=utf-8", Place::Json),
            ("application/vnd.api+json", Place::Json),
            ("application/x-www-form-urlencoded", Place::Form),
            ("text/plain", Place::Opaque),
            ("application/jsonp", Place::Opaque),
            ("", Place::Opaque),
        ] {
            assert_eq!(Place::of_content_type(content_type), place, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn json_gives_exactly_the_values_back(user in any::<String>(), password in any::<String>()) {
            let text = r#"{"u":"${u}","l":[1,"<${p}>",{"${u}x":null}],"$":"$${p}"}"#;
            let rendered = render(Place::Json, text, &[("u", &user), ("p", &password)]).unwrap();
            let mut key = serde_json::Map::new();
            key.insert(format!("{user}x"), Value::Null);
            let wanted = json!({"u": user, "l": [1, format!("<{password}>"), key], "$": "${p}"});
            prop_assert_eq!(serde_json::from_str::<Value>(&rendered).unwrap(), wanted);
        }

        #[test]
        fn a_form_gives_exactly_the_values_back(user in any::<String>(), password in any::<String>()) {
            let rendered = render(Place::Form, "u=${u}&p=-${p}-&x=1", &[("u", &user), ("p", &password)]).unwrap();
            let pairs: Vec<_> = rendered.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, decoded(value, true))).collect();
            prop_assert_eq!(pairs, vec![("u", user), ("p", format!("-{password}-")), ("x", "1".to_owned())]);
        }

        #[test]
        fn a_url_gives_exactly_the_values_back(a in any::<String>(), b in any::<String>()) {
            let text = "https://host.example:8443/a/-${a}/z?b=${b}&c";
            let rendered = render(Place::Url, text, &[("a", &a), ("b", &b)]).unwrap();
            let (path, query) = rendered.split_once('?').unwrap();
            let segments: Vec<_> = path.split('/').map(|segment| decoded(segment, false)).collect();
            let wanted = ["https:", "", "host.example:8443", "a", &format!("-{a}"), "z"];
            prop_assert_eq!(segments, wanted);
            let parts: Vec<_> = query.split('&').map(|part| decoded(part, true)).collect();
            prop_assert_eq!(parts, [format!("b={b}"), "c".to_owned()]);
        }

        #[test]
        fn a_header_gives_the_value_back_or_refuses(value in any::<String>()) {
            if let Ok(rendered) = render(Place::Header, "a ${v}", &[("v", &value)]) {
                prop_assert_eq!(&rendered, &format!("a {value}"));
                prop_assert!(!rendered.contains(|c: char| c.is_control() || !c.is_ascii()));
            }
        }
    }
}
