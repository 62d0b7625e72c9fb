//! The support itself: each real part starts, and each instrument can tell good from bad.

use crate::support::api_client::{Secret, Subject};
use crate::support::certificates::{self, CertificateAuthority};
use crate::support::control_plane::{ControlPlane, Settings};
use crate::support::fake_api_server::{Answer, FakeApiServer};
use crate::support::http::{self, Connection};
use crate::support::kubeconfig::Kubeconfig;
use crate::support::process::{self, Process};
use crate::support::prometheus::{Prometheus, check_metrics};
use crate::support::real_parts::RealPart;
use crate::support::{exporter, exposition, token, unique_name};
use serde_json::json;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_secret_is_created_listed_by_label_replaced_and_deleted() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, wanted) = (admin.create_unique_namespace("support"), unique_name("wanted"));
    let secret = Secret::new(&namespace, "one").label("test", &wanted).annotation("jwt-exporter/secret-key", "token");
    admin.put_secret(&secret.clone().data("token", "first"));
    admin.put_secret(&secret.data("token", "second"));
    admin.put_secret(&Secret::new(&namespace, "two").label("test", "other"));

    let target = format!("/api/v1/secrets?labelSelector=test%3D{wanted}");
    let list = admin.get(&target);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["data"]["token"], "c2Vjb25k");
    assert_eq!(list["items"][0]["metadata"]["annotations"]["jwt-exporter/secret-key"], "token");

    admin.delete_secret(&namespace, "one");
    assert_eq!(admin.get(&target)["items"], json!([]));
}

#[test]
fn many_secrets_come_in_pages() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let (namespace, crowd) = (admin.create_unique_namespace("crowd"), unique_name("crowd"));
    let secret = |n| Secret::new(&namespace, &format!("secret-{n}")).label("test", &crowd).data("token", "x");
    let secrets: Vec<Secret> = (0..600).map(secret).collect();
    admin.put_secrets(&secrets);

    let first = admin.get(&format!("/api/v1/secrets?labelSelector=test%3D{crowd}&limit=500"));
    assert_eq!(first["items"].as_array().unwrap().len(), 500);
    assert!(first["metadata"]["continue"].is_string(), "no continue token: {}", first["metadata"]);
    let all = admin.get(&format!("/api/v1/namespaces/{namespace}/secrets"));
    assert_eq!(all["items"].as_array().unwrap().len(), 600);
}

#[test]
fn a_deleted_namespace_is_gone_with_its_secrets() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("going");
    admin.put_secret(&Secret::new(&namespace, "one").label("test", &namespace));
    admin.delete_namespace(&namespace);
    assert_eq!(admin.request("GET", &format!("/api/v1/namespaces/{namespace}"), None).0, 404);
    assert_eq!(admin.get(&format!("/api/v1/secrets?labelSelector=test%3D{namespace}"))["items"], json!([]));
}

#[test]
fn a_service_account_token_is_accepted_and_rbac_decides() {
    let plane = require_control_plane!();
    let admin = plane.admin();
    let namespace = admin.create_unique_namespace("account");
    admin.create_service_account(&namespace, "reader");
    let reader = plane.client_with_token(&admin.request_token(&namespace, "reader", &[], 600));
    let (own, all) = (format!("/api/v1/namespaces/{namespace}/secrets"), "/api/v1/secrets?limit=1");
    let subject = Subject::ServiceAccount { namespace: &namespace, name: "reader" };

    let (status, refusal) = reader.request("GET", &own, None);
    assert_eq!((status, &refusal["reason"]), (403, &json!("Forbidden")), "{refusal}");
    admin.grant_in(&namespace, subject, &["list"], "secrets");
    assert_eq!(reader.request("GET", &own, None).0, 200);
    assert_eq!(reader.request("GET", all, None).0, 403, "a Role must not reach other namespaces");
    let grant = admin.grant(subject, &["get", "list"], "secrets");
    assert_eq!(reader.request("GET", all, None).0, 200);
    admin.revoke(&grant);
    admin.await_access(subject, "", "list", "secrets", false);
    assert_eq!(reader.request("GET", all, None).0, 403);
}

#[test]
fn a_token_for_another_audience_or_of_nobody_is_refused() {
    let plane = require_control_plane!();
    let namespace = plane.admin().create_unique_namespace("audience");
    plane.admin().create_service_account(&namespace, "reader");
    let elsewhere = plane.admin().request_token(&namespace, "reader", &["vault"], 600);
    for token in [elsewhere.as_str(), "unknown"] {
        assert_eq!(plane.client_with_token(token).request("GET", "/api/v1/secrets", None).0, 401);
    }
}

#[test]
fn a_client_certificate_is_accepted_as_its_user_and_group() {
    let plane = require_control_plane!();
    let (user, group) = (unique_name("user"), unique_name("group"));
    let client = plane.client_with_certificate(&plane.issue_client_certificate(&user, &[&group]));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review);
    assert_eq!(answer["status"]["userInfo"]["username"], json!(user));
    assert!(answer["status"]["userInfo"]["groups"].as_array().unwrap().contains(&json!(group)), "{answer}");
    assert_eq!(client.request("GET", "/api/v1/secrets?limit=1", None).0, 403);
    plane.admin().grant(Subject::Group(&group), &["list"], "secrets");
    assert_eq!(client.request("GET", "/api/v1/secrets?limit=1", None).0, 200);
}

#[test]
fn a_control_plane_of_ones_own_restarts_on_its_data_under_a_name_of_its_own() {
    let server_names = vec!["api.cluster.example".to_owned()];
    let mut plane: ControlPlane = require_own_control_plane!(Settings { server_names, ..Settings::default() });
    plane.admin().put_secret(&Secret::new("default", "kept"));
    plane.stop_api_server();
    assert!(plane.admin().try_request("GET", "/readyz", None).is_err());
    plane.start_api_server();
    assert_eq!(plane.admin().get("/api/v1/namespaces/default/secrets/kept")["metadata"]["name"], "kept");

    let tls = certificates::client_config(&plane.ca_pem(), None);
    let mut by_address = Connection::tls(plane.address(), "127.0.0.1", &tls).unwrap();
    let refused = by_address.send("GET", "/readyz", &[], b"").unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[test]
fn a_kubeconfig_is_yaml_with_what_was_asked_for() {
    let identity = CertificateAuthority::new("test").client("someone", &[]);
    let kubeconfig = Kubeconfig::new("https://127.0.0.1:6443").ca_inline("PEM").certificate_inline(&identity);
    let file: serde_json::Value = serde_yaml::from_str(&kubeconfig.text()).unwrap();
    assert_eq!(file["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
    assert_eq!(file["clusters"][0]["cluster"]["certificate-authority-data"], "UEVN");
    assert!(file["users"][0]["user"]["client-key-data"].is_string());
}

#[test]
fn promtool_passes_a_good_exposition_and_flags_a_bad_one() {
    let promtool = require_part!(RealPart::Promtool);
    let good = "# HELP a_seconds A.\n# TYPE a_seconds gauge\na_seconds{b=\"c\"} 1\n";
    let verdict = check_metrics(&promtool, good);
    assert!(verdict.clean && verdict.findings.is_empty(), "{verdict:?}");
    let unpraised = check_metrics(&promtool, "# TYPE a_count counter\na_count 1\n");
    assert!(!unpraised.clean, "{unpraised:?}");
    assert!(unpraised.findings.iter().any(|line| line.contains("no help text")), "{unpraised:?}");
    assert!(!check_metrics(&promtool, "a{b=\"c} 1\n").clean, "an open quote must not pass");
}

#[test]
fn an_exposition_is_read_with_its_escapes() {
    let text = "# TYPE a gauge\na{b=\"x\\\\\\n\\\"}, \",c=\"\"} -1.5e3\na{b=\"y\"} +Inf\nplain 2\n";
    assert_eq!(exposition::value(text, "a", &[("b", "x\\\n\"}, "), ("c", "")]), -1500.0);
    assert_eq!(exposition::value(text, "plain", &[]), 2.0);
    assert_eq!(exposition::find(text, "a", &[]).len(), 2);
    assert_eq!(exposition::find(text, "a", &[("b", "z")]), []);
}

#[test]
#[should_panic(expected = "a sample stands twice")]
fn an_exposition_with_a_sample_twice_is_refused() {
    exposition::samples("a{b=\"c\"} 1\na{b=\"c\"} 2\n");
}

#[test]
#[should_panic(expected = "no sample: a{b=\"c} 1")]
fn an_exposition_with_an_open_quote_is_refused() {
    exposition::samples("a{b=\"c} 1\n");
}

#[test]
fn prometheus_scrapes_and_says_why_it_cannot() {
    let prometheus = require_part!(RealPart::Prometheus);
    let target = FakeApiServer::start(|request| match request.path() {
        "/metrics" if request.before < 2 => Answer::new(500, &[], ""),
        "/metrics" => Answer::new(200, &[("Content-Type", "text/plain; version=0.0.4")], "answer 42\n"),
        _ => Answer::new(404, &[], ""),
    });
    let prometheus = Prometheus::start(&prometheus, target.address());
    target.wait_for_requests(1, SOON);
    prometheus.wait_until_up(Duration::from_secs(60));
    assert_eq!(prometheus.query("answer")[0]["value"][1], "42");
    assert_eq!(prometheus.last_scrape_error(), "");
}

#[test]
fn the_fake_server_records_what_it_was_asked() {
    let server = FakeApiServer::start(|_| Answer::json(200, &json!({"items": []})));
    let mut connection = Connection::plain(server.address()).unwrap();
    let selector = "/api/v1/secrets?limit=5&labelSelector=a+in+%28b%2Cc%29";
    let answer = connection.send("GET", selector, &[("Authorization", "Bearer secret")], b"").unwrap();
    assert_eq!((answer.status, answer.json()), (200, json!({"items": []})));
    connection.send("POST", "/other", &[], b"body").unwrap();

    let requests = server.wait_for_requests(2, SOON);
    assert_eq!((requests[0].method.as_str(), requests[0].path()), ("GET", "/api/v1/secrets"));
    assert_eq!(requests[0].query("labelSelector").as_deref(), Some("a in (b,c)"));
    assert_eq!(requests[0].query("continue"), None);
    assert_eq!(requests[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(requests[1].body, b"body");
    assert_eq!((requests[1].connection, requests[1].before), (0, 1), "kept alive");
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_fake_server_packs_chunks_and_redirects() {
    let server = FakeApiServer::start(|request| match request.path() {
        "/gzip" => Answer::gzip(200, &json!({"packed": true})),
        "/chunked" => Answer::chunked(200, &[b"{\"chunk", b"ed\":true}"]),
        "/redirect" => Answer::redirect(302, "http://elsewhere.example/"),
        _ => Answer::status_object_with(429, "TooManyRequests", &[("Retry-After", "1")]),
    });
    let get = |target| http::get(server.address(), target).unwrap();
    assert_eq!(get("/gzip").text(), "{\"packed\":true}");
    assert_ne!(get("/gzip").body, b"{\"packed\":true}");
    assert_eq!(get("/chunked").json(), json!({"chunked": true}));
    assert_eq!(get("/redirect").header("location"), Some("http://elsewhere.example/"));
    let refused = get("/anything");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.json()["code"], 429);
}

#[test]
fn the_fake_server_cuts_an_answer_in_its_body_in_every_framing() {
    let server = FakeApiServer::start(|request| match request.path() {
        "/length" => Answer::json(200, &json!({"items": []})).cut_after(5),
        "/chunked" => Answer::chunked(200, &[b"{\"items\":[]}"]).cut_after(5),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nContent-Le"),
    });
    for target in ["/length", "/chunked", "/head"] {
        let error = http::get(server.address(), target).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{target}: {error}");
    }
    let whole = FakeApiServer::start(|_| Answer::raw("HTTP/1.1 200 OK\r\n\r\nto the end"));
    assert_eq!(http::get(whole.address(), "/").unwrap().text(), "to the end");
}

#[test]
fn the_fake_server_speaks_tls_and_cuts_without_goodbye() {
    let authority = CertificateAuthority::new("fake authority");
    let server = FakeApiServer::start_tls(&authority.server(&["127.0.0.1"]), |request| match request.path() {
        "/whole" => Answer::json(200, &json!({"items": []})),
        _ => Answer::raw("HTTP/1.1 200 OK\r\n\r\nup to the end"),
    });
    let connect = |ca_pem: &str| {
        Connection::tls(server.address(), "127.0.0.1", &certificates::client_config(ca_pem, None)).unwrap()
    };
    let mut connection = connect(&authority.pem());
    assert_eq!(connection.send("GET", "/whole", &[], b"").unwrap().status, 200);
    let error = connection.send("GET", "/cut", &[], b"").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");

    let stranger = connect(&CertificateAuthority::new("another authority").pem()).send("GET", "/whole", &[], b"");
    assert!(stranger.unwrap_err().to_string().contains("invalid peer certificate"));
}

#[test]
fn the_fake_server_is_silent_drips_and_feeds_until_it_is_dropped() {
    let (events, pieces) = mpsc::channel::<Vec<u8>>();
    let pieces = std::sync::Mutex::new(Some(pieces));
    let server = FakeApiServer::start(move |request| match request.path() {
        "/silence" => Answer::silence(),
        "/drip" => Answer::drip(b" ", Duration::from_millis(1)),
        _ => Answer::feed(pieces.lock().unwrap().take().unwrap()),
    });
    events.send(b"one ".to_vec()).unwrap();
    events.send(b"two".to_vec()).unwrap();
    drop(events);
    assert_eq!(http::get(server.address(), "/watch").unwrap().text(), "one two");

    let address = server.address();
    let (ended, end) = mpsc::channel();
    for target in ["/silence", "/drip"] {
        let ended = ended.clone();
        std::thread::spawn(move || ended.send(http::get(address, target).is_err()).unwrap());
    }
    server.wait_for_requests(3, SOON);
    assert!(end.recv_timeout(Duration::from_millis(300)).is_err(), "an answer ended before its server");
    drop(server);
    for _ in 0..2 {
        assert!(end.recv_timeout(SOON).unwrap(), "a whole answer where none was");
    }
}

#[test]
fn a_child_is_heard_to_its_end_and_killed_when_dropped() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    };
    let mut speaking = shell("echo out; echo err >&2; exit 3");
    assert_eq!(speaking.wait(SOON).code(), Some(3));
    assert_eq!((speaking.stdout().as_str(), speaking.stderr().as_str()), ("out\n", "err\n"));
    let sleeping = shell("exec sleep 1000");
    let place = format!("/proc/{}", sleeping.id());
    assert!(std::path::Path::new(&place).exists());
    drop(sleeping);
    assert!(!std::path::Path::new(&place).exists());
}

#[test]
fn a_child_outlives_the_test_thread_that_started_it() {
    let start = || {
        let mut command = Command::new("sleep");
        command.arg("1000");
        Process::start(command)
    };
    let mut sleeping = std::thread::spawn(start).join().unwrap();
    // Where the parent's death were the thread's, the kernel would have killed it at the join.
    std::thread::sleep(Duration::from_millis(200));
    assert!(sleeping.exited().is_none());
}

#[test]
fn free_ports_differ() {
    let ports: std::collections::BTreeSet<u16> = (0..100).map(|_| process::free_port()).collect();
    assert_eq!(ports.len(), 100);
}

#[test]
fn tokens_differ_in_their_signature_alone() {
    let claims = json!({"exp": token::now()});
    let (one, two) = (token::hs256(&claims), token::hs256(&claims));
    let (one, two) = (one.rsplit_once('.').unwrap(), two.rsplit_once('.').unwrap());
    assert_eq!(one.0, two.0);
    assert_ne!(one.1, two.1);
}

#[test]
fn the_program_runs_to_its_end_under_a_limit() {
    let start = Instant::now();
    let finished = exporter::run(&["-no-such-flag"]);
    assert!(start.elapsed() < Duration::from_secs(60), "{finished:?}");
}
