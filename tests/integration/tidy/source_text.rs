//! Rust sources as tokens with their lines: comments, literals and test code are taken out. No parser, just enough of the
//! grammar for rules about names.

use std::collections::BTreeSet;
use std::path::Path;

/// One source file.
pub(super) struct SourceText {
    /// From the folder of the manifest, with slashes: `src/jwt/mod.rs`.
    pub(super) path: String,
    /// What is left of it.
    pub(super) tokens: Vec<Token>,
    /// How many lines are no test code.
    pub(super) lines: usize,
    /// Files beside it that are declared `#[cfg(test)] mod NAME;`.
    test_modules: Vec<String>,
}

/// A word, `::`, or one other sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl SourceText {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, test_modules, test_lines) = without_tests(without_comments_and_literals(text));
        Self { path: path.to_owned(), tokens: tokens(&code), lines: text.lines().count() - test_lines, test_modules }
    }

    /// The modules from the crate's root down to this file: `jwt`, `claims`.
    pub(super) fn modules(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
    }

    /// The token at a place, or nothing behind the end.
    pub(super) fn at(&self, place: usize) -> &str {
        self.tokens.get(place).map_or("", |token| &token.text)
    }

    /// The token before a place, `back` further back.
    pub(super) fn before(&self, place: usize, back: usize) -> &str {
        place.checked_sub(back).map_or("", |place| self.at(place))
    }

    pub(super) fn violation(&self, place: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.tokens.get(place).map_or(0, |token| token.line))
    }
}

/// Every file under `src/` that is no test code, in the order of their paths.
pub(super) fn sources(root: &Path) -> Vec<SourceText> {
    let mut files = Vec::new();
    collect(root, &root.join("src"), &mut files);
    let tests: BTreeSet<String> = files
        .iter()
        .flat_map(|file| {
            let modules = file.modules();
            let above = match modules.as_slice() {
                ["lib" | "main"] => String::new(),
                modules => modules.join("/") + "/",
            };
            file.test_modules.iter().map(move |name| format!("{above}{name}"))
        })
        .collect();
    files.retain(|file| !tests.contains(&file.modules().join("/")));
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceText>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let shown = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push(SourceText::new(&shown, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text with a blank for every character in a comment or a literal; line feeds stay.
fn without_comments_and_literals(text: &str) -> Vec<char> {
    let mut code: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let word_before = at > 0 && (code[at - 1].is_alphanumeric() || code[at - 1] == '_');
        let length = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|character| *character == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !word_before) {
            length
        } else if rest[0] == '"' {
            quoted(rest, '"')
        } else if rest[0] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
            quoted(rest, '\'')
        } else {
            at += 1;
            continue;
        };
        blank(&mut code[at..at + length]);
        at += length;
    }
    code
}

fn blank(code: &mut [char]) {
    code.iter_mut().filter(|character| **character != '\n').for_each(|character| *character = ' ');
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take(2).take_while(|character| matches!(character, 'r' | 'b' | 'c')).count();
    let hashes = rest[prefix..].iter().take_while(|character| **character == '#').count();
    if prefix == 0 || rest[prefix - 1] != 'r' || rest.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = prefix + hashes + 1;
    let length = rest[body..].windows(end.len()).position(|window| window == end)?;
    Some(body + length + end.len())
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The code without what stands behind `#[cfg(test)]`, the names of the modules declared there, and how many lines it is.
fn without_tests(mut code: Vec<char>) -> (Vec<char>, Vec<String>, usize) {
    const MARK: &str = "#[cfg(test)]";
    let mark: Vec<char> = MARK.chars().collect();
    let (mut modules, mut lines) = (Vec::new(), 0);
    while let Some(start) = code.windows(mark.len()).position(|window| window == mark) {
        let end = start + mark.len() + item(&code[start + mark.len()..]);
        let text: String = code[start + mark.len()..end].iter().collect();
        if let Some(name) = text.trim().strip_suffix(';').and_then(|text| text.rsplit_once("mod ")) {
            modules.push(name.1.trim().to_owned());
        }
        lines += text.matches('\n').count() + 1;
        blank(&mut code[start..end]);
    }
    (code, modules, lines)
}

/// The length of the item at the front: to a semicolon or the end of a block, outside of other brackets.
fn item(code: &[char]) -> usize {
    let mut depth = 0;
    for (at, character) in code.iter().enumerate() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn tokens(code: &[char]) -> Vec<Token> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < code.len() {
        let word = code[at..].iter().take_while(|character| character.is_alphanumeric() || **character == '_').count();
        let length = if word > 0 { word } else { 1 + usize::from(code[at..].starts_with(&[':', ':'])) };
        let text: String = code[at..at + length].iter().collect();
        line += text.matches('\n').count();
        if !text.trim().is_empty() {
            tokens.push(Token { text, line });
        }
        at += length;
    }
    tokens
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = r##"//! doc crate::a
use crate::b; // crate::c
/* crate::d /* crate::e */ crate::f */
const A: &str = "crate::g \" crate::h"; const B: &str = r#"crate::i " crate::j"#; const C: [char; 3] = ['"', '\'', 'c'];
fn lifetime<'a>(text: &'a str) -> &'a str { text }
#[cfg(test)]
use crate::k::{l, m};
#[cfg(test)]
mod elsewhere;
#[cfg(test)]
#[allow(dead_code)]
mod tests {
    fn inner() { crate::n::o(";") }
}
fn last() {}
"##;
    let source = SourceText::new("src/a/b.rs", text);
    let words: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
    let crates: Vec<&str> = words.windows(3).filter(|window| window[0] == "crate").map(|window| window[2]).collect();
    assert_eq!(crates, ["b"]);
    assert_eq!(words.iter().filter(|word| **word == "a").count(), 3, "{words:?}");
    assert_eq!(source.tokens.last(), Some(&Token { text: "}".into(), line: 15 }));
    assert_eq!((source.lines, &source.test_modules[..]), (6, &["elsewhere".to_owned()][..]));
    assert_eq!(source.modules(), ["a", "b"]);
    assert_eq!(SourceText::new("src/a/mod.rs", "").modules(), ["a"]);
}
