//! The commands that answer in a terminal and end: `check`, `inspect`, `explain`, and `-once`.

use crate::support::api_client::Secret;
use crate::support::exporter::{PROGRAM, Setup};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::prometheus;
use crate::support::real_parts::RealPart;
use crate::support::{process, token};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

fn manifest(name: &str, token: &str) -> String {
    format!(
        "kind: Secret\nmetadata: {{name: {name}, namespace: ns, labels: {{monitor.jwt.io/monitoring: 'true'}}}}\nstringData: {{token: \"{token}\"}}\n---\n"
    )
}

fn setup(manifests: &str) -> Setup {
    let setup = Setup::new("kubernetes: false\nmanifests: [secrets.yaml]\n");
    std::fs::write(setup.folder().join("secrets.yaml"), manifests).unwrap();
    setup
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap()
}

#[test]
fn check_tells_by_its_exit_code_how_it_stands() {
    let expiring = |seconds: i64| manifest("one", &token::hs256(&json!({"exp": token::now() + seconds, "sub": "me"})));
    for (manifests, arguments, code) in [
        (expiring(30 * 86_400), &["check"][..], 0),
        (expiring(30 * 86_400), &["check", "-expiring-within", "40d"], 1),
        (expiring(-5), &["check", "-expiring-within=1s"], 1),
        (manifest("broken", "hello"), &["check"], 1),
        (String::new(), &["check"], 0),
    ] {
        let ran = arguments.iter().fold(setup(&manifests), |setup, argument| setup.argument(argument)).run();
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn a_source_that_cannot_be_read_leaves_the_others_and_is_told() {
    let one = token::hs256(&json!({"exp": token::now() + 90 * 86_400}));
    let config = "kubeconfig_path: none.yaml\nmanifests: [secrets.yaml]\n";
    let make = || {
        let setup = Setup::new(config);
        std::fs::write(setup.folder().join("secrets.yaml"), manifest("one", &one)).unwrap();
        setup
    };
    let ran = make().argument("check").run();
    assert_eq!(ran.status.code(), Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("ns/one:token") && ran.stdout.contains("none.yaml"), "{}", ran.stdout);

    let setup = make();
    let path = setup.folder().join("out.prom");
    let kept = std::fs::create_dir(setup.folder().join("x")).map(|()| path.clone()).unwrap();
    let output = Command::new(PROGRAM)
        .current_dir(setup.folder())
        .args(["-once", kept.to_str().unwrap(), "-config"])
        .arg({
            let file = setup.folder().join("c.yaml");
            std::fs::write(&file, config).unwrap();
            file
        })
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("jwt_exporter_source_up{source=\"kubernetes\"} 0\n"), "{text}");
    assert!(text.contains("jwt_exporter_source_up{source=\"manifests\"} 1\n"), "{text}");
    assert!(
        text.contains("jwt_exporter_token_info{algorithm=\"HS256\",secret_key=\"token\",secret_name=\"one\""),
        "{text}"
    );
}

#[test]
fn once_writes_what_holds_when_it_is_read_later() {
    let promtool = require_part!(RealPart::Promtool);
    let one = token::hs256(&json!({"exp": token::now() + 90 * 86_400, "iat": token::now()}));
    let setup = setup(&(manifest("one", &one) + &manifest("two", "hello")));
    let folder = process::folder("textfile");
    let path = folder.path().join("jwt.prom");
    let ran = setup.argument("-once").argument(path.to_str().unwrap()).run();
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else stays");
    let text = std::fs::read_to_string(&path).unwrap();
    for absent in ["process_", "expires_in_seconds", "issued_since_seconds"] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
    assert!(text.contains("jwt_exporter_token_expiration_timestamp_seconds{"), "{text}");
    let verdict = prometheus::check_metrics(&promtool, &text);
    // The names that happn-app/jwt-exporter uses are not all to the linter's taste.
    let ours = |finding: &&String| !finding.starts_with("jwt_exporter_jwt_") && !finding.starts_with("jwt_issued");
    assert!(verdict.findings.iter().filter(ours).count() == 0, "{verdict:?}");
}

/// Runs `inspect` with this on standard input.
fn inspect(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("inspect").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

#[test]
fn inspect_reads_files_and_standard_input() {
    let folder = process::folder("inspect");
    let [one, two] = ["one", "two"].map(|name| token::hs256(&json!({"sub": name, "exp": token::now() + 273_605})));
    let file = folder.path().join("one.jwt");
    std::fs::write(&file, &one).unwrap();
    let output = inspect(&[file.to_str().unwrap(), "-"], two.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("sub  one") && text.contains("sub  two") && text.contains("in 3 d 4 h"), "{text}");
    assert!(!text.contains(signature(&one)) && !text.contains(signature(&two)), "{text}");

    let output = inspect(&["-output=json"], format!("{one}\nhello eyJhbGciOi.broken.x").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["tokens"][0]["claims"]["sub"], "one");
    assert!(value["tokens"][1]["error"].is_string());

    assert_eq!(inspect(&[], b"").status.code(), Some(1));
    assert_eq!(inspect(&["/none", "-"], one.as_bytes()).status.code(), Some(2));
    let endless = inspect(&["/dev/zero"], b"");
    assert_eq!(endless.status.code(), Some(2));
}

/// Runs a shell command in a terminal of its own, so many columns wide; what that terminal got to see.
fn in_terminal(columns: u32, command: &str) -> String {
    let line = format!("stty cols {columns}; {command}");
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_colour_and_lines_that_fit() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: script(1) (Debian: bsdutils) is not there");
        return;
    }
    let claims =
        json!({"exp": token::now() - 60, "iss": "https://issuer.example/a/long/path/to/a/realm", "sub": "someone"});
    let setup = setup(&manifest("one", &token::hs256(&claims)));
    let folder = setup.folder().to_owned();
    let config = folder.join("c.yaml");
    std::fs::write(&config, format!("kubernetes: false\nmanifests: [{}/secrets.yaml]\n", folder.display())).unwrap();
    let check = format!("{PROGRAM} check -config {}", config.display());
    for columns in [50, 90, 160] {
        let shown = in_terminal(columns, &check);
        assert!(shown.contains("\u{1b}[31m"), "{shown:?}");
        let plain = shown.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        let row = plain.lines().find(|line| line.contains("expired 1 min")).unwrap_or_else(|| panic!("{shown}"));
        assert!(row.chars().count() <= columns as usize, "{row}");
        assert_eq!(row.contains("someone"), columns > 50, "{row}");
    }
    for plain in [format!("NO_COLOR=1 {check}"), format!("TERM=dumb {check}"), format!("{check} | cat")] {
        assert!(!in_terminal(90, &plain).contains('\u{1b}'), "{plain}");
    }
    assert!(in_terminal(160, &format!("COLUMNS=50 {check}")).lines().all(|line| !line.contains("someone")));
    let hint = in_terminal(80, &format!("{PROGRAM} inspect </dev/tty & sleep 1; kill $!"));
    assert!(hint.contains("Paste a token"), "{hint}");
}

#[test]
fn explain_says_why_a_secret_has_samples_or_none() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("explain");
    let good = token::hs256(&json!({"exp": token::now() + 90 * 86_400}));
    let label = ("monitor.jwt.io/monitoring", "true");
    admin.put_secret(&Secret::new(&namespace, "good").label(label.0, label.1).data("token", &good));
    admin.put_secret(&Secret::new(&namespace, "unlabelled").data("token", &good));
    admin.put_secret(&Secret::new(&namespace, "other-value").label(label.0, "yes").data("token", &good));
    admin.put_secret(&Secret::new(&namespace, "password").label(label.0, label.1).data("token", "hunter2-hunter2"));
    let explain = |user_token: &str, config: &str, name: &str| {
        let kubeconfig = Kubeconfig::new(plane.url()).ca_inline(plane.ca_pem()).token(user_token);
        let ran = Setup::new(config)
            .kubeconfig(&kubeconfig)
            .argument("explain")
            .argument(&format!("{namespace}/{name}"))
            .run();
        let told = ran.stdout + &ran.stderr;
        for piece in good.split('.').skip(1).chain(["hunter2"]) {
            assert!(!told.contains(piece), "{told}");
        }
        (ran.status.code().unwrap(), told)
    };
    let expect = |(code, told): (i32, String), wanted_code: i32, pieces: &[&str]| {
        assert_eq!(code, wanted_code, "{told}");
        for piece in pieces {
            assert!(told.contains(piece), "{piece:?} is not in\n{told}");
        }
    };
    let root = |config: &str, name: &str| explain(plane.admin_token(), config, name);
    expect(
        root("", "good"),
        0,
        &[
            "the label selector monitor.jwt.io/monitoring=true takes it",
            "token: a token (JWS, HS256)",
            "It has samples.",
        ],
    );
    expect(
        root("", "unlabelled"),
        1,
        &["monitor.jwt.io/monitoring has to be \"true\", and it is missing", "label --overwrite secret unlabelled"],
    );
    expect(root("", "other-value"), 1, &["and it is \"yes\""]);
    expect(root("", "password"), 1, &["nothing in it looks like a token"]);
    expect(root("", "nowhere"), 1, &["there is no such Secret"]);
    expect(root("namespaces: [other]\n", "good"), 1, &["its namespace is not among `namespaces`"]);
    expect(root("exclude_namespaces: ['expl*']\n", "good"), 1, &["`exclude_namespaces` has expl*"]);
    expect(
        root("field_selector: type!=Opaque\n", "good"),
        1,
        &["`field_selector` wants type!=Opaque, and that is \"Opaque\""],
    );
    expect(
        root("namespace_selector: env=prod\n", "good"),
        1,
        &["`namespace_selector` wants env=prod", "leaves its namespace out"],
    );
    let own = format!("namespace_selector: kubernetes.io/metadata.name={namespace}\n");
    expect(root(&own, "good"), 0, &[]);
    let shards: Vec<i32> = (0..3).map(|shard| root(&format!("shard: {shard}/3\n"), "good").0).collect();
    assert_eq!(shards.iter().filter(|code| **code == 0).count(), 1, "it has samples in one shard: {shards:?}");
    let named = format!("secrets: [{{namespace: {namespace}, name: password, key: token}}]\n");
    expect(root(&named, "password"), 1, &["`secrets:` names it", "token: not_a_jwt"]);
    expect(root(&named, "good"), 1, &["this is none of them"]);
    expect(root("max_tokens_per_secret: 1\n", "good"), 0, &[]);

    admin.create_service_account(&namespace, "nobody");
    let account = admin.request_token(&namespace, "nobody", &[], 3600);
    expect(
        explain(&account, "", "good"),
        2,
        &[
            "we may NOT list secrets in the whole cluster",
            "it may not be read, the right to list secrets in the whole cluster is missing.",
        ],
    );
    // Each place is named, and so is what the labels of namespaces need.
    let own = format!("namespaces: [{namespace}]\nnamespace_labels: {{team: team}}\n");
    expect(
        explain(&account, &own, "good"),
        2,
        &[
            &format!("the right to list secrets in the namespace {namespace} is missing."),
            &format!("we may not get the namespace {namespace}: the labels of `namespace_labels` are empty"),
        ],
    );
    expect(
        explain(&account, "namespace_selector: env=prod\n", "good"),
        2,
        &["the right to list secrets in the whole cluster and to list namespaces is missing."],
    );
    let login = "logins: [{name: k, review: ours, kubernetes: {config: {kubernetes_host: 'https://k'}, roles: {}}}]\n";
    expect(explain(&account, login, "good"), 2, &["we may not create tokenreviews: logins at Kubernetes mounts stay"]);
}

#[test]
fn explain_finds_files_by_their_paths() {
    let explain = |place: &str, files: &str| {
        let setup = Setup::new(format!("kubernetes: false\n{files}")).argument("explain").argument(place);
        std::fs::create_dir(setup.folder().join("tokens")).unwrap();
        let claims = json!({"exp": token::now() + 90 * 86_400});
        std::fs::write(setup.folder().join("tokens/good"), token::hs256(&claims)).unwrap();
        std::fs::write(setup.folder().join("tokens/other"), "hello").unwrap();
        let ran = setup.run();
        (ran.status.code().unwrap(), ran.stdout + &ran.stderr)
    };
    let expect = |(code, told): (i32, String), wanted_code: i32, pieces: &[&str]| {
        assert_eq!(code, wanted_code, "{told}");
        for piece in pieces {
            assert!(told.contains(piece), "{piece:?} is not in\n{told}");
        }
    };
    let files = "files: [tokens/*]\n";
    expect(
        explain("./tokens/good", files),
        0,
        &["`files` lead to it", "good: a token (JWS, HS256)", "It has samples."],
    );
    // Written like a Secret.
    expect(explain("tokens/good", files), 0, &["`files` lead to it", "It has samples."]);
    expect(explain("./tokens/other", files), 1, &["nothing in it looks like a token", "`files` are: tokens/*"]);
    expect(explain("./tokens/other", "files: [tokens/other]\n"), 1, &["not_a_jwt"]);
    expect(explain("./tokens/gone", files), 1, &["it cannot be looked at: No such file"]);
    expect(explain("tokens/gone", files), 1, &["`files` are read too, and none of them is tokens/gone"]);
    expect(explain("./tokens/good", ""), 1, &["the configuration reads no files"]);
    expect(explain("tokens/good", ""), 1, &["no manifests and no files"]);
}

#[test]
fn the_systemd_units_are_sound() {
    let folder = format!("{}/manifests/systemd", env!("CARGO_MANIFEST_DIR"));
    let units = ["jwt-exporter.service", "jwt-exporter.timer"];
    let copy = process::folder("systemd");
    for unit in units {
        // The program is where it is here.
        let text = std::fs::read_to_string(format!("{folder}/{unit}")).unwrap();
        std::fs::write(copy.path().join(unit), text.replace("/usr/local/bin/jwt-exporter", PROGRAM)).unwrap();
    }
    let verify = Command::new("systemd-analyze").arg("verify").args(units.map(|unit| copy.path().join(unit))).output();
    match verify {
        Ok(output) => {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("jwt-exporter")).collect();
            assert!(output.status.success() && ours.is_empty(), "{said}");
        }
        Err(_) => eprintln!("skipped: systemd-analyze (Debian: systemd) is not there"),
    }
}
