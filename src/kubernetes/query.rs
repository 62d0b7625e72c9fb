//! Query strings, percent-encoded.

/// Builds the path and query of a request.
///
/// ```
/// # use jwt_exporter::kubernetes::Query;
/// let path = Query::new("/api/v1/secrets").with("labelSelector", "a in (x,y)").with("limit", 500).build();
/// assert_eq!(path, "/api/v1/secrets?labelSelector=a%20in%20%28x%2Cy%29&limit=500");
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    has_parameters: bool,
}

impl Query {
    /// Starts with a path, which must be encoded already; see [`Query::path`].
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { text: path.to_owned(), has_parameters: false }
    }

    /// Starts with a path made of segments, each of them encoded.
    #[must_use]
    pub fn path(segments: &[&str]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            encode(segment, &mut text);
        }
        Self { text, has_parameters: false }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.text.push(if self.has_parameters { '&' } else { '?' });
        self.has_parameters = true;
        encode(key, &mut self.text);
        self.text.push('=');
        encode(&value.to_string(), &mut self.text);
        self
    }

    /// Adds a parameter unless its value is empty.
    #[must_use]
    pub fn with_some(self, key: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(key, value) }
    }

    /// The path with its query.
    #[must_use]
    pub fn build(self) -> String {
        self.text
    }
}

/// Everything but the unreserved characters (RFC 3986, section 2.3).
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_and_tokens_are_encoded() {
        for (value, encoded) in [
            ("monitor.jwt.io/monitoring=true", "monitor.jwt.io%2Fmonitoring%3Dtrue"),
            ("env in (a, b),!old,tier!=x", "env%20in%20%28a%2C%20b%29%2C%21old%2Ctier%21%3Dx"),
            ("eyJ2Ijoi+/==", "eyJ2Ijoi%2B%2F%3D%3D"),
            ("ä&#", "%C3%A4%26%23"),
        ] {
            assert_eq!(Query::new("/x").with("k", value).build(), format!("/x?k={encoded}"));
        }
    }

    #[test]
    fn an_empty_value_can_be_left_out() {
        assert_eq!(
            Query::path(&["api", "v1", "a/b"]).with_some("x", "").with("y", 1).with_some("z", "2").build(),
            "/api/v1/a%2Fb?y=1&z=2"
        );
    }
}
