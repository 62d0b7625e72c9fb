//! Logins that stand in the configuration: no server is asked anything.

use super::key::Key;
use super::{manifest, verdict, wait_for_verdict};
use crate::support::exporter::Setup;
use crate::support::exposition::{find, value};
use crate::support::token;
use serde_json::json;
use std::cell::RefCell;
use std::fs;
use std::time::Duration;

fn config(key: &Key, more: &str) -> String {
    let pem = key.pem().replace('\n', "\\n");
    format!(
        "kubernetes: false\npolling_interval: 100ms\nmanifests: [secrets.yaml]\nlogins:\n- name: partner-api\n  jwt:\n    \
         config: {{jwt_validation_pubkeys: [\"{pem}\"], bound_issuer: me}}\n    roles:\n      reader: {{role_type: jwt, \
         bound_audiences: [api], user_claim: sub}}\n{more}"
    )
}

#[test]
fn a_verdict_for_every_login_that_a_secret_names() {
    let key = Key::new("a");
    let (now, other) = (token::now(), Key::new("a"));
    let claims = json!({"iss": "me", "sub": "s", "aud": "api", "exp": now + 1_000, "iat": now - 10});
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let good = key.sign(&claims);
    let tokens = [
        ("good", good.clone(), "accepted"),
        ("audience", with("aud", json!("other")), "audience_mismatch"),
        ("issuer", with("iss", json!("you")), "issuer_mismatch"),
        ("expired", with("exp", json!(now - 61)), "expired"),
        ("leeway", with("exp", json!(now - 20)), "accepted"),
        ("foreign", other.sign(&claims), "bad_signature"),
        // The server reads these; we do not, or differently.
        ("padded", format!("{good}="), "accepted"),
        ("spaced", good.replacen('.', ". ", 1), "accepted"),
        ("garbage", "hello".to_owned(), "malformed_token"),
        ("case", with("EXP", json!(1)), "ambiguous_claim"),
    ];
    let setup = Setup::new(config(&key, "")).argument("-level=trace");
    let mut text: String = tokens
        .iter()
        .map(|(name, token, _)| manifest(name, "partner-api/reader, partner-api/nobody,who/me", token))
        .collect();
    text = text.replace("annotations: {", "annotations: {jwt-exporter/secret-key: token, ");
    text.push_str(&manifest("none", "", &good));
    fs::write(setup.folder().join("secrets.yaml"), &text).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    for (name, _, wanted) in &tokens {
        let metrics = wait_for_verdict(&exporter, (name, "partner-api", "reader"), wanted);
        assert_eq!(verdict(&metrics, name, "partner-api", "nobody").as_deref(), Some("role_missing"));
        assert_eq!(verdict(&metrics, name, "who", "me").as_deref(), Some("role_missing"));
    }
    let metrics = exporter.metrics();
    let labels = [("secret_name", "good"), ("role", "reader")];
    let until = "jwt_exporter_login_accepted_until_timestamp_seconds";
    assert_eq!(value(&metrics, until, &labels), (now + 1_000 + 60) as f64);
    let from = "jwt_exporter_login_accepted_from_timestamp_seconds";
    assert_eq!(value(&metrics, from, &labels), (now - 10 - 60) as f64);
    assert!(find(&metrics, "jwt_exporter_login_config_age_seconds", &[]).is_empty(), "it does not age");
    assert!(!metrics.contains("secret_name=\"none\",secret_namespace=\"default\"} 0"), "{metrics}");
    assert!(find(&metrics, "jwt_exporter_login_accepted", &[("secret_name", "none")]).is_empty());

    // Nothing of a token anywhere, at the most talkative.
    exporter.process().signal("TERM");
    exporter.process().wait(Duration::from_secs(30));
    let said = exporter.process().output();
    for (name, token, _) in tokens.iter().filter(|(name, ..)| *name != "garbage") {
        for piece in token.split(['.', ' ']).filter(|piece| piece.len() > 16) {
            for start in (0..piece.len() - 16).step_by(8) {
                let piece = &piece[start..start + 16];
                assert!(!said.contains(piece) && !metrics.contains(piece), "{name}: {piece}");
            }
        }
    }
}

#[test]
fn a_verdict_flips_at_the_second_without_a_poll() {
    let (key, now) = (Key::new("a"), token::now());
    // Accepted until exp + 60.
    let setup = Setup::new(config(&key, "").replace("100ms", "1h"));
    let end = now + 8;
    let claims = json!({"iss": "me", "sub": "s", "aud": "api", "exp": end - 60, "iat": now - 100});
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "partner-api/reader", &key.sign(&claims))).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    let seen = RefCell::new(Vec::new());
    exporter.wait_for_metrics("the flip", |_| {
        let before = token::now();
        let metrics = exporter.metrics();
        let after = token::now();
        let verdict = verdict(&metrics, "s", "partner-api", "reader");
        if let Some(verdict) = verdict {
            match &*verdict {
                "accepted" => assert!(before < end, "accepted at {before}, {end} was the end"),
                "expired" => assert!(after >= end, "refused at {after}, {end} was the end"),
                other => panic!("{other}"),
            }
            seen.borrow_mut().push(verdict);
        }
        token::now() > end + 1
    });
    assert_eq!(seen.borrow().last().map(String::as_str), Some("expired"));
}

#[test]
fn a_replaced_token_and_another_configuration_take_over() {
    let (key, other, now) = (Key::new("a"), Key::new("b"), token::now());
    let claims = json!({"iss": "me", "sub": "s", "aud": "api", "exp": now + 1_000, "iat": now});
    let setup = Setup::new(config(&key, ""));
    let file = setup.folder().join("secrets.yaml");
    fs::write(&file, manifest("s", "partner-api/reader", &other.sign(&claims))).unwrap();
    let exporter = setup.start();
    let place = ("s", "partner-api", "reader");
    wait_for_verdict(&exporter, place, "bad_signature");
    fs::write(&file, manifest("s", "partner-api/reader", &key.sign(&claims))).unwrap();
    wait_for_verdict(&exporter, place, "accepted");
    let rewrite = |text: &str| {
        let address = format!("address: \"{}\"\n", exporter.address());
        fs::write(exporter.config_file(), address + text).unwrap();
    };
    rewrite(&config(&other, ""));
    wait_for_verdict(&exporter, place, "bad_signature");
    rewrite(&config(&key, "").replace("name: partner-api", "name: another"));
    wait_for_verdict(&exporter, place, "role_missing");
    let bare = config(&key, "");
    rewrite(bare.split("logins:").next().unwrap());
    exporter.wait_for_metrics("no logins any more", |metrics| !metrics.contains("jwt_exporter_login"));
    rewrite(&bare);
    wait_for_verdict(&exporter, place, "accepted");
}

#[test]
fn inspect_explains_a_login() {
    let (key, now) = (Key::new("a"), token::now());
    let token =
        |audience: &str| key.sign(&json!({"iss": "me", "sub": "s", "aud": audience, "exp": now + 1_000, "iat": now}));
    let inspect = |token: &str, login: &str| {
        let setup = Setup::new(config(&key, "")).argument("inspect").argument("-login").argument(login).argument("t");
        fs::write(setup.folder().join("t"), format!("Bearer {token}\n")).unwrap();
        setup.run()
    };
    let good = inspect(&token("api"), "partner-api/reader");
    assert!(
        good.status.success() && good.stdout.starts_with("partner-api/reader would let the token in.\n"),
        "{good:?}"
    );
    let other = inspect(&token("other"), "partner-api/reader");
    assert_eq!(other.status.code(), Some(1));
    let last = other.stdout.lines().last().unwrap();
    assert_eq!(last, "  REFUSED audience: wants one of \"api\"; has \"other\"", "{}", other.stdout);
    assert!(
        other.stdout.contains("audience_mismatch") && other.stdout.contains("  ok      signature: "),
        "{}",
        other.stdout
    );
    assert!(token("other").split('.').all(|piece| !other.stdout.contains(piece)));
    assert_eq!(inspect(&token("api"), "who/me").status.code(), Some(2));
}

/// A good token, one for another audience, and one that names a login that is not there.
fn three_tokens(setup: &Setup, key: &Key, now: i64) {
    let token = |audience: &str| {
        key.sign(&json!({"iss": "me", "sub": "sub-of-somebody", "aud": audience, "exp": now + 90 * 86_400, "iat": now}))
    };
    let text = [
        manifest("good", "partner-api/reader", &token("api")),
        manifest("other", "partner-api/reader,partner-api/nobody", &token("aud-of-another")),
        manifest("nowhere", "who/me", &token("api")),
        manifest("none", "", &token("api")),
    ];
    fs::write(setup.folder().join("secrets.yaml"), text.concat()).unwrap();
}

#[test]
fn check_tells_what_logins_say() {
    let (key, now) = (Key::new("a"), token::now());
    let check = |arguments: &[&str], more: &str, only_good: bool| {
        let setup = Setup::new(config(&key, more)).argument("check");
        let setup = arguments.iter().fold(setup, |setup, argument| setup.argument(argument));
        three_tokens(&setup, &key, now);
        if only_good {
            let file = setup.folder().join("secrets.yaml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.split("---\n").filter(|part| part.contains("good")).collect::<String>()).unwrap();
        }
        setup.run()
    };
    let ran = check(&["-output", "json"], "", false);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    let parsed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let logins = |name: &str| {
        let all = parsed["tokens"].as_array().unwrap();
        let row = all.iter().find(|row| row["secret_name"] == name).unwrap();
        let one = |login: &serde_json::Value| {
            format!("{}/{} {} {}", login["login"], login["role"], login["verdict"], login["reason"]).replace('"', "")
        };
        row["logins"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(logins("good"), ["partner-api/reader accepted null"]);
    assert_eq!(
        logins("other"),
        ["partner-api/nobody refused role_missing", "partner-api/reader refused audience_mismatch"]
    );
    assert_eq!(logins("nowhere"), ["who/me refused role_missing"]);
    assert_eq!(logins("none"), [""; 0]);
    assert_eq!(parsed["summary"]["login_refused"], 2);
    let good = parsed["tokens"].as_array().unwrap().iter().find(|row| row["secret_name"] == "good").unwrap();
    assert_eq!(good["logins"][0]["accepted_until_unix"], now + 90 * 86_400 + 60);

    let table = check(&[], "", false);
    assert_eq!(table.status.code(), Some(1));
    for wanted in ["2 refused by a login", "no audience of the token is one of the role's", "partner-api/reader"] {
        assert!(table.stdout.contains(wanted), "{wanted}: {}", table.stdout);
    }
    let csv = check(&["-output=csv"], "", false).stdout;
    assert!(
        csv.contains(",partner-api,reader,refused,audience_mismatch,no audience of the token is one of the role's,,"),
        "{csv}"
    );
    assert_eq!(check(&[], "", true).status.code(), Some(0), "all well");

    // Without logins nobody is told of them.
    let setup = Setup::new("kubernetes: false\nmanifests: [secrets.yaml]\n").argument("check");
    three_tokens(&setup, &key, now);
    let plain = setup.run();
    assert!(plain.status.success() && !plain.stdout.contains("VERDICT"), "{}", plain.stdout);
}

#[test]
fn explain_says_which_role_would_refuse_a_token() {
    let (key, now) = (Key::new("a"), token::now());
    let explain = |name: &str, more: &str| {
        let setup = Setup::new(config(&key, more)).argument("explain").argument(&format!("default/{name}"));
        three_tokens(&setup, &key, now);
        setup.run().stdout
    };
    let other = explain("other", "");
    for wanted in [
        "  token: partner-api/nobody would not let the token in: the mount has no such role (role_missing).\n",
        "  token: partner-api/reader would not let the token in: no audience of the token is one of the role's (audience_mismatch).\n",
        "      REFUSED audience: wants one of \"api\"; has \"aud-of-another\"\n",
        "      ok      subject: wants (anything); has \"sub-of-somebody\"\n",
        "It has samples.\n",
    ] {
        assert!(other.contains(wanted), "{wanted}\n{other}");
    }
    let hidden = explain("other", "drop_labels: [audience]\n");
    assert!(hidden.contains("wants one of \"api\"; has something that the configuration hides"), "{hidden}");
    assert!(!hidden.contains("aud-of-another") && hidden.contains("sub-of-somebody"), "{hidden}");
    let hidden = explain("other", "drop_labels: [subject]\n");
    assert!(!hidden.contains("sub-of-somebody") && hidden.contains("aud-of-another"), "{hidden}");
    let good = explain("good", "");
    assert!(
        good.contains("token: partner-api/reader would let the token in.\n    By the clock it is let in from "),
        "{good}"
    );
    assert!(!good.contains("  ok "), "{good}");
    let nowhere = explain("nowhere", "");
    assert!(nowhere.contains("token: who/me: the configuration has no login who (role_missing)"), "{nowhere}");
    assert!(!explain("none", "").contains("let the token in"));
}

#[test]
fn the_page_tells_what_logins_say_at_the_request() {
    let (key, now) = (Key::new("a"), token::now());
    let setup = Setup::new(config(&key, "drop_labels: [subject, audience]\n"));
    three_tokens(&setup, &key, now);
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    wait_for_verdict(&exporter, ("other", "partner-api", "reader"), "audience_mismatch");
    let page = exporter.get("/").text();
    for wanted in [
        "<b>2</b> Would be refused",
        "<span class=\"state\">Let in</span> <bdi>partner-api/reader</bdi>",
        "<code>audience_mismatch</code> no audience of the token is one of the role&#39;s",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    assert!(!page.contains("sub-of-somebody") && !page.contains("aud-of-another"), "{page}");
    let refused = exporter.get("/?state=refused").text();
    assert!(refused.contains("1 to 2 of 2,") && !refused.contains(">good<"), "{refused}");
}

#[test]
fn a_look_at_once_writes_the_windows() {
    let (key, now) = (Key::new("a"), token::now());
    let claims = json!({"iss": "me", "sub": "s", "aud": "api", "exp": now + 1_000, "iat": now});
    let setup = Setup::new(config(&key, "")).argument("-once=-");
    fs::write(setup.folder().join("secrets.yaml"), manifest("s", "partner-api/reader", &key.sign(&claims))).unwrap();
    let finished = setup.run();
    assert!(finished.status.success(), "{}", finished.stderr);
    let until = "jwt_exporter_login_accepted_until_timestamp_seconds";
    assert_eq!(value(&finished.stdout, until, &[("secret_name", "s")]), (now + 1_060) as f64);
    assert!(!finished.stdout.contains("jwt_exporter_login_accepted{"), "the clock makes it stale");
}
