//! JSON as a tree, for those few documents that are looked at from many sides: claims that a role binds, settings of a mount,
//! key sets. Read the way Go's `encoding/json` reads, since the servers that we answer for are written in Go: bytes that are
//! not UTF-8 and lone surrogates in strings become U+FFFD, numbers keep their literal.

/// Arrays and objects within one another. The reader calls itself once for each.
const MAX_DEPTH: usize = 512;

/// A JSON value. Numbers are kept as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// The literal: `5`, `5.0` and `5e0` are three texts.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in the order of the document, each name once.
    Object(Vec<(String, Value)>),
}

/// What a repeated member name of an object means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The document is no good (`go-jose`'s JSON).
    Refuse,
    /// The last one counts (`encoding/json`).
    LastWins,
}

/// Not JSON, nested too deep, or a name that stands twice where it must not. Holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl Value {
    /// Reads one document and nothing behind it.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn parse(document: &[u8], duplicates: Duplicates) -> Result<Self, NotJson> {
        let mut reader = Reader { bytes: document, at: 0, duplicates };
        let value = reader.value(0)?;
        reader.skip_space();
        if reader.at == document.len() { Ok(value) } else { Err(NotJson) }
    }

    /// Reads the first document; what stands behind it is not looked at.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn parse_first(document: &[u8], duplicates: Duplicates) -> Result<Self, NotJson> {
        Reader { bytes: document, at: 0, duplicates }.value(0)
    }

    /// A member of an object; `None` for anything else, and where there is none.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string; `None` for anything else.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number as a 64-bit float; `None` for anything else.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Number(literal) => literal.parse().ok(),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    duplicates: Duplicates,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes one byte if it is the next one, white space aside.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, NotJson> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotJson> {
        if depth > MAX_DEPTH {
            return Err(NotJson);
        }
        self.skip_space();
        match self.peek() {
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.object(depth),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.need(b'[')?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            self.need(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.need(b'{')?;
        let mut members: Vec<(String, Value)> = Vec::new();
        // Where each name stands: a search through the members would make the work a square.
        let mut places = std::collections::HashMap::new();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.need(b':')?;
            let value = self.value(depth + 1)?;
            let known = places.get(&name).and_then(|place: &usize| members.get_mut(*place));
            match known {
                Some(_) if self.duplicates == Duplicates::Refuse => return Err(NotJson),
                Some(member) => member.1 = value,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            self.need(b',')?;
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || leading_zero && whole > 1 {
            return Err(NotJson);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(NotJson);
            }
        }
        let literal = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(String::from_utf8_lossy(literal).into_owned()))
    }

    fn string(&mut self) -> Result<String, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(NotJson);
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).ok_or(NotJson)?;
            push_lossy(&mut text, rest.get(..plain).unwrap_or_default());
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => return Ok(text),
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(NotJson),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let letter = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(NotJson),
        })
    }

    /// What stands behind `\u`. Half of a surrogate pair becomes U+FFFD, and what follows it stands for itself.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.hex4(self.at).ok_or(NotJson)?;
        self.at += 4;
        let escaped = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
        if (0xd800..0xdc00).contains(&first)
            && escaped
            && let Some(second @ 0xdc00..0xe000) = self.hex4(self.at + 2)
        {
            self.at += 6;
            return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or('\u{fffd}'));
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
    }
}

/// One U+FFFD for each byte that is not UTF-8.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Value, NotJson> {
        Value::parse(text.as_bytes(), Duplicates::Refuse)
    }

    #[test]
    fn numbers_keep_their_literal() {
        for literal in ["0", "-0", "5", "5.0", "5.50", "-1e3", "1E+2", "9007199254740993", "1e400"] {
            assert_eq!(read(literal), Ok(Value::Number(literal.to_owned())));
        }
        for text in ["01", "-", "1.", ".5", "+1", "1e", "0x1", "NaN", "1_0", ""] {
            assert_eq!(read(text), Err(NotJson), "{text}");
        }
    }

    #[test]
    fn strings_are_unescaped_as_go_does_it() {
        for (text, wanted) in [
            (r#""a\u0062\n\/""#, "ab\n/"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\udc00\ud83d\ude00""#, "\u{fffd}😀"),
        ] {
            assert_eq!(read(text), Ok(Value::Text(wanted.to_owned())), "{text}");
        }
        let torn = Value::parse(b"\"a\xff\xe2\x82b\"", Duplicates::Refuse);
        assert_eq!(torn, Ok(Value::Text("a\u{fffd}\u{fffd}\u{fffd}b".to_owned())));
        for text in ["\"a", "\"\\x\"", "\"\\u12\"", "\"\n\"", "'a'"] {
            assert_eq!(read(text), Err(NotJson), "{text}");
        }
    }

    #[test]
    fn a_repeated_name_is_refused_or_the_last_one_counts() {
        let text = r#"{"a":1,"b":{"c":1},"\u0061":2}"#;
        assert_eq!(read(text), Err(NotJson));
        let last = Value::parse(text.as_bytes(), Duplicates::LastWins).unwrap();
        assert_eq!(last.member("a"), Some(&Value::Number("2".to_owned())));
        assert_eq!(read(r#"{"a":{"b":1,"b":2}}"#), Err(NotJson));
    }

    #[test]
    fn documents_end_where_they_end_and_depth_is_bounded() {
        for text in ["{} x", "[1,]", "{\"a\":1,}", "[1 2]", "{\"a\" 1}", "{1:2}", "nul", "tru", "[", "{"] {
            assert_eq!(read(text), Err(NotJson), "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), Err(NotJson));
        let just = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(read(&just).is_ok());
    }

    proptest! {
        #[test]
        fn what_serde_reads_reads_the_same(document in "[\\[\\]{}\",:0-9a-cnultrefs. -]{0,40}") {
            let ours = read(&document).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok();
            // Only a repeated name parts the two.
            prop_assert!(ours == theirs || theirs && Value::parse(document.as_bytes(), Duplicates::LastWins).is_ok());
        }

        #[test]
        fn no_bytes_panic(document in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Value::parse(&document, Duplicates::LastWins);
        }
    }
}
