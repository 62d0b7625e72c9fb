//! An answer of the API server: a list, item by item, and each item as a Secret. What `serde_json` takes for a list has to
//! be read as the same one, in pieces of any size.

use jwt_exporter::kubernetes::list::{ListError, ListMeta, read_list};
use jwt_exporter::kubernetes::object::SecretObject;
use serde_json::Value;
use std::io::{self, Read};

const ANNOTATION: &str = "jwt-exporter/secret-key";

/// Runs one input. Returns whether it was accepted.
pub(super) fn run(input: &[u8]) -> bool {
    let whole = read(input, usize::MAX);
    let dripped = read(input, 1 + input.len() % 7);
    match (&whole, &dripped) {
        (Ok(whole), Ok(dripped)) => assert_eq!(whole, dripped, "other items in other pieces"),
        (Err(whole), Err(dripped)) => {
            assert_eq!(whole.to_string(), dripped.to_string(), "another error in other pieces")
        }
        _ => panic!("whole: {whole:?}, in pieces: {dripped:?}"),
    }
    let accepted = whole.is_ok();
    if let Some(wanted) = plain_list(input) {
        let (items, meta) = whole.unwrap_or_else(|error| panic!("a list is refused: {error}"));
        let items: Vec<Value> =
            items.iter().map(|item| serde_json::from_slice(item).expect("an item in JSON")).collect();
        let text = |name: &str| wanted["metadata"][name].as_str().unwrap_or_default();
        assert_eq!(Value::Array(items), wanted["items"]);
        assert_eq!((&*meta.resource_version, &*meta.continue_token), (text("resourceVersion"), text("continue")));
    }
    accepted
}

/// What is no error if the input is this list. Not every list is compared: of two members of a name the tree keeps the
/// last, and the API server has no reason to escape the names.
fn plain_list(input: &[u8]) -> Option<Value> {
    let list: Value = serde_json::from_slice(input).ok()?;
    let text = std::str::from_utf8(input).ok()?;
    let once =
        ["\"items\"", "\"metadata\""].iter().all(|name| text.matches(name).count() <= 1) && !text.contains("\\u");
    let items = list.get("items")?.as_array()?.iter().all(Value::is_object);
    let metadata = list.get("metadata").is_none_or(Value::is_object);
    (once && items && metadata).then_some(list)
}

fn read(input: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, ListMeta), ListError> {
    let mut items = Vec::new();
    let meta = read_list(Drip { rest: input, step }, |item| {
        check_item(item);
        items.push(item.to_vec());
    })?;
    Ok((items, meta))
}

fn check_item(item: &[u8]) {
    assert!(item.starts_with(b"{") && (item.ends_with(b"}") || item.ends_with(b"]")), "no object");
    let Ok(secret) = SecretObject::read(item, ANNOTATION) else { return };
    let mut entries = Vec::new();
    let data = secret.data(&mut entries);
    // Where no tree can be built (half a surrogate pair, a number out of range), there is nothing to compare with.
    let Ok(tree) = serde_json::from_slice::<Value>(item) else { return };
    let metadata = &tree["metadata"];
    assert_eq!(metadata["namespace"].as_str(), Some(&*secret.namespace));
    assert_eq!(metadata["name"].as_str(), Some(&*secret.name));
    assert_eq!(metadata["annotations"][ANNOTATION].as_str(), secret.annotation.as_deref());
    let Ok(()) = data else { return };
    let values = tree["data"].as_object().into_iter().flatten().filter(|(_, value)| value.is_string());
    // Repeated keys are all lent, and are one in the tree.
    assert!(entries.len() >= values.clone().count());
    for (key, _) in values {
        assert!(entries.iter().any(|(name, _)| name == key), "{key} is missing");
    }
}

/// Hands out `step` bytes at a time.
struct Drip<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(self.rest.len()).min(buffer.len());
        let (now, later) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = later;
        Ok(length)
    }
}
