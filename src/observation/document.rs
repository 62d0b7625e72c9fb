//! Values that are no token and carry some: JSON documents of any shape, registry logins, kubeconfigs.
//!
//! One walk over the document, no tree: each text that may be a token is lent together with its JSON Pointer.

use crate::jwt::{looks_like_jwt, push_token, without_decoration};
use crate::yaml;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;
use std::ops::ControlFlow;

/// A name that would make a pointer longer than this is written as `…`: each token of the document repeats what leads to it, and
/// no label shows so much.
const MOST_POINTER_BYTES: usize = 8 * 1024;

/// Told the JSON Pointer and the value of each text that looks like a token; breaks off the search if it wants no more.
pub(super) type Each<'a> = &'a mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>;

/// Why a value cannot be searched.
#[derive(Debug, PartialEq, Eq)]
pub enum DocumentFault {
    /// Neither JSON nor a kubeconfig, by the look of it.
    NoDocument,
    /// It begins like JSON, and is none.
    Json {
        /// Counted from one.
        line: usize,
        /// In bytes, counted from one.
        column: usize,
    },
    /// It begins like a kubeconfig, and is no YAML.
    Yaml {
        /// Counted from one.
        line: usize,
    },
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDocument => f.write_str("the value is no document"),
            Self::Json { line, column } => {
                write!(f, "the value begins like JSON, and is none (line {line}, column {column})")
            }
            Self::Yaml { line } => write!(f, "the value begins like a kubeconfig, and is not YAML (line {line})"),
        }
    }
}

/// Searches a value, as [`without_decoration`] leaves it. A kubeconfig (Kubernetes, `clientcmd/api/v1.Config`) may be YAML;
/// everything else has to be JSON.
///
/// # Errors
/// Why it cannot be searched, or not to its end; what was found before has been lent.
pub fn search(value: &[u8], each: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>) -> Result<(), DocumentFault> {
    let mut search = Search { pointer: String::new(), depth: 0, each, stopped: false };
    match value.first() {
        Some(b'{' | b'[') => {
            let mut document = serde_json::Deserializer::from_slice(value);
            let end = search.deserialize_any(&mut document).and_then(|()| document.end());
            match end {
                Err(error) if !search.stopped => {
                    Err(DocumentFault::Json { line: error.line(), column: error.column() })
                }
                _ => Ok(()),
            }
        }
        Some(_) if starts_like_kubeconfig(value) => {
            let text = std::str::from_utf8(value).map_err(|_| DocumentFault::NoDocument)?;
            if memchr::memmem::find(value, b"users:").is_none() {
                return Err(DocumentFault::NoDocument);
            }
            match yaml::seeded(text, &mut search) {
                Err(error) if !search.stopped => Err(DocumentFault::Yaml { line: error.line.unwrap_or(1) }),
                _ => Ok(()),
            }
        }
        _ => Err(DocumentFault::NoDocument),
    }
}

/// The top-level keys that a kubeconfig may begin with.
pub(super) fn starts_like_kubeconfig(value: &[u8]) -> bool {
    const STARTS: [&[u8]; 9] = [
        b"apiVersion:",
        b"kind:",
        b"clusters:",
        b"contexts:",
        b"current-context:",
        b"preferences:",
        b"users:",
        b"---",
        b"#",
    ];
    STARTS.iter().any(|start| value.starts_with(start)) && !value.starts_with(b"-----")
}

struct Search<'a> {
    /// Where the walk stands.
    pointer: String,
    /// How many steps that is.
    depth: usize,
    each: Each<'a>,
    stopped: bool,
}

impl Search<'_> {
    fn deserialize_any<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn offer<E: serde::de::Error>(&mut self, value: &[u8]) -> Result<(), E> {
        let bare = without_decoration(value);
        if looks_like_jwt(bare) && (self.each)(&self.pointer, bare).is_break() {
            self.stopped = true;
            return Err(E::custom("stopped"));
        }
        Ok(())
    }

    /// A registry login (Docker's config.json, member `auths`): `auth` repeats what `username` and `password` say.
    fn is_registry_login(&self) -> bool {
        self.depth == 2 && self.pointer.starts_with("/auths/")
    }

    /// One step down, to a member or an item.
    fn enter(&mut self, name: &str) {
        self.depth += 1;
        let is_told = self.pointer.len() + name.len() <= MOST_POINTER_BYTES;
        push_token(&mut self.pointer, if is_told { name } else { "…" });
    }

    /// Back to where the pointer had this length.
    fn leave(&mut self, length: usize) {
        self.depth -= 1;
        self.pointer.truncate(length);
    }
}

impl<'de> DeserializeSeed<'de> for &mut Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize_any(deserializer)
    }
}

impl<'de> Visitor<'de> for &mut Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.offer(text.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let here = self.pointer.len();
        let mut at = 0usize;
        loop {
            self.enter(&at.to_string());
            let more = seq.next_element_seed(&mut *self)?;
            self.leave(here);
            if more.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let here = self.pointer.len();
        let login = self.is_registry_login();
        let (mut auth, mut has_password) = (None::<String>, false);
        while let Some(name) = map.next_key::<Name>()? {
            if login && name.0 == "auth" {
                auth = map.next_value().map(|Text(text)| text)?;
                continue;
            }
            has_password |= name.0 == "password";
            self.enter(&name.0);
            map.next_value_seed(&mut *self)?;
            self.leave(here);
        }
        if let Some(auth) = auth.filter(|_| !has_password) {
            let pair = STANDARD.decode(auth).unwrap_or_default();
            if let Some(colon) = memchr::memchr(b':', &pair) {
                self.enter("auth");
                self.offer::<A::Error>(pair.get(colon + 1..).unwrap_or_default())?;
                self.leave(here);
            }
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize_any(deserializer)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    // YAML alone: a number of more than 64 bits, as a password without quotes can be, and a tag.
    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        value.newtype_variant_seed(self)
    }
}

/// A member name; YAML allows numbers and booleans there too.
struct Name(String);

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// A text, or `None` for a value of another type.
struct Text(Option<String>);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Any {
            Text(String),
            Other(IgnoredAny),
        }
        Any::deserialize(deserializer).map(|any| match any {
            Any::Text(text) => Self(Some(text)),
            Any::Other(_) => Self(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "eyJhbGciOiJub25lIn0.e30.";

    fn places(value: &str) -> Result<Vec<String>, DocumentFault> {
        let mut found = Vec::new();
        search(value.as_bytes(), &mut |pointer, value| {
            assert_eq!(value, TOKEN.as_bytes());
            found.push(pointer.to_owned());
            ControlFlow::Continue(())
        })
        .map(|()| found)
    }

    #[test]
    fn a_json_document_at_any_depth() {
        let document = format!(
            r#"{{"access_token":"{TOKEN}","n":1.5,"x":[null,true,{{"a/b":"Bearer {TOKEN}"}}],"t":"www.example.com","":" {TOKEN}\n"}}"#
        );
        assert_eq!(places(&document).unwrap(), ["/access_token", "/x/2/a~1b", "/"]);
        assert_eq!(places(&format!(r#"["{TOKEN}"]"#)).unwrap(), ["/0"]);
        assert_eq!(places("{}").unwrap(), [""; 0]);
    }

    #[test]
    fn a_registry_login_has_its_token_once() {
        let auth = STANDARD.encode(format!("user:{TOKEN}"));
        let both = format!(r#"{{"auths":{{"r.example":{{"username":"user","password":"{TOKEN}","auth":"{auth}"}}}}}}"#);
        assert_eq!(places(&both).unwrap(), ["/auths/r.example/password"]);
        let alone = format!(r#"{{"auths":{{"r.example/v1":{{"auth":"{auth}"}},"other":{{"auth":7}}}}}}"#);
        assert_eq!(places(&alone).unwrap(), ["/auths/r.example~1v1/auth"]);
        let elsewhere = format!(r#"{{"a":{{"auth":"{auth}"}}}}"#);
        assert_eq!(places(&elsewhere).unwrap(), [""; 0]);
    }

    #[test]
    fn a_place_is_told_in_a_bounded_length() {
        let (long, longer) = ("x".repeat(MOST_POINTER_BYTES), "x".repeat(MOST_POINTER_BYTES + 1));
        let document = format!(r#"{{"{longer}":{{"a":"{TOKEN}"}},"{long}":{{"b":["{TOKEN}"]}},"c":"{TOKEN}"}}"#);
        assert_eq!(places(&document).unwrap(), ["/…/a", &format!("/{long}/…/…"), "/c"]);
    }

    #[test]
    fn a_kubeconfig_in_yaml() {
        let text = format!(
            "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: {TOKEN}\n- name: b\n  user: {{}}\n"
        );
        assert_eq!(places(&text).unwrap(), ["/users/0/user/token"]);
        assert_eq!(places("kind: Config\n"), Err(DocumentFault::NoDocument));
        assert!(matches!(places("kind: [\nusers:\n"), Err(DocumentFault::Yaml { .. })));
    }

    #[test]
    fn a_kubeconfig_may_hold_whatever_yaml_has() {
        for other in [
            "123456789012345678901234567890",
            "-170141183460469231731687303715884105728",
            "1e400",
            "!secret x",
            "!list [1, !x {y: z}]",
            "~",
            "2024-01-01",
            "{8080: true, ~: 1}",
            "!!binary aGVsbG8=",
        ] {
            let text = format!("users:\n- user:\n    x: {other}\n    token: !mine {TOKEN}\n");
            assert_eq!(places(&text).unwrap(), ["/users/0/user/token"], "{other}");
        }
        let both = format!("users: &u\n- {{token: &t '{TOKEN}'}}\n- {{token: *t}}\nagain: *u\n");
        assert_eq!(places(&both).unwrap(), ["/users/0/token", "/users/1/token", "/again/0/token", "/again/1/token"]);
    }

    #[test]
    fn what_is_no_document() {
        assert_eq!(places("hello"), Err(DocumentFault::NoDocument));
        assert_eq!(places(""), Err(DocumentFault::NoDocument));
        assert_eq!(places("-----BEGIN X-----"), Err(DocumentFault::NoDocument));
        assert_eq!(places(r#"{"a":1"#), Err(DocumentFault::Json { line: 1, column: 6 }));
        assert!(matches!(places(&"[".repeat(100_000)), Err(DocumentFault::Json { .. })));
    }

    #[test]
    fn the_search_can_be_broken_off() {
        let document = format!(r#"["{TOKEN}","{TOKEN}","{TOKEN}", oops"#);
        let mut seen = 0;
        let end = search(document.as_bytes(), &mut |_, _| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((end, seen), (Ok(()), 2));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..200), yaml in "users:[-a-z:\\[\\]{}&*!,\n \"]{0,80}") {
            let _ = search(&value, &mut |_, _| ControlFlow::Continue(()));
            let _ = search(yaml.as_bytes(), &mut |_, _| ControlFlow::Continue(()));
        }
    }
}
