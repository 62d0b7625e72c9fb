//! A text with variables: the first line is the text, the rest the value of each of them. Whatever the value, what is made of a
//! JSON body is the same tree as the text's own, with the value in the place of the variable and nothing added; a header is
//! one line; a URL keeps its host and its parts.

use jwt_exporter::redacted::Redacted;
use jwt_exporter::renewal::{Place, Template};
use serde_json::Value;

/// Nothing that a text would hold by itself.
const STAND_IN: &str = "stand-in-2b7e151628aed2a6";

/// Runs one input. Returns whether the text is accepted at any place.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(input) = std::str::from_utf8(input) else { return false };
    let (text, value) = input.split_once('\n').unwrap_or((input, ""));
    let render = |template: &Template, value: &str| {
        let value = Redacted::new(value.to_owned());
        template.render(&|_| Some(&value)).map(|rendered| rendered.expose().to_owned())
    };
    let mut accepted = false;
    for place in [Place::Json, Place::Form, Place::Header, Place::Url, Place::Opaque] {
        let Ok(template) = Template::parse(text, place) else { continue };
        // Nearly everything is a form.
        accepted |= place != Place::Form;
        assert_eq!(template.as_written(), text);
        let Ok(rendered) = render(&template, value) else { continue };
        match place {
            Place::Json => {
                let Ok(stand_in) = render(&template, STAND_IN) else { panic!("a plain value is refused") };
                let mut wanted: Value = serde_json::from_str(&stand_in).expect("JSON with a plain value");
                let found: Value = serde_json::from_str(&rendered).expect("JSON with any value");
                // Two keys may become one by the same value; then there is nothing to compare.
                if !text.contains(STAND_IN) && replace(&mut wanted, value) {
                    assert_eq!(found, wanted);
                }
            }
            Place::Form if template.variables().next().is_some() => {
                let Ok(plain) = render(&template, "") else { panic!("an empty value is refused") };
                for sign in ['&', '=', '+', '\n', '\r'] {
                    assert_eq!(rendered.matches(sign).count(), plain.matches(sign).count());
                }
            }
            Place::Header => assert!(rendered.bytes().all(|byte| (b' '..=b'~').contains(&byte))),
            Place::Url => {
                let origin = |url: &str| url.split('/').take(3).collect::<Vec<_>>().join("/");
                assert!(rendered.is_ascii() && !rendered.contains([' ', '#', '\r', '\n']));
                if template.variables().next().is_some() {
                    let (text, rendered) = (text.replace("$$", "$"), rendered.as_str());
                    let end = text.find("?").unwrap_or(text.len());
                    assert!(text[..end].split('/').count() < 4 || origin(rendered) == origin(&text));
                    assert_eq!(rendered.matches('?').count(), text.matches('?').count());
                    assert_eq!(rendered.matches('&').count(), text.matches('&').count());
                }
            }
            Place::Form | Place::Opaque => {}
        }
    }
    accepted
}

/// Puts `value` in the place of the stand-in, in texts and keys; `false` if two keys became one.
fn replace(tree: &mut Value, value: &str) -> bool {
    match tree {
        Value::String(text) => {
            *text = text.replace(STAND_IN, value);
            true
        }
        Value::Array(items) => items.iter_mut().all(|item| replace(item, value)),
        Value::Object(members) => {
            let before = members.len();
            let mut sound = true;
            let replaced = std::mem::take(members).into_iter().map(|(key, mut inner)| {
                sound &= replace(&mut inner, value);
                (key.replace(STAND_IN, value), inner)
            });
            *members = replaced.collect();
            sound && members.len() == before
        }
        _ => true,
    }
}
