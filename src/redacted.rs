//! Credentials that cannot be printed by accident and are wiped when they go.

use std::fmt;
use zeroize::Zeroizing;

/// A password, bearer token or private key. Neither [`Debug`](fmt::Debug) nor an error ever shows it; its memory is
/// overwritten when it is dropped. There is no `Display`: whoever needs the text says [`Redacted::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(Zeroizing<String>);

impl Redacted {
    /// Takes ownership of the secret text.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::hash::Hash for Redacted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl From<String> for Redacted {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl<'de> serde::Deserialize<'de> for Redacted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let shown = format!("{:?} {:#?}", Redacted::new("hunter2".into()), Some(Redacted::new("hunter2".into())));
        assert!(!shown.contains("hunter2") && !shown.contains("hunt"), "{shown}");
    }
}
