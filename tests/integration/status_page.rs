//! The status page from outside: over HTTP, and as a real Chromium shows it.
//!
//! With `SCREENSHOTS=FOLDER` in the environment the pictures are kept there, to be looked at.

use crate::support::browser::Browser;
use crate::support::exporter::{Exporter, Setup};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::real_parts::RealPart;
use crate::support::{token, wait_for};
use crate::vault::key::Key;
use base64::Engine as _;
use serde_json::{Value, json};

const PAYLOAD: &str = "<script>document.title='hit';window.hit=1</script>";
const ATTRIBUTE: &str = "\"><img src=x onerror=\"window.hit=1\"><svg onload=window.hit=1>";

fn manifest(namespace: &str, name: &str, annotation: &str, token: &str) -> String {
    let metadata = json!({"name": name, "namespace": namespace, "labels": {"monitor.jwt.io/monitoring": "true"},
        "annotations": {"jwt-exporter/secret-key": annotation}});
    json!({"kind": "Secret", "metadata": metadata, "stringData": {"token": token}}).to_string() + "\n---\n"
}

/// Some twenty tokens of every state, some of them hostile.
fn mixed() -> String {
    let now = token::now();
    let day = 86_400;
    let issuer = "https://issuer.example/realms/platform";
    let claims = |seconds: i64| {
        json!({"iss": issuer, "sub": "system:serviceaccount:billing:partner", "iat": now - day, "exp": now + seconds,
        "aud": ["api", "billing"], "roles": ["reader", "writer"], "scope": "read write", "name": "Billing Service", "email": "billing@example.com"})
    };
    let one = |namespace: &str, name: &str, claims: &Value| manifest(namespace, name, "token", &token::hs256(claims));
    let mut all = vec![
        one("billing", "partner-api", &claims(-2 * 3600)),
        one("billing", "ledger", &claims(-400 * day)),
        one("billing", "invoices", &claims(3 * day + 4 * 3600)),
        one("billing", "nightly-export-to-the-data-warehouse-of-the-other-department", &claims(6 * day)),
        one("datagate", "prometheus-bearer-token", &claims(45 * 60)),
        one("datagate", "grafana", &claims(20 * day)),
        one("datagate", "backup", &claims(3000 * day)),
        one("datagate", "not-yet", &json!({"exp": now + 9 * day, "nbf": now + day, "sub": "later"})),
        one("datagate", "for-ever", &json!({"iss": issuer, "sub": "root"})),
        one("datagate", "odd-date", &json!({"exp": now + 40 * day, "iat": "yesterday", "sub": "odd"})),
        one(
            "hostile",
            "script",
            &json!({"exp": now + 50 * day, "name": PAYLOAD, "iss": PAYLOAD, "sub": ATTRIBUTE, "email": "javascript:window.hit=1"}),
        ),
        one(
            "hostile",
            "direction",
            &json!({"exp": now + 51 * day, "sub": "abc\u{202e}fed\u{0}\u{1b}[31m", "iss": "x".repeat(400)}),
        ),
        one("hostile", "hebrew", &json!({"exp": now + 52 * day, "sub": "שלום עולם", "iss": "https://例え.example/"})),
        manifest("search", "missing", "access-token,refresh-token", "x"),
        manifest("search", "password", "token", "hunter2"),
        manifest(
            "search",
            "sealed",
            "token",
            &format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", token::base64url(br#"{"alg":"RSA-OAEP"}"#)),
        ),
    ];
    for number in 0..6 {
        all.push(one("search", &format!("indexer-{number}"), &claims((30 + number) * day)));
    }
    all.concat()
}

fn start(more: &str, manifests: &str) -> Exporter {
    let setup = Setup::new(format!("kubernetes: false\nmanifests: [secrets-*.yaml, gone.yaml]\n{more}"));
    // A file of more than 16 MiB is not read.
    let documents: Vec<&str> = manifests.split_inclusive("---\n").collect();
    for (number, part) in documents.chunks(5000).enumerate() {
        std::fs::write(setup.folder().join(format!("secrets-{number}.yaml")), part.concat()).unwrap();
    }
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    exporter
}

/// SHA-256 by the library that the program's TLS uses.
fn sha256(text: &str) -> String {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider.hash(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash.as_ref())
}

#[test]
fn the_page_may_load_nothing_and_run_nothing() {
    let exporter = start("", &mixed());
    let page = exporter.get("/?q=billing");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(page.header("Cache-Control"), Some("no-store"));
    let text = page.text();
    let style = text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert_eq!(
        page.header("Content-Security-Policy").unwrap(),
        format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            sha256(style)
        )
    );
    let head = exporter.request("HEAD", "/?q=billing", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(exporter.request("POST", "/", &[]).status, 405);
}

#[test]
fn any_address_is_answered_by_a_page() {
    let exporter = start("", &mixed());
    for query in [
        "?",
        "?q=%",
        "?q=%ff%00%zz&page=99999999999999999999&size=-1&state=x&sort=&&&=",
        "?page=18446744073709551615&size=200",
    ] {
        let page = exporter.get(&format!("/{query}"));
        assert!(page.status == 200 && page.text().ends_with("</html>\n"), "{query}");
    }
    let long = exporter.get(&format!("/?q={}", "%41".repeat(2000)));
    assert!(long.status == 200 && long.text().contains(&format!("value=\"{}\"", "A".repeat(200))));
}

#[test]
fn a_page_that_is_switched_off_is_not_there() {
    let exporter = start("status_page: false\n", &mixed());
    let answer = exporter.get("/?q=billing");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.text(), "the status page is switched off (status_page: false); the metrics are at /metrics\n");
    assert_eq!((exporter.get("/metrics").status, exporter.get("/healthz").status), (200, 200));
}

#[test]
fn a_reload_switches_it() {
    let exporter = start("", "");
    for (more, status) in [("status_page: false\n", 404), ("", 200)] {
        let config =
            format!("address: \"{}\"\nkubernetes: false\nmanifests: [secrets-*.yaml]\n{more}", exporter.address());
        std::fs::write(exporter.config_file(), config).unwrap();
        wait_for("the page's new answer", std::time::Duration::from_secs(60), || {
            let found = exporter.get("/").status;
            if found == status { Ok(()) } else { Err(found.to_string()) }
        });
    }
}

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

/// Nothing sticks out, and nothing is too small to be read, with every fold open.
fn assert_legible(browser: &mut Browser, width: u32) {
    browser.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)");
    let wide = browser.evaluate("document.scrollingElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} pixels on a screen of {width}");
    let smallest = browser.evaluate(
        "Math.min(...[...document.body.querySelectorAll('*')].filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
          .map(e => parseFloat(getComputedStyle(e).fontSize)))",
    );
    assert!(smallest.as_f64().unwrap() >= 14.0, "{smallest}");
    // Of every text that is seen (WCAG 2.2, 1.4.3): the contrast with what is behind it.
    let faint = browser.evaluate(
        "(() => {
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
          const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
            return [255, 255, 255]; };
          return [...document.body.querySelectorAll('*')].filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))
            .map(e => { const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))]; return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)]; })
            .filter(([contrast]) => contrast < 4.5).map(String);
        })()",
    );
    assert_eq!(faint, json!([]));
}

#[test]
fn in_a_browser_every_token_is_seen_and_none_does_anything() {
    let mut browser = Browser::start(&require_part!(RealPart::Chromium));
    let exporter = start("", &mixed());
    let url = format!("http://{}/", exporter.address());
    browser.screen(1280, 900);
    for query in ["", "?q=%22%3E%3Cscript%3Ewindow.hit%3D1%3C%2Fscript%3E", "?state=error&sort=namespace&size=25"] {
        browser.visit(&format!("{url}{query}"));
        assert_eq!(browser.complaints(), [""; 0], "{query}");
        let requested = browser.requested();
        assert_eq!(requested, [format!("{url}{query}")]);
        assert_eq!(
            browser.evaluate("[document.scripts.length, window.hit === undefined, document.images.length]"),
            json!([0, true, 0])
        );
        // The policy let our own style through.
        assert_eq!(browser.evaluate("getComputedStyle(document.querySelector('ul')).listStyleType"), "none");
    }
    browser.visit(&url);
    assert!(browser.evaluate("document.title").as_str().unwrap().starts_with("2 expired · "));
    let tokens = browser.text(".tokens");
    for seen in [
        "billing/partner-api",
        "Expired",
        "2 h ago",
        "Expires soon",
        "Not yet valid",
        "Never expires",
        "Unreadable",
        "missing_key",
        PAYLOAD,
        ATTRIBUTE,
        "abc\\u{202e}fed\\x00\\x1b[31m",
    ] {
        assert!(tokens.contains(seen), "{seen}\n{tokens}");
    }
    let first = tokens.find("billing/ledger").unwrap();
    assert!(first < tokens.find("billing/partner-api").unwrap(), "soonest first");
    let totals = browser.text(".totals");
    assert!(
        totals.contains("2\nExpired") && totals.contains("3\nExpires soon") && totals.contains("1\nNot yet valid"),
        "{totals}"
    );
    assert!(tokens.contains("gone.yaml"), "{tokens}");
    let sources = browser.text("section:last-of-type");
    assert!(sources.contains("manifests\tUp\t") && sources.contains("\t23"), "{sources}");
}

#[test]
fn on_a_phone_in_the_dark_and_on_a_desk_it_is_legible() {
    let mut browser = Browser::start(&require_part!(RealPart::Chromium));
    let exporter = start("", &mixed());
    let url = format!("http://{}/", exporter.address());
    let mut papers = Vec::new();
    for (name, width, scheme) in [
        ("phone-light", 360, "light"),
        ("phone-dark", 360, "dark"),
        ("tablet-light", 768, "light"),
        ("desk-light", 1280, "light"),
        ("desk-dark", 1280, "dark"),
    ] {
        browser.screen(width, 800);
        browser.prefer(scheme);
        browser.visit(&url);
        keep(name, &browser.screenshot(2600));
        assert_legible(&mut browser, width);
        keep(&format!("{name}-open"), &browser.screenshot(2600));
        papers.push(browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"));
    }
    // What went wrong, the errors and sources, and the way to the other pages.
    let setup =
        Setup::new("manifests: [secrets.yaml]\n").kubeconfig(&Kubeconfig::new("https://127.0.0.1:1").token("x"));
    std::fs::write(setup.folder().join("secrets.yaml"), mixed()).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    for (name, width) in [("phone-trouble", 360), ("desk-trouble", 1280)] {
        browser.screen(width, 800);
        browser.visit(&format!("http://{}/?size=2&page=2&state=error", exporter.address()));
        keep(name, &browser.screenshot(2600));
        assert_legible(&mut browser, width);
        let (notice, sources) = (browser.text(".notice"), browser.text("section:last-of-type"));
        assert!(
            notice.contains("kubernetes could not be read") && sources.contains("127.0.0.1:1"),
            "{notice} {sources}"
        );
    }
    assert_eq!(papers[0], papers[3]);
    assert_ne!(papers[0], papers[1]);
}

/// The same tokens, some of them with logins, and what those want.
fn with_logins() -> (String, String) {
    let now = token::now();
    let key = Key::new("a");
    let pem = key.pem().replace('\n', "\\n");
    let config = format!(
        "logins:\n- name: vault-dev\n  jwt: {{config: {{jwt_validation_pubkeys: [\"{pem}\"]}}, roles: {{reader: {{role_type: jwt, \
         bound_audiences: [api], user_claim: sub}}, from-the-office-only: {{role_type: jwt, bound_audiences: [api], user_claim: sub, \
         token_bound_cidrs: [10.0.0.0/8]}}}}}}\n"
    );
    let secret = |name: &str, logins: &str, audience: &str, from: i64, until: i64| {
        let claims = json!({"iss": "https://issuer.example/", "sub": "service", "aud": audience, "iat": now + from, "exp": now + until});
        let metadata = json!({"name": name, "namespace": "logins", "labels": {"monitor.jwt.io/monitoring": "true"},
            "annotations": {"jwt-exporter/login": logins}});
        json!({"kind": "Secret", "metadata": metadata, "stringData": {"token": key.sign(&claims)}}).to_string()
            + "\n---\n"
    };
    let manifests = [
        mixed(),
        secret("gets-in", "vault-dev/reader", "api", -60, 8 * 86_400),
        secret("another-audience", "vault-dev/reader", "other", -60, 10 * 86_400),
        secret("early", "vault-dev/reader", "api", 7200, 11 * 86_400),
        secret("late", "vault-dev/reader", "api", -7200, -3600),
        secret(
            "several-logins-of-which-one-is-not-there",
            "vault-dev/reader,vault-dev/from-the-office-only,vault-prod/some-role-that-nobody-knows",
            "api",
            -60,
            12 * 86_400,
        ),
    ];
    (config, manifests.concat())
}

#[test]
fn what_logins_say_is_seen_on_a_phone_and_on_a_desk() {
    let mut browser = Browser::start(&require_part!(RealPart::Chromium));
    let (config, manifests) = with_logins();
    let exporter = start(&config, &manifests);
    exporter.wait_for_metrics("verdicts", |metrics| metrics.contains("reason=\"audience_mismatch\""));
    for (name, width, scheme) in
        [("logins-phone", 360, "light"), ("logins-desk", 1280, "light"), ("logins-desk-dark", 1280, "dark")]
    {
        browser.screen(width, 800);
        browser.prefer(scheme);
        browser.visit(&format!("http://{}/", exporter.address()));
        assert_eq!(browser.complaints(), [""; 0]);
        keep(name, &browser.screenshot(2600));
        assert_legible(&mut browser, width);
        let totals = browser.text(".totals");
        assert!(totals.contains("4\nWould be refused"), "{totals}");
        browser.visit(&format!("http://{}/?q=logins&sort=namespace", exporter.address()));
        keep(&format!("{name}-alone"), &browser.screenshot(1800));
        assert_legible(&mut browser, width);
        let tokens = browser.text(".tokens");
        for seen in [
            "Refused vault-dev/reader",
            "audience_mismatch no audience of the token is one of the role's",
            "Let in vault-dev/reader",
            "Cannot be told vault-dev/from-the-office-only",
            "in 8 d",
            "from 2",
        ] {
            assert!(tokens.replace('\n', " ").contains(seen), "{seen}\n{tokens}");
        }
    }
    browser.visit(&format!("http://{}/?state=refused", exporter.address()));
    assert!(browser.text(".tokens caption").starts_with("1 to 4 of 4"), "{}", browser.text(".tokens"));
    let nodes = browser.accessible();
    assert!(nodes.iter().any(|(role, name)| role == "columnheader" && name == "Login"), "{nodes:?}");
}

#[test]
fn a_screen_reader_and_a_keyboard_get_around() {
    let mut browser = Browser::start(&require_part!(RealPart::Chromium));
    let exporter = start("", &mixed());
    for width in [1280, 360] {
        browser.screen(width, 800);
        browser.visit(&format!("http://{}/?size=25", exporter.address()));
        let nodes = browser.accessible();
        let has = |role: &str, name: &str| nodes.iter().any(|(r, n)| r == role && n.contains(name));
        for (role, name) in [
            ("RootWebArea", "jwt-exporter"),
            ("banner", ""),
            ("main", ""),
            ("contentinfo", ""),
            ("navigation", "On this page"),
            ("region", "Tokens"),
            ("region", "Errors"),
            ("region", "Sources"),
            ("search", "Filter the tokens"),
            ("searchbox", "Text"),
            ("combobox", "State"),
            ("button", "Show"),
            ("table", "1 to "),
            ("columnheader", "Expires"),
            ("rowheader", "partner-api"),
            ("cell", "Expired"),
            ("link", "Not yet valid"),
        ] {
            assert!(has(role, name), "no {role} {name:?} at {width}\n{nodes:?}");
        }
        for role in [
            "link",
            "button",
            "textbox",
            "searchbox",
            "combobox",
            "table",
            "region",
            "navigation",
            "DisclosureTriangle",
        ] {
            let nameless = nodes.iter().filter(|(r, name)| r == role && name.trim().is_empty()).count();
            assert_eq!(nameless, 0, "{role} without a name at {width}");
        }
    }
    // With the keyboard alone: to the box, a word, and away.
    browser.screen(1280, 800);
    browser.visit(&format!("http://{}/", exporter.address()));
    let mut tabs = 0;
    while browser.evaluate("document.activeElement.id") != "q" {
        browser.press("Tab");
        tabs += 1;
        assert!(tabs < 40, "no way to the box");
    }
    assert_ne!(browser.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "none");
    for letter in ["l", "e", "d", "g", "e", "r"] {
        browser.press(letter);
    }
    browser.forget_events();
    browser.press("Enter");
    browser.wait_for_event("Page.loadEventFired");
    assert!(browser.text(".tokens caption").starts_with("1 to 1 of 1"), "{}", browser.text(".tokens"));
    assert!(browser.evaluate("location.search").as_str().unwrap().starts_with("?q=ledger&"));
    let kept = browser
        .evaluate("[...document.querySelectorAll('.totals a, thead a')].every(a => a.search.includes('q=ledger'))");
    assert_eq!(kept, true, "links lose the filter");
}

#[test]
fn twenty_thousand_tokens_stay_usable() {
    let now = token::now();
    let manifests: String = (0..20_000_i64)
        .map(|n| {
            let seconds = (n * 7919 % 20_000) * 3600 - 500 * 3600;
            let claims = json!({"iss": "https://issuer.example/realms/platform", "sub": format!("service-{n:05}"), "exp": now + seconds, "iat": now - 86_400,
                "aud": ["api", "billing"], "name": format!("Service {n}"), "email": format!("service-{n:05}@example.com"), "roles": ["reader", "writer"]});
            manifest(&format!("team-{:02}", n % 50), &format!("secret-{n:05}"), "token", &token::hs256(&claims))
        })
        .collect();
    let exporter = start("max_series: 1000000\n", &manifests);
    let before = exporter.resident_bytes();
    for query in ["/", "/?size=200", "/?page=300&sort=namespace", "/?q=service-19999", "/?q=zzz&state=expired"] {
        let begun = std::time::Instant::now();
        let page = exporter.get(query);
        println!("{query}: {} bytes in {:?}", page.body.len(), begun.elapsed());
        assert!(page.status == 200 && page.body.len() < 500_000, "{query}: {}", page.body.len());
    }
    let begun = std::time::Instant::now();
    println!("{} bytes of metrics in {:?}", exporter.get("/metrics").body.len(), begun.elapsed());
    println!("{} KiB more", exporter.resident_bytes().saturating_sub(before) / 1024);
    let page = exporter.get("/?q=service-19999").text();
    assert!(page.contains("1 to 1 of 1,") && page.contains("secret-19999"), "{page}");

    let mut browser = Browser::start(&require_part!(RealPart::Chromium));
    for (name, width, query) in [("many-desk", 1280, "?page=3"), ("many-phone", 360, "?page=3&size=25")] {
        browser.screen(width, 800);
        browser.visit(&format!("http://{}/{query}", exporter.address()));
        keep(name, &browser.screenshot(2600));
        let (shown, pages) = (browser.text(".tokens caption"), browser.text("nav[aria-label=Pages]"));
        assert!(shown.contains(" of 20,001, soonest") && pages.contains("Page 3 of "), "{shown} {pages}");
        assert_legible(&mut browser, width);
        browser.evaluate("window.scrollTo(0, document.body.scrollHeight)");
    }
}
