//! The status page: the first line of an input is the query of its address, the rest is what a token, its Secret and an error say.
//! Whatever they say, the page is a small document of the tags and attributes that we write, each closed, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_exporter::jwt::ClaimPaths;
use jwt_exporter::login::{Refusal, Verdict};
use jwt_exporter::metrics::{Judged, LoginBoard, LoginCase};
use jwt_exporter::observation::{Bounds, DataValue, ExtraLabels, LoginName, Logins, Observer, Reading, SecretView};
use jwt_exporter::server::status_page;
use jwt_exporter::snapshot::{Row, Snapshot, SourceStatus};
use jwt_exporter::time::UnixSeconds;
use std::borrow::Cow;
use std::sync::Arc;

const NOW: UnixSeconds = UnixSeconds(1_795_321_800);

const TAGS: [&str; 40] = [
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "p", "time", "nav", "ul", "li",
    "strong", "main", "section", "b", "form", "label", "input", "select", "option", "button", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "span", "bdi", "code", "details", "div", "summary", "dl", "footer",
];
const MORE_TAGS: [&str; 3] = ["dt", "dd", "wbr"];
const VOID: [&str; 3] = ["meta", "input", "wbr"];
const ATTRIBUTES: [&str; 26] = [
    "lang",
    "charset",
    "name",
    "content",
    "class",
    "href",
    "id",
    "datetime",
    "role",
    "scope",
    "value",
    "type",
    "for",
    "method",
    "action",
    "maxlength",
    "autocomplete",
    "spellcheck",
    "selected",
    "title",
    "aria-label",
    "aria-labelledby",
    "aria-current",
    "aria-sort",
    "size",
    "open",
];

/// Runs one input. Returns whether its first line asked for anything.
pub(super) fn run(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let (query, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let claims =
        serde_json::json!({"sub": rest, "iss": rest, "name": rest, "roles": [rest], "exp": NOW.0 + 90, "iat": "x"});
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims.to_string()));
    let bounds = Bounds { max_tokens_per_secret: 4, max_series_per_token: 4 };
    let mut observer = Observer::new(Reading::new(ClaimPaths::default(), bounds));
    let data = [(Cow::Borrowed("key"), DataValue::Plain(token.into()))];
    let named = format!("key,{rest}");
    let view = SecretView {
        namespace: rest,
        name: rest,
        annotation: Some(&named),
        data: &data,
        picked: true,
        extra: &ExtraLabels::default(),
        logins: Logins::Annotation(None),
        version: 0,
    };
    let held: Vec<_> = observer.observe(&view).map(Arc::new).into_iter().collect();
    let source = SourceStatus { tried: true, failure: Some(rest.into()), ..SourceStatus::untried(rest) };
    let snapshot = Snapshot::assemble([(&source, &held[..])], 100);

    let name = LoginName { login: rest.into(), role: query.into() };
    let judged = Judged::Always(Verdict::Refused(Refusal::RoleMissing));
    let case = |row: Row<'_>| LoginCase::new(row.place(), &name, judged.clone());
    let board = LoginBoard::new(snapshot.rows().map(case).collect(), Vec::new());

    let page = status_page(&snapshot, &board, query, "1", NOW);
    assert!(page.len() < 200_000, "{} bytes", page.len());
    assert!(!page.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "a control character");
    check(&page);
    !page.contains("<a href=\"?\">Refresh</a>")
}

/// Tags are ours, closed in turn, and so are their attributes.
fn check(page: &str) {
    let (before, style) = page.split_once("<style>").expect("a style");
    let (_, behind) = style.split_once("</style>").expect("its end");
    let body = before.strip_prefix("<!DOCTYPE html>\n").expect("a document type").to_owned() + behind;
    let mut open: Vec<&str> = Vec::new();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag without an end");
        assert!(!text.contains(['>', '"', '\'']) || open.last() == Some(&"footer"), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{piece}");
            continue;
        }
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(TAGS.contains(&name) || MORE_TAGS.contains(&name), "{piece}");
        while !attributes.is_empty() {
            let end = attributes.find(['=', ' ']).unwrap_or(attributes.len());
            let (attribute, value) = attributes.split_at(end);
            assert!(ATTRIBUTES.contains(&attribute), "{attribute}: {piece}");
            let rest = match value.strip_prefix("=\"") {
                Some(value) => value.split_once('"').expect("an open quote").1,
                None => value,
            };
            attributes = rest.trim_start_matches(' ');
        }
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}
