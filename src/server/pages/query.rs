//! The query of the page's address: what is shown, in which order, and which part of it.
//!
//! Whatever stands there is read as something: what is unknown is passed over, what makes no sense is as if it were not there.

use super::kind::Kind;
use crate::log::escape;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Rows of a page that may be asked for by the form; any number up to the last is taken from the address.
pub(super) const SIZES: [usize; 4] = [25, 50, 100, 200];

const USUAL_SIZE: usize = 50;
const MOST_ROWS: usize = 200;

/// Of the text to look for; the form says so too.
pub(super) const MOST_CHARACTERS: usize = 200;

/// Further parameters are not looked at.
const MOST_PARAMETERS: usize = 32;

/// In which order rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Soonest first.
    Expiry,
    /// By namespace, name and key.
    Namespace,
}

impl Order {
    pub(super) const ALL: [Self; 2] = [Self::Expiry, Self::Namespace];

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Namespace => "namespace",
        }
    }
}

/// What the page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// Each word of it has to be found; empty finds everything. As it is shown: control characters are spelled out.
    pub(super) text: String,
    /// `None`: every kind.
    pub(super) kind: Option<Kind>,
    pub(super) order: Order,
    /// From 1 on; there may be fewer.
    pub(super) page: usize,
    /// Rows of a page, from 1 to 200.
    pub(super) size: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { text: String::new(), kind: None, order: Order::Expiry, page: 1, size: USUAL_SIZE }
    }
}

impl Query {
    /// Reads what stands behind the `?`, as forms write it (URL Standard, `application/x-www-form-urlencoded`). Of a repeated
    /// parameter the last one counts.
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for parameter in text.split('&').take(MOST_PARAMETERS) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = || value.parse().ok().filter(|number| *number > 0);
            match name {
                "q" => query.text = words(value),
                "state" => query.kind = Kind::ALL.into_iter().find(|kind| kind.code() == value),
                "sort" => {
                    let known = Order::ALL.into_iter().find(|order| order.code() == value);
                    query.order = known.unwrap_or(Order::Expiry);
                }
                "page" => query.page = number().unwrap_or(1),
                "size" => query.size = number().filter(|size| *size <= MOST_ROWS).unwrap_or(USUAL_SIZE),
                _ => {}
            }
        }
        query
    }

    /// The same from the first page on.
    pub(super) fn first_page(&self) -> Self {
        Self { page: 1, ..self.clone() }
    }

    /// The relative address of the same page; of what is usual nothing is said. Visible ASCII without quotes; its `&` has to be
    /// escaped in HTML.
    pub(super) fn address(&self) -> String {
        let usual = Self::default();
        let mut address = String::from("?");
        let mut add = |name: &str, value: &str| {
            if address.len() > 1 {
                address.push('&');
            }
            let _ = write!(address, "{name}=");
            encode(&mut address, value);
        };
        if !self.text.is_empty() {
            add("q", &self.text);
        }
        if let Some(kind) = self.kind {
            add("state", kind.code());
        }
        if self.order != usual.order {
            add("sort", self.order.code());
        }
        if self.size != usual.size {
            add("size", &self.size.to_string());
        }
        if self.page != usual.page {
            add("page", &self.page.to_string());
        }
        address
    }
}

/// A text to look for: decoded, white space made one blank, cut.
fn words(value: &str) -> String {
    let decoded = decode(value);
    let joined = decoded.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = escape(&joined).chars().take(MOST_CHARACTERS).collect();
    cut.trim_end().to_owned()
}

/// `%41` and `+`; a percent sign with anything else behind it stands for itself, and bytes that are no UTF-8 become U+FFFD.
fn decode(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| u8::try_from(char::from(*byte).to_digit(16)?).ok());
    let mut bytes: Vec<u8> = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, left) = match (first, digit(behind.first()), digit(behind.get(1))) {
            (b'%', Some(high), Some(low)) => (high << 4 | low, behind.get(2..).unwrap_or_default()),
            (b'+', ..) => (b' ', behind),
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = left;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Everything but the unreserved characters of RFC 3986 as `%41`.
fn encode(address: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => address.push(char::from(byte)),
            b' ' => address.push('+'),
            _ => {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_parameter_is_heard() {
        let query = Query::parse("q=a%2Fb+%C3%A9%20&state=expired&sort=namespace&page=3&size=200");
        let kind = Some(Kind::Expired);
        assert_eq!(query, Query { text: "a/b é".into(), kind, order: Order::Namespace, page: 3, size: 200 });
        assert_eq!(query.address(), "?q=a%2Fb+%C3%A9&state=expired&sort=namespace&size=200&page=3");
    }

    #[test]
    fn what_makes_no_sense_is_not_there() {
        for text in [
            "",
            "&&&=",
            "x=1&Q=a&state&sort=",
            "page=0&size=0",
            "page=-1&size=201",
            "page=1e9&size=99999999999999999999999",
            "page=2x&state=EXPIRED&sort=random&q=+%20%0a",
            "page=3&page=",
        ] {
            assert_eq!(Query::parse(text), Query::default(), "{text}");
        }
        assert_eq!(Query::default().address(), "?");
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        for (text, wanted) in [
            ("q=100%", "100%"),
            ("q=%4", "%4"),
            ("q=%zz%41", "%zzA"),
            ("q=%ff", "\u{fffd}"),
            ("q=%00%e2%80%ae", "\\x00\\u{202e}"),
            ("q=a=b", "a=b"),
        ] {
            assert_eq!(Query::parse(text).text, wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_and_its_address_says_the_same(text in "(q|state|sort|page|size|&|=|%|\\+|[0-9a-f]|[ -~]|é){0,60}") {
            let query = Query::parse(&text);
            prop_assert!(query.text.chars().count() <= MOST_CHARACTERS);
            prop_assert!(!query.text.chars().any(char::is_control));
            prop_assert!((1..=MOST_ROWS).contains(&query.size) && query.page >= 1);
            let address = query.address();
            prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>#".contains(&byte)), "{}", address);
            prop_assert_eq!(Query::parse(address.trim_start_matches('?')), query);
        }
    }
}
