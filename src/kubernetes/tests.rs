//! A cluster's requests, against servers that behave and servers that do not.

use super::access::{Access, AccessError};
use super::*;
use crate::http_client::test_server::{Ca, Leaf, Stream, TestServer, Then, respond, server_tls};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

type Counted = Arc<Mutex<Vec<String>>>;

fn counting() -> (OnRequest, Counted) {
    let counted = Counted::default();
    let on_request = {
        let counted = Arc::clone(&counted);
        Arc::new(move |verb: Verb, resource: &str, code: &str| {
            counted.lock().unwrap().push(format!("{verb} {resource} {code}"));
        })
    };
    (on_request, counted)
}

fn list(path: &str) -> ApiRequest<'_> {
    ApiRequest {
        verb: Verb::List,
        resource: "secrets",
        path: path.to_owned(),
        body: None,
        deadline: Some(Duration::from_secs(60)),
        per_read: Duration::from_secs(20),
    }
}

fn text(response: Result<ApiResponse, RequestError>) -> Result<String, RequestError> {
    let mut response = response?;
    let mut text = String::new();
    match response.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(response.read_error(error)),
    }
}

/// A server of a cluster, its CA, and a folder to put files into.
struct Fake {
    ca: Ca,
    server: TestServer,
    folder: TempDir,
}

impl Fake {
    fn new(answer: impl Fn(usize, &str, &mut dyn Stream) -> Then + Send + Sync + 'static) -> Self {
        let ca = Ca::new("cluster");
        let server = TestServer::start(Some(server_tls(&ca.server(&["127.0.0.1"], |_| {}), None)), answer);
        let fake = Self { ca, server, folder: tempfile::tempdir().unwrap() };
        fake.write("ca.crt", &fake.ca.pem());
        fake
    }

    fn write(&self, name: &str, content: &str) {
        // As the kubelet does it: never a half-written file.
        let next = self.folder.path().join("..next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(next, self.folder.path().join(name)).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn in_cluster(&self) -> Access {
        let port = self.server.address.port().to_string();
        Access::in_cluster(self.folder.path(), &|name| match name {
            "KUBERNETES_SERVICE_HOST" => Some("127.0.0.1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some(port.clone()),
            _ => None,
        })
        .unwrap()
    }

    /// With a kubeconfig whose user has these members.
    fn kubeconfig(&self, cluster: &str, user: &str) -> Result<Cluster, AccessError> {
        let text = format!(
            "current-context: x\nclusters: [{{name: c, cluster: {{server: '{}', {cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n",
            self.server.url("https", "/prefix/")
        );
        std::fs::write(self.path("config"), text).unwrap();
        Cluster::connect(Access::from_kubeconfig(&self.path("config"), None, &|_| None)?, counting().0)
    }

    fn plugin(&self, script: &str) -> String {
        let path = self.path("plugin");
        // Written by another process: a file that a fork of ours still holds open for writing cannot be run.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [one, SECRET-two], \
         env: [{name: PLUGIN_VARIABLE, value: set}], installHint: 'get it there', provideClusterInfo: true}"
            .to_owned()
    }

    /// The `Authorization` headers that came.
    fn authorizations(&self) -> Vec<String> {
        let header = |request: &String| {
            request.lines().find_map(|line| {
                line.to_ascii_lowercase().starts_with("authorization: ").then(|| line[15..].to_owned())
            })
        };
        self.server.asked().iter().map(|request| header(request).unwrap_or_default()).collect()
    }
}

const CA_FILE: &str = "certificate-authority: ca.crt";

fn ok(_: usize, _: &str, stream: &mut dyn Stream) -> Then {
    respond(stream, "200 OK", "", "{}")
}

/// 401 unless the token is this one.
fn wants(token: &'static str) -> impl Fn(usize, &str, &mut dyn Stream) -> Then + Send + Sync {
    move |_, request, stream| match request.contains(&format!("uthorization: Bearer {token}\r\n")) {
        true => respond(stream, "200 OK", "", "{}"),
        false => respond(stream, "401 Unauthorized", "", r#"{"kind":"Status","message":"Unauthorized","code":401}"#),
    }
}

fn credential(status: &str) -> String {
    format!(
        r#"echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}'"#
    )
}

#[test]
fn a_pod_sends_its_token_and_reads_it_again_when_it_changes() {
    let fake = Fake::new(ok);
    fake.write("token", "one\n");
    let (on_request, counted) = counting();
    let cluster = Cluster::connect(fake.in_cluster(), on_request).unwrap();
    assert_eq!(text(cluster.send(&list("/api/v1/secrets"))).unwrap(), "{}");
    fake.write("token", "two");
    text(cluster.send(&list("/api/v1/secrets"))).unwrap();
    assert_eq!(fake.authorizations(), ["Bearer one", "Bearer two"]);
    assert_eq!(*counted.lock().unwrap(), ["list secrets 200", "list secrets 200"]);
    // A new token needs no new connection.
    assert_eq!(*fake.server.connections.lock().unwrap(), 1);
    let head = fake.server.asked()[0].to_ascii_lowercase();
    assert!(
        head.contains("accept: application/json\r\n") && head.starts_with("get /api/v1/secrets http/1.1"),
        "{head}"
    );
}

#[test]
fn a_401_has_the_token_read_once_more() {
    let fake = Fake::new(wants("fresh"));
    // Seen as unchanged: same inode, size and times would be needed to hide a change; a 401 does not care.
    fake.write("token", "stale");
    let (on_request, counted) = counting();
    let cluster = Cluster::connect(fake.in_cluster(), on_request).unwrap();
    let error = cluster.send(&list("/api/v1/secrets")).unwrap_err();
    assert_eq!((error.reason(), error.status()), (Reason::Unauthorized, Some(401)));
    assert!(
        error.to_string().contains("status 401: Unauthorized; the server does not know our credentials"),
        "{error}"
    );
    // The same again would be refused again.
    assert_eq!(*counted.lock().unwrap(), ["list secrets 401"]);
    fake.write("token", "fresh");
    text(cluster.send(&list("/api/v1/secrets"))).unwrap();
    assert_eq!(*fake.server.connections.lock().unwrap(), 1);
}

/// The file may change between our reading it and the server's answer.
#[test]
fn a_token_that_changed_meanwhile_is_sent_at_once() {
    let token: Arc<Mutex<Option<std::path::PathBuf>>> = Arc::default();
    let (file, answer) = (Arc::clone(&token), wants("fresh"));
    let fake = Fake::new(move |number, request, stream: &mut dyn Stream| {
        if request.contains("Bearer stale") {
            std::fs::write(file.lock().unwrap().as_ref().unwrap(), "fresh").unwrap();
        }
        answer(number, request, stream)
    });
    *token.lock().unwrap() = Some(fake.path("token"));
    fake.write("token", "stale");
    let (on_request, counted) = counting();
    let cluster = Cluster::connect(fake.in_cluster(), on_request).unwrap();
    text(cluster.send(&list("/api/v1/secrets"))).unwrap();
    assert_eq!(*counted.lock().unwrap(), ["list secrets 401", "list secrets 200"]);
    assert_eq!((cluster.requests(), *fake.server.connections.lock().unwrap()), (2, 1));
}

#[test]
fn another_ca_makes_other_connections() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let serving = |ca: &Ca| server_tls(&ca.server(&["127.0.0.1"], |_| {}), None);
    let server = TestServer::start(Some(serving(&new)), ok);
    let fake = Fake { ca: old, server, folder: tempfile::tempdir().unwrap() };
    fake.write("ca.crt", &fake.ca.pem());
    fake.write("token", "one");
    let cluster = Cluster::connect(fake.in_cluster(), counting().0).unwrap();
    let error = cluster.send(&list("/api/v1/secrets")).unwrap_err();
    assert_eq!(error.reason(), Reason::Tls);
    let ca_crt = fake.path("ca.crt").display().to_string();
    assert!(
        error.to_string().contains(&format!("no trusted CA issued it (trusted: 1 certificate of {ca_crt})")),
        "{error}"
    );
    fake.write("ca.crt", &new.pem());
    text(cluster.send(&list("/api/v1/secrets"))).unwrap();
    // A CA that is broken now is an error, and not the end of the one before.
    fake.write("ca.crt", "nothing");
    assert_eq!(cluster.send(&list("/api/v1/secrets")).unwrap_err().reason(), Reason::Credentials);
    fake.write("ca.crt", &new.pem());
    text(cluster.send(&list("/api/v1/secrets"))).unwrap();
}

#[test]
fn a_kubeconfig_logs_in_with_each_kind_of_credential() {
    let fake = Fake::new(ok);
    fake.write("token-file", "from-file\n");
    for (user, header) in [
        ("", ""),
        ("token: abc", "Bearer abc"),
        ("tokenFile: token-file, token: abc", "Bearer from-file"),
        ("username: us, password: 'p:w'", "Basic dXM6cDp3"),
        ("token: abc, exec: {apiVersion: client.authentication.k8s.io/v1, command: never-run}", "Bearer abc"),
    ] {
        let cluster = fake.kubeconfig(CA_FILE, user).unwrap();
        text(cluster.send(&list("/api/v1/secrets"))).unwrap();
        assert_eq!(fake.authorizations().pop().unwrap(), header, "{user}");
    }
    assert!(fake.server.asked()[0].starts_with("GET /prefix/api/v1/secrets HTTP/1.1"));
    let user = "token: abc, as: 'system:serviceaccount:a:b', as-groups: [g1, g2], as-user-extra: {a/b: [x]}";
    text(fake.kubeconfig(CA_FILE, user).unwrap().send(&list("/x"))).unwrap();
    let head = fake.server.asked().pop().unwrap().to_ascii_lowercase();
    for line in [
        "impersonate-user: system:serviceaccount:a:b\r\n",
        "impersonate-group: g1\r\n",
        "impersonate-group: g2\r\n",
        "impersonate-extra-a%2fb: x\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
}

#[test]
fn a_kubeconfig_logs_in_with_a_client_certificate() {
    let ca = Ca::new("cluster");
    let tls = server_tls(&ca.server(&["api.example"], |_| {}), Some(&ca));
    let fake = Fake { server: TestServer::start(Some(tls), ok), ca, folder: tempfile::tempdir().unwrap() };
    fake.write("ca.crt", &fake.ca.pem());
    let Leaf { certificate, key } = fake.ca.client("us");
    fake.write("us.crt", &certificate);
    fake.write("us.key", &key);
    let cluster = "certificate-authority: ca.crt, tls-server-name: api.example";
    let user = "client-certificate: us.crt, client-key: us.key";
    text(fake.kubeconfig(cluster, user).unwrap().send(&list("/x"))).unwrap();
    let error = fake.kubeconfig(CA_FILE, user).unwrap().send(&list("/x")).unwrap_err();
    assert!(error.to_string().contains("it is for other names (api.example); use one of them"), "{error}");
    let error = fake.kubeconfig(cluster, "").unwrap().send(&list("/x")).unwrap_err();
    assert!(error.to_string().contains("the server refuses our client certificate, or wants one"), "{error}");
    // And from an exec plugin.
    let given = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"clientCertificateData": certificate, "clientKeyData": key},
    });
    fake.write("given", &given.to_string());
    let user = fake.plugin(&format!("cat {}", fake.path("given").display()));
    text(fake.kubeconfig(cluster, &user).unwrap().send(&list("/x"))).unwrap();
}

#[test]
fn an_exec_plugin_gets_what_it_needs_and_runs_once_until_its_credential_expires() {
    let fake = Fake::new(ok);
    let status = r#""token":"abc","expirationTimestamp":"2999-01-01T00:00:00Z""#;
    let script = format!(
        "cd {}\necho \"$1 $2 $PLUGIN_VARIABLE\" >> runs\necho \"$KUBERNETES_EXEC_INFO\" > info\n{}",
        fake.folder.path().display(),
        credential(status)
    );
    let cluster =
        "certificate-authority: ca.crt, extensions: [{name: client.authentication.k8s.io/exec, extension: {a: 1}}]";
    let cluster = fake.kubeconfig(cluster, &fake.plugin(&script)).unwrap();
    for _ in 0..3 {
        text(cluster.send(&list("/x"))).unwrap();
    }
    assert_eq!(std::fs::read_to_string(fake.path("runs")).unwrap(), "one SECRET-two set\n");
    assert_eq!(fake.authorizations(), ["Bearer abc"; 3]);
    let info: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(fake.path("info")).unwrap()).unwrap();
    use base64::Engine as _;
    let ca = base64::prelude::BASE64_STANDARD.encode(fake.ca.pem());
    let wanted = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {
            "interactive": false,
            "cluster": {
                "server": fake.server.url("https", "/prefix/"),
                "certificate-authority-data": ca,
                "config": {"a": 1},
            }
        }
    });
    assert_eq!(info, wanted);
    // Expired, or about to: run again at each request.
    let script = script.replace("2999", "2000");
    let cluster = fake.kubeconfig(CA_FILE, &fake.plugin(&script)).unwrap();
    for _ in 0..2 {
        text(cluster.send(&list("/x"))).unwrap();
    }
    assert_eq!(std::fs::read_to_string(fake.path("runs")).unwrap().lines().count(), 3);
}

#[test]
fn a_401_has_the_plugin_run_once_more() {
    let fake = Fake::new(wants("second"));
    let script = format!(
        "cd {}\nif [ -e ran ]; then {}; else touch ran; {}; fi",
        fake.folder.path().display(),
        credential(r#""token":"second""#),
        credential(r#""token":"first""#)
    );
    let cluster = fake.kubeconfig(CA_FILE, &fake.plugin(&script)).unwrap();
    text(cluster.send(&list("/x"))).unwrap();
    text(cluster.send(&list("/x"))).unwrap();
    assert_eq!(fake.authorizations(), ["Bearer first", "Bearer second", "Bearer second"]);
}

#[test]
fn what_a_plugin_does_wrong_is_named_and_nothing_it_wrote_to_us_is_shown() {
    let fake = Fake::new(ok);
    for (script, words) in [
        (
            "echo 'no\tway\u{1b}[31m' >&2; exit 3",
            "failed (exit status: 3): no\\tway\\x1b[31m (get it there)".to_owned(),
        ),
        ("echo SECRET", "no ExecCredential in JSON (line 1)".to_owned()),
        ("echo '{\"kind\": \"SECRET\"}'", "no ExecCredential in JSON (line 1)".to_owned()),
        (
            r#"echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}'"#,
            "another apiVersion than client.authentication.k8s.io/v1,".to_owned(),
        ),
        (&credential(""), "neither status.token nor both".to_owned()),
        (&credential(r#""clientKeyData":"SECRET""#), "neither status.token nor both".to_owned()),
        (&credential(r#""token":"SEC RET""#), "status.token: the token holds white space".to_owned()),
        (&credential(r#""token":"SECRET","expirationTimestamp":"SECRET""#), "is no RFC 3339 date".to_owned()),
        (
            &credential(r#""clientCertificateData":"SECRET","clientKeyData":"SECRET""#),
            "status.clientCertificateData: no certificate in it".to_owned(),
        ),
        ("head -c 2000000 /dev/zero", "wrote more than 1048576 bytes".to_owned()),
    ] {
        let cluster = fake.kubeconfig(CA_FILE, &fake.plugin(script)).unwrap();
        let error = cluster.send(&list("/x")).unwrap_err();
        assert_eq!(error.reason(), Reason::Credentials);
        let shown = error.to_string();
        assert!(shown.contains(&words), "{script}: {shown}");
        assert!(!shown.contains("SECRET") && !shown.chars().any(char::is_control), "{shown}");
        assert!(shown.contains("users[0] \"u\": exec: command \"") && shown.contains("/plugin\": "), "{shown}");
        assert!(!format!("{cluster:?} {error:?}").contains("SECRET"));
    }
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, installHint: 'get it'}";
    let error = fake.kubeconfig(CA_FILE, user).unwrap().send(&list("/x")).unwrap_err().to_string();
    assert!(error.contains("\"no-such-plugin\": no such program here;") && error.ends_with("(get it)"), "{error}");
    assert!(fake.server.asked().is_empty());
}

#[test]
fn a_shutdown_ends_a_plugin_and_what_it_started() {
    let fake = Fake::new(ok);
    let pid = fake.path("pid");
    let user = fake.plugin(&format!("sleep 600 & echo $! > {}; wait", pid.display()));
    let cluster = Arc::new(fake.kubeconfig(CA_FILE, &user).unwrap());
    let other = Arc::clone(&cluster);
    let file = pid.clone();
    let stopper = std::thread::spawn(move || {
        while std::fs::read_to_string(&file).map_or(true, |pid| !pid.ends_with('\n')) {
            std::thread::sleep(Duration::from_millis(10));
        }
        other.shutdown();
    });
    let error = cluster.send(&list("/x")).unwrap_err();
    assert!(error.to_string().ends_with("shut down while it ran"), "{error}");
    stopper.join().unwrap();
    let status = format!("/proc/{}/stat", std::fs::read_to_string(&pid).unwrap().trim());
    for _ in 0..500 {
        // Gone, or a zombie that nobody has collected yet.
        if std::fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z ")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("what the plugin started still runs");
}

#[test]
fn each_status_has_its_reason_and_the_servers_words() {
    let status =
        |message: &str| format!(r#"{{"kind":"Status","message":"{message}","details":{{"retryAfterSeconds":3}}}}"#);
    let long = "x".repeat(200_000);
    for (answer, headers, body, reason, words) in [
        ("404 Not Found", "", status("no"), Reason::NotFound, "status 404: no; is this the API server"),
        ("409 Conflict", "", status("changed"), Reason::Conflict, "status 409: changed"),
        ("410 Gone", "", status("too old"), Reason::Gone, "status 410: too old"),
        ("418 Teapot", "", "I am".to_owned(), Reason::BadStatus, "status 418"),
        ("500 Oops", "", status("a\\nb\\u001b"), Reason::ServerError, "status 500: a\\nb\\x1b"),
        ("503 Busy", "", long, Reason::ServerError, "status 503"),
        (
            "307 Elsewhere",
            "Location: https://u:SECRET@sso.example/login?SECRET\r\n",
            String::new(),
            Reason::Redirect,
            "it points to https://sso.example, but no redirects are followed with a token",
        ),
    ] {
        let fake = Fake::new(move |_, _, stream| respond(stream, answer, headers, &body));
        let error = fake.kubeconfig(CA_FILE, "token: SECRET").unwrap().send(&list("/api/v1/secrets")).unwrap_err();
        assert_eq!((error.reason(), error.status()), (reason, answer[..3].parse().ok()), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
        assert!(error.to_string().starts_with("list secrets in the whole cluster at https://127.0.0.1:"), "{error}");
    }
}

#[test]
fn a_403_names_the_rule_that_is_missing() {
    let fake = Fake::new(|_, _, stream| respond(stream, "403 Forbidden", "", r#"{"message":"secrets is forbidden"}"#));
    let cluster = fake.kubeconfig(CA_FILE, "token: abc").unwrap();
    let error = cluster.send(&list("/api/v1/secrets")).unwrap_err();
    assert_eq!(error.reason(), Reason::Forbidden);
    let words = "list secrets in the whole cluster at";
    let advice = "status 403: secrets is forbidden; a ClusterRole bound to us needs the rule \
                  {apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"list\"]}";
    assert!(error.to_string().starts_with(words) && error.to_string().ends_with(advice), "{error}");
    let one = ApiRequest { verb: Verb::Get, ..list("/api/v1/namespaces/shop/secrets/a") };
    let error = cluster.send(&one).unwrap_err().to_string();
    assert!(error.starts_with("get secrets in namespace \"shop\" at"), "{error}");
    assert!(error.contains("a Role in namespace \"shop\", or a ClusterRole, bound to us needs the rule"), "{error}");
}

#[test]
fn patience_is_asked_for_and_bounded() {
    for (header, body, wait) in [
        ("Retry-After: 7\r\n", "", Some(7)),
        ("Retry-After: 99999999\r\n", "", Some(600)),
        ("", r#"{"details":{"retryAfterSeconds":5}}"#, Some(5)),
        ("Retry-After: soon\r\n", "", None),
    ] {
        let fake = Fake::new(move |_, _, stream| respond(stream, "429 Too Many Requests", header, body));
        let error = fake.kubeconfig(CA_FILE, "").unwrap().send(&list("/x")).unwrap_err();
        assert_eq!(error.reason(), Reason::TooManyRequests);
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{header}{body}");
    }
}

#[test]
fn what_happens_to_a_body_is_told_apart() {
    let fake = Fake::new(|_, request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n").unwrap();
        stream.flush().unwrap();
        if request.contains("/pause") {
            std::thread::sleep(Duration::from_secs(600));
        }
        Then::Close
    });
    let cluster = fake.kubeconfig(CA_FILE, "token: abc").unwrap();
    let error = text(cluster.send(&list("/cut"))).unwrap_err();
    assert_eq!((error.reason(), error.is_pause()), (Reason::CutOff, false));
    let error = text(cluster.send(&ApiRequest { per_read: Duration::from_millis(200), ..list("/pause") })).unwrap_err();
    assert_eq!((error.reason(), error.is_pause()), (Reason::Timeout, true));
    // Before the head there is nothing to read on.
    let silent = Fake::new(|_, _, _| {
        std::thread::sleep(Duration::from_secs(600));
        Then::Close
    });
    let request = ApiRequest { per_read: Duration::from_millis(200), ..list("/x") };
    let error = silent.kubeconfig(CA_FILE, "token: abc").unwrap().send(&request).unwrap_err();
    assert_eq!((error.reason(), error.is_pause()), (Reason::Timeout, false));
    let deadline = Some(Duration::from_millis(300));
    let error = text(cluster.send(&ApiRequest { deadline, ..list("/pause") })).unwrap_err();
    assert_eq!((error.reason(), error.is_pause()), (Reason::Timeout, false));
}

#[test]
fn what_is_changed_is_sent_with_its_body() {
    let fake = Fake::new(|_, _, stream| respond(stream, "201 Created", "", "{}"));
    let cluster = fake.kubeconfig(CA_FILE, "token: abc").unwrap();
    for (verb, method) in [(Verb::Create, "POST"), (Verb::Patch, "PATCH")] {
        let body = Some(("application/merge-patch+json", b"{\"a\":1}".as_slice()));
        let response = cluster.send(&ApiRequest { verb, body, ..list("/api/v1/namespaces/a/secrets") }).unwrap();
        assert_eq!(response.status(), 201);
        let request = fake.server.asked().pop().unwrap();
        assert!(request.starts_with(&format!("{method} /prefix/api/v1/namespaces/a/secrets ")), "{request}");
        assert!(request.to_ascii_lowercase().contains("content-type: application/merge-patch+json\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    }
}

#[test]
fn a_shutdown_reaches_a_body_of_an_agent_that_was_replaced() {
    let fake = Fake::new(|_, request, stream| {
        if request.contains("/watch") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n").unwrap();
            stream.flush().unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        respond(stream, "200 OK", "", "{}")
    });
    fake.write("token", "abc");
    let cluster = Arc::new(Cluster::connect(fake.in_cluster(), counting().0).unwrap());
    let watch = ApiRequest { verb: Verb::Watch, deadline: None, per_read: Duration::from_secs(600), ..list("/watch") };
    let mut watched = cluster.send(&watch).unwrap();
    watched.read_exact(&mut [0; 2]).unwrap();
    fake.write("ca.crt", &format!("{}{}", fake.ca.pem(), Ca::new("another").pem()));
    text(cluster.send(&list("/x"))).unwrap();
    let other = Arc::clone(&cluster);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.shutdown();
    });
    let error = watched.read(&mut [0]).unwrap_err();
    assert_eq!(watched.read_error(error).reason(), Reason::Connect);
    stopper.join().unwrap();
    assert!(cluster.is_shut_down());
    assert_eq!(cluster.send(&list("/x")).unwrap_err().reason(), Reason::Connect);
}

#[test]
fn several_threads_share_a_cluster() {
    fn shared<T: Send + Sync>() {}
    shared::<Cluster>();
    let fake = Fake::new(ok);
    fake.write("token", "abc");
    let cluster = Cluster::connect(fake.in_cluster(), counting().0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(text(cluster.send(&list("/x"))).unwrap(), "{}")));
        }
    });
    assert_eq!(fake.server.asked().len(), 20);
}

#[test]
fn a_proxy_of_the_kubeconfig_is_used() {
    let fake = Fake::new(ok);
    let proxy = crate::http_client::test_server::connect_proxy(fake.server.address, None);
    let cluster = format!("{CA_FILE}, proxy-url: '{}'", proxy.url("http", ""));
    text(fake.kubeconfig(&cluster, "token: abc").unwrap().send(&list("/x"))).unwrap();
    assert!(proxy.asked()[0].starts_with(&format!("CONNECT {} ", fake.server.address)));
    assert!(!proxy.asked()[0].contains("abc"));
}

#[test]
fn a_token_that_is_gone_at_start_is_named_with_its_file() {
    let fake = Fake::new(ok);
    fake.write("token", "");
    let error = Cluster::connect(fake.in_cluster(), counting().0).unwrap_err().to_string();
    assert_eq!(error, format!("{}: the file is empty", Path::new(&fake.path("token")).display()));
}
