//! From the text of a file to the Secrets in it: the shapes that `kubectl get -o yaml` and `-o json` write and that
//! `kubectl apply` reads.

use crate::observation::DataValue;
use crate::yaml;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Where `kubectl apply` puts a manifest without a namespace, unless its context says otherwise.
const DEFAULT_NAMESPACE: &str = "default";

/// Brackets that a document may hold open at a time, those in texts included. The YAML parser goes through all of them for
/// each word, and refuses more than 128 levels only at the end: a file full of them would keep us busy for hours.
const MAX_OPEN_BRACKETS: usize = 1000;

/// A Secret as it is written down.
pub struct SecretManifest {
    /// `default` where the manifest has none.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    metadata: Map<String, Value>,
    /// By key. `stringData` has taken the place of `data`.
    data: BTreeMap<String, DataValue<'static>>,
}

/// A document that should hold Secrets and cannot be read. Says nothing of its content.
#[derive(Debug, PartialEq, Eq)]
pub struct DocumentFault {
    /// Of the file, from 1.
    pub line: usize,
    pub(super) problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Syntax,
    /// The same, in a text with the braces of Helm and its like.
    Template,
    NoName,
    /// More than [`MAX_OPEN_BRACKETS`].
    Brackets,
}

impl fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match self.problem {
            Problem::Syntax => write!(f, "line {line} is not YAML"),
            Problem::Template => write!(f, "line {line} is not YAML: a template has to be rendered first"),
            Problem::Brackets => {
                write!(f, "the document at line {line} has more than {MAX_OPEN_BRACKETS} open brackets")
            }
            Problem::NoName => write!(f, "the Secret in the document at line {line} has no metadata.name"),
        }
    }
}

impl SecretManifest {
    fn new(mut object: Map<String, Value>) -> Option<Self> {
        let metadata = take_map(&mut object, "metadata");
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("name")?.to_owned();
        let namespace = text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
        // The API server refuses values that are no texts: nothing of them would ever be in a Secret.
        let mut data = BTreeMap::new();
        for (key, value) in take_map(&mut object, "data") {
            if let Value::String(encoded) = value {
                data.insert(key, DataValue::Base64(encoded.into()));
            }
        }
        for (key, value) in take_map(&mut object, "stringData") {
            if let Value::String(text) = value {
                data.insert(key, DataValue::Plain(text.into()));
            }
        }
        Some(Self { namespace, name, metadata, data })
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.get("annotations")?.get(key)?.as_str()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.get("labels")?.get(key)?.as_str()
    }

    /// Data keys and values, by key.
    #[must_use]
    pub fn into_data(self) -> Vec<(Cow<'static, str>, DataValue<'static>)> {
        self.data.into_iter().map(|(key, value)| (Cow::Owned(key), value)).collect()
    }
}

/// Lends each Secret of a file, in its order. Objects of other kinds are passed over.
pub fn each_secret(text: &str, each: &mut impl FnMut(SecretManifest)) -> Vec<DocumentFault> {
    if let Some(objects) = json_stream(text) {
        return take_all(objects.into_iter().map(|object| (1, object)), each);
    }
    let mut faults = Vec::new();
    for document in yaml::documents(text) {
        if open_brackets(document.text) > MAX_OPEN_BRACKETS {
            faults.push(DocumentFault { line: document.line, problem: Problem::Brackets });
            continue;
        }
        match document.parse::<Value>() {
            Ok(object) => faults.extend(take_all([(document.line, object)], each)),
            // Tags, for instance, are the business of whoever reads that kind.
            Err(_) if document.parse::<KindAlone>().is_ok_and(|object| !object.may_hold_secrets()) => {}
            Err(error) => {
                let problem = if document.text.contains("{{") { Problem::Template } else { Problem::Syntax };
                faults.push(DocumentFault { line: error.line.unwrap_or(document.line), problem });
            }
        }
    }
    faults
}

/// The most that are open at a time, whatever they stand for.
fn open_brackets(text: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        most = most.max(open);
    }
    most
}

/// JSON, one object after the other; `None` if it is none to the end.
fn json_stream(text: &str) -> Option<Vec<Value>> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('{') {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().ok()
}

fn take_all(
    objects: impl IntoIterator<Item = (usize, Value)>,
    each: &mut impl FnMut(SecretManifest),
) -> Vec<DocumentFault> {
    let mut nameless = Vec::new();
    for (line, object) in objects {
        let mut take = |secret| match secret {
            Some(secret) => each(secret),
            None => nameless.push(DocumentFault { line, problem: Problem::NoName }),
        };
        take_object(object, None, &mut take);
    }
    nameless
}

/// The items of a SecretList, as the API server writes it, do not say themselves what they are.
fn take_object(object: Value, kind_of_list: Option<&str>, take: &mut impl FnMut(Option<SecretManifest>)) {
    let Value::Object(mut object) = object else { return };
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    // Others have Secrets of their own: those of `v1` alone are Kubernetes' core objects.
    if text("apiVersion").is_some_and(|version| version != "v1") {
        return;
    }
    let inner = match text("kind").or(kind_of_list) {
        Some("Secret") => return take(SecretManifest::new(object)),
        Some("List") => None,
        Some("SecretList") => Some("Secret"),
        _ => return,
    };
    if let Some(Value::Array(items)) = object.remove("items") {
        items.into_iter().for_each(|item| take_object(item, inner, take));
    }
}

fn take_map(object: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match object.remove(name) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// What is read of a document that cannot be read as a whole.
#[derive(Deserialize)]
struct KindAlone {
    #[serde(default)]
    kind: Option<Kind>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Text(String),
    Other(#[allow(dead_code)] IgnoredAny),
}

impl KindAlone {
    fn may_hold_secrets(&self) -> bool {
        matches!(&self.kind, Some(Kind::Text(kind)) if matches!(kind.as_str(), "Secret" | "SecretList" | "List"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Places and data of the Secrets, and the faults.
    fn read(text: &str) -> (Vec<String>, Vec<DocumentFault>) {
        let mut found = Vec::new();
        let faults = each_secret(text, &mut |secret| {
            let place = format!("{}/{}", secret.namespace, secret.name);
            let data = secret.into_data().into_iter().map(|(key, value)| match value {
                DataValue::Base64(text) => format!(" {key}:{text}"),
                DataValue::Plain(text) => format!(" {key}={text}"),
                DataValue::Bytes(_) => unreachable!(),
            });
            found.push(place + &data.collect::<String>());
        });
        (found, faults)
    }

    fn expect(text: &str, secrets: &[&str], faults: &[(usize, Problem)]) {
        let faults: Vec<_> = faults.iter().map(|&(line, problem)| DocumentFault { line, problem }).collect();
        let (found, found_faults) = read(text);
        assert_eq!(found, secrets, "{text}");
        assert_eq!(found_faults, faults, "{text}");
    }

    #[test]
    fn documents_of_a_stream() {
        let text = "# a\napiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: n}\ndata: {k: QQ==}\n---\n\
            apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}\n---\n---\nkind: Secret\nmetadata:\n  name: b\n";
        expect(text, &["n/a k:QQ==", "default/b"], &[]);
    }

    #[test]
    fn text_wins_over_base64() {
        let text = "kind: Secret\nmetadata: {name: a}\ndata: {b: Qg==, a: QQ==}\nstringData: {c: x, a: y}\n";
        expect(text, &["default/a a=y b:Qg== c=x"], &[]);
    }

    #[test]
    fn values_that_are_no_texts_are_not_there() {
        let text =
            "kind: Secret\nmetadata: {name: a}\ndata: {a: null, b: 7, c: [x], d: QQ==}\nstringData: {e: true, d: }\n";
        expect(text, &["default/a d:QQ=="], &[]);
        expect("kind: Secret\nmetadata: {name: a, namespace: ''}\ndata:\nstringData: [x]\n", &["default/a"], &[]);
    }

    #[test]
    fn lists_in_json_and_yaml() {
        let items = r#"[{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}},{"kind":"Pod","metadata":{"name":"p"}},
            {"metadata":{"name":"u"}},7]"#;
        expect(&format!(r#"{{"kind":"List","apiVersion":"v1","items":{items}}}"#), &["default/a"], &[]);
        expect(&format!(r#"{{"kind":"SecretList","items":{items}}}"#), &["default/a", "default/u"], &[]);
        expect(
            "kind: List\nitems:\n- kind: List\n  items:\n  - kind: Secret\n    metadata: {name: a}\n",
            &["default/a"],
            &[],
        );
        expect("kind: List\nitems: {}\n---\nkind: List\n", &[], &[]);
    }

    #[test]
    fn json_objects_one_after_the_other() {
        let one = |name: &str| format!("{{\"kind\":\"Secret\",\"metadata\":{{\"name\":\"{name}\\ud83d\\ude42\"}}}}\n");
        expect(&(one("a") + &one("b")), &["default/a🙂", "default/b🙂"], &[]);
        let plain = "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"b\"}}";
        expect(&format!("{}---\n{plain}", one("a")), &["default/a🙂", "default/b"], &[]);
    }

    #[test]
    fn what_is_no_secret_of_kubernetes_is_passed_over() {
        for text in [
            "",
            "# nothing\n",
            "hello",
            "- kind: Secret\n",
            "kind: [Secret]\n",
            "kind: SealedSecret\nmetadata: {name: a}\n",
            "apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: a}\n",
            "kind: Stack\nvalue: !Ref x\n",
        ] {
            expect(text, &[], &[]);
        }
    }

    #[test]
    fn a_broken_document_costs_only_itself_and_says_its_line() {
        let text = "kind: Secret\nmetadata: {name: a}\n---\nkind: Secret\ndata: [\n---\nkind: Secret\nmetadata: {name: b}\n---\n\
            kind: Secret\nmetadata: {namespace: n}\n---\nkind: Secret\nx: {{ .Values.x }}: y\n";
        let (secrets, faults) = read(text);
        assert_eq!(secrets, ["default/a", "default/b"]);
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.problem)).collect();
        assert_eq!(places, [(6, Problem::Syntax), (9, Problem::NoName), (14, Problem::Template)]);
    }

    #[test]
    fn a_document_full_of_brackets_is_not_parsed() {
        // It would take the parser minutes.
        let text = format!("kind: Secret\nmetadata: {{name: a}}\n---\na: {}\n", "[".repeat(2_000_000));
        expect(&text, &["default/a"], &[(3, Problem::Brackets)]);
        let many = format!("kind: Secret\nmetadata: {{name: a}}\nx: [{}]\n", "{}, ".repeat(2_000));
        expect(&many, &["default/a"], &[]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(kind: (Secret|List)\n|metadata: *|\\{name: a\\}\n|items:\n|- |  |data: |---\n|\\{|\\[|\"|\\PC){0,20}") {
            let _ = read(&text);
        }

        #[test]
        fn faults_quote_nothing(text in "kind: Secret\ndata: [\\[{\"'&*!]{0,3}hunter2[\\]:}\"'\n]{0,5}") {
            for fault in read(&text).1 {
                prop_assert!(!fault.to_string().contains("hunter"));
            }
        }
    }
}
