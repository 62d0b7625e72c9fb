//! The places of a request where a variable may stand: what they can hold, and how a value is escaped there.

/// What a text is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A JSON document (RFC 8259); variables stand inside of its strings.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// The value of a header field.
    Header,
    /// A URL; variables stand in its path or query.
    Url,
    /// A body of another kind: no variables.
    Opaque,
}

impl Place {
    /// That of a body with this `Content-Type` (RFC 9110, section 8.3; `+json`: RFC 6839, section 3.1).
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Opaque,
        }
    }
}

/// Visible ASCII and the space (RFC 9110, section 5.5, without its obsolete part).
pub(super) fn in_header(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// RFC 3986, section 2: reserved, unreserved and percent.
pub(super) fn in_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

/// Whether every `%` has its two digits behind it: they must not come from a value.
pub(super) fn has_whole_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

pub(super) fn has_dot_segment(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    path.split('/')
        .skip(3)
        .any(|segment| matches!(segment.replace("%2E", ".").replace("%2e", ".").as_str(), "." | ".."))
}

/// RFC 8259, section 7.
pub(super) fn push_json(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                out.push_str("\\u00");
                push_hex(out, character as u8);
            }
            other => out.push(other),
        }
    }
}

/// Everything but the unreserved characters (RFC 3986, section 2.3); so it may stand in a form too.
pub(super) fn push_percent_encoded(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                push_hex(out, byte);
            }
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
    }
}
