//! An agent against real servers on loopback.

use super::test_server::{
    Ca, Leaf, Stream, TestServer, Then, connect_proxy, relay, respond, self_signed_ca, server_tls,
};
use super::*;
use crate::redacted::Redacted;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

fn trusting(ca: &Ca) -> AgentSettings {
    AgentSettings {
        trust: Trust::Bundle(TrustBundle::from_pem(ca.pem().as_bytes(), "ca.crt").unwrap()),
        identity: None,
        server_name: None,
        proxy: None,
        proxy_trust: None,
        compression: true,
        connect_timeout: Duration::from_secs(20),
    }
}

fn get(url: &str) -> Request<'_> {
    Request {
        method: Method::Get,
        url,
        headers: &[],
        authorization: None,
        body: None,
        deadline: None,
        per_read: Duration::from_secs(20),
    }
}

fn fetch(settings: &AgentSettings, url: &str) -> Result<String, HttpError> {
    let mut response = Agent::new(settings)?.send(&get(url))?;
    let mut body = String::new();
    response.body.read_to_string(&mut body).map_err(Body::error)?;
    Ok(format!("{} {body}", response.status))
}

fn hello(leaf: &Leaf) -> TestServer {
    TestServer::start(Some(server_tls(leaf, None)), |_, _, stream| respond(stream, "200 OK", "", "hello"))
}

fn refused(result: Result<String, HttpError>) -> CertificateRefused {
    match result {
        Err(HttpError::Tls { failure: TlsFailure::Refused(refused), .. }) => *refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_of_the_trusted_ca_is_believed() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["127.0.0.1", "localhost"], |_| {}));
    assert_eq!(fetch(&trusting(&ca), &server.url("https", "/x?y")).unwrap(), "200 hello");
    let by_name = format!("https://localhost:{}/", server.address.port());
    assert_eq!(fetch(&trusting(&ca), &by_name).unwrap(), "200 hello");
    let head = server.asked()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /x?y http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("user-agent: jwt-exporter/{}\r\n", env!("CARGO_PKG_VERSION"))), "{head}");
    assert!(head.contains("accept-encoding: gzip\r\n"), "{head}");
}

#[test]
fn another_ca_is_named_as_the_reason() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let server = hello(&theirs.server(&["127.0.0.1"], |_| {}));
    let refused = refused(fetch(&trusting(&ours), &server.url("https", "/")));
    assert_eq!(refused.rule, RefusalRule::UnknownIssuer);
    assert_eq!((refused.server_name.as_str(), refused.trust.as_str()), ("127.0.0.1", "1 certificate of ca.crt"));
}

#[test]
fn dates_are_named() {
    let ca = Ca::new("ca");
    let expired = hello(&ca.server(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 2, 3);
    }));
    let error = fetch(&trusting(&ca), &expired.url("https", "/")).unwrap_err().to_string();
    assert!(error.contains("expired on 2001-02-03T00:00:00Z"), "{error}");
    let early = hello(&ca.server(&["127.0.0.1"], |params| params.not_before = date_time_ymd(3000, 1, 1)));
    let error = fetch(&trusting(&ca), &early.url("https", "/")).unwrap_err().to_string();
    assert!(error.contains("only from 3000-01-01T00:00:00Z on"), "{error}");
}

#[test]
fn a_wrong_name_names_both_and_can_be_overridden() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["api.example", "10.9.8.7", "*.wild.example"], |_| {}));
    let url = server.url("https", "/");
    let refused = refused(fetch(&trusting(&ca), &url));
    assert_eq!(refused.server_name, "127.0.0.1");
    let RefusalRule::WrongName { has } = refused.rule else { panic!("{:?}", refused.rule) };
    assert_eq!(has, ["api.example", "10.9.8.7", "*.wild.example"]);
    for name in ["api.example", "10.9.8.7", "a.wild.example"] {
        let settings = AgentSettings { server_name: Some(name.to_owned()), ..trusting(&ca) };
        assert_eq!(fetch(&settings, &url).unwrap(), "200 hello", "{name}");
    }
    let settings = AgentSettings { server_name: Some("not a name".to_owned()), ..trusting(&ca) };
    assert!(matches!(Agent::new(&settings), Err(HttpError::Tls { .. })));
}

#[test]
fn a_certificate_without_names_is_refused_for_that() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&[], |_| {}));
    let refused = refused(fetch(&trusting(&ca), &server.url("https", "/")));
    assert_eq!(refused.rule, RefusalRule::WrongName { has: Vec::new() });
}

#[test]
fn a_certificate_for_clients_is_no_servers() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["127.0.0.1"], |params| {
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
    }));
    assert_eq!(refused(fetch(&trusting(&ca), &server.url("https", "/"))).rule, RefusalRule::WrongPurpose);
}

#[test]
fn a_ca_certificate_is_a_servers_only_if_exactly_it_is_trusted() {
    let (leaf, other) = (self_signed_ca(&["127.0.0.1"]), self_signed_ca(&["127.0.0.1"]));
    let server = hello(&leaf);
    let trusting_it = |leaf: &Leaf| AgentSettings {
        trust: Trust::Bundle(TrustBundle::from_pem(leaf.certificate.as_bytes(), "ca.crt").unwrap()),
        ..trusting(&Ca::new("ca"))
    };
    assert_eq!(fetch(&trusting_it(&leaf), &server.url("https", "/")).unwrap(), "200 hello");
    assert_eq!(refused(fetch(&trusting_it(&other), &server.url("https", "/"))).rule, RefusalRule::CaAsServer);
    // Known or not, the name has to be right.
    let settings = AgentSettings { server_name: Some("api.example".into()), ..trusting_it(&leaf) };
    let rule = refused(fetch(&settings, &server.url("https", "/"))).rule;
    assert!(matches!(rule, RefusalRule::WrongName { .. }), "{rule:?}");
}

#[test]
fn a_short_key_an_old_version_and_an_old_algorithm_are_named() {
    let sha1_ca = include_str!("../../tests/fixtures/tls/sha1-ca.crt");
    for (certificate, rule) in [
        (
            include_str!("../../tests/fixtures/tls/sha1-server.crt"),
            RefusalRule::UnsupportedSignature { algorithm: "ECDSA with SHA-1" },
        ),
        (include_str!("../../tests/fixtures/tls/weak-server.crt"), RefusalRule::WeakKey { bits: 1024 }),
        (include_str!("../../tests/fixtures/tls/v1-client.crt"), RefusalRule::OldVersion),
    ] {
        use rustls::client::danger::ServerCertVerifier;
        use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        // The weak one is its own issuer: to trust it is what makes its key matter.
        let trust = TrustBundle::from_pem(format!("{certificate}{sha1_ca}").as_bytes(), "ca.crt").unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let error = certificate::Verifier::new(&trust)
            .unwrap()
            .verify_server_cert(&der, &[], &name, &[], UnixTime::now())
            .unwrap_err();
        assert_eq!(certificate::refused_in(&error).map(|refused| &refused.rule), Some(&rule), "{error:?}");
    }
}

#[test]
fn insecure_means_anyone() {
    let server = hello(&Ca::new("ca").server(&["elsewhere"], |params| params.not_after = date_time_ymd(2001, 1, 1)));
    let settings = AgentSettings { trust: Trust::Anyone, ..trusting(&Ca::new("other")) };
    assert_eq!(fetch(&settings, &server.url("https", "/")).unwrap(), "200 hello");
}

#[test]
fn a_client_certificate_is_sent_and_its_lack_is_named() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(&["127.0.0.1"], |_| {}), Some(&ca));
    let server = TestServer::start(Some(tls), |_, _, stream| respond(stream, "200 OK", "", "hello"));
    let with = |leaf: &Leaf| AgentSettings {
        identity: Some(ClientIdentity::from_pem(leaf.certificate.as_bytes(), leaf.key.as_bytes()).unwrap()),
        ..trusting(&ca)
    };
    assert_eq!(fetch(&with(&ca.client("us")), &server.url("https", "/")).unwrap(), "200 hello");
    for settings in [trusting(&ca), with(&Ca::new("other").client("us"))] {
        let error = fetch(&settings, &server.url("https", "/")).unwrap_err();
        let HttpError::Tls { failure: TlsFailure::ClientCertificate { .. }, .. } = error else { panic!("{error:?}") };
    }
}

#[test]
fn what_speaks_no_tls_is_named() {
    let server = TestServer::start(None, |_, _, stream| respond(stream, "200 OK", "", ""));
    // A plain server waits for a head that never comes; it ends when it sees what it takes for garbage.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let error = fetch(&trusting(&Ca::new("ca")), &format!("https://{address}/")).unwrap_err();
    assert!(matches!(error, HttpError::Tls { failure: TlsFailure::NotTls, .. }), "{error:?}");
    assert_eq!(fetch(&trusting(&Ca::new("ca")), &server.url("http", "/")).unwrap(), "200 ");
}

#[test]
fn a_closed_port_and_an_unknown_host_are_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fetch(&trusting(&Ca::new("ca")), &format!("https://{closed}/")).unwrap_err();
    let HttpError::Connect { address, cause } = error else { panic!("{error:?}") };
    assert_eq!(address, closed.to_string());
    assert!(cause.contains("refused"), "{cause}");
    let error = fetch(&trusting(&Ca::new("ca")), "https://no-such-host.invalid/").unwrap_err();
    assert!(matches!(error, HttpError::UnknownHost { .. }), "{error:?}");
}

#[test]
fn through_an_http_proxy_with_and_without_password() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["api.example"], |_| {}));
    // Nobody but the proxy has to know where api.example is.
    let url = "https://api.example:6443/";
    let open = connect_proxy(server.address, None);
    let through = |url: String| AgentSettings { proxy: Some(Proxy::parse(&url).unwrap()), ..trusting(&ca) };
    assert_eq!(fetch(&through(open.url("http", "")), url).unwrap(), "200 hello");
    assert!(open.asked()[0].starts_with("CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n"));
    // dXM6cEBzcw== is us:p@ss
    let closed = connect_proxy(server.address, Some("Basic dXM6cEBzcw=="));
    assert_eq!(fetch(&through(format!("http://us:p%40ss@{}", closed.address)), url).unwrap(), "200 hello");
    for (user_info, words) in [("", "it wants a user name"), ("us:wr0ng@", "it refuses our user name")] {
        let error = fetch(&through(format!("http://{user_info}{}", closed.address)), url).unwrap_err();
        let HttpError::Proxy { proxy, cause } = error else { panic!("{error:?}") };
        assert_eq!(proxy, format!("http://{}", closed.address));
        assert!(cause.starts_with(words) && !cause.contains("wr0ng"), "{cause}");
    }
}

#[test]
fn through_a_proxy_over_tls_with_a_trust_of_its_own() {
    let (ca, proxys) = (Ca::new("ca"), Ca::new("proxy's"));
    let server = hello(&ca.server(&["api.example"], |_| {}));
    let to = server.address;
    let proxy =
        TestServer::start(Some(server_tls(&proxys.server(&["127.0.0.1"], |_| {}), None)), move |_, _, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            stream.flush().unwrap();
            relay(stream, to);
            Then::Close
        });
    let bundle = |ca: &Ca| Some(TrustBundle::from_pem(ca.pem().as_bytes(), "bundle").unwrap());
    let through = |proxy_trust| AgentSettings {
        proxy: Some(Proxy::parse(&proxy.url("https", "")).unwrap()),
        proxy_trust,
        // For the server alone.
        server_name: Some("api.example".to_owned()),
        ..trusting(&ca)
    };
    assert_eq!(fetch(&through(bundle(&proxys)), "https://10.9.8.7/").unwrap(), "200 hello");
    let error = fetch(&through(bundle(&ca)), "https://10.9.8.7/").unwrap_err();
    let HttpError::Proxy { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.contains("\"127.0.0.1\"") && cause.contains("no trusted CA issued it"), "{cause}");
    assert!(matches!(Agent::new(&through(None)), Err(HttpError::Proxy { .. })));
}

#[test]
fn a_server_without_tls_is_reached_through_a_tunnel_too() {
    let server = TestServer::start(None, |_, _, stream| respond(stream, "200 OK", "", "plain"));
    let proxy = connect_proxy(server.address, None);
    let settings =
        AgentSettings { proxy: Some(Proxy::parse(&proxy.url("http", "")).unwrap()), ..trusting(&Ca::new("ca")) };
    assert_eq!(fetch(&settings, "http://api.example/x").unwrap(), "200 plain");
    assert!(proxy.asked()[0].starts_with("CONNECT api.example:80 "));
}

#[test]
fn what_a_proxy_does_wrong_is_said_of_the_proxy() {
    let refusing = TestServer::start(None, |_, _, stream| respond(stream, "403 Forbidden\x1b", "", ""));
    let closing = TestServer::start(None, |_, _, _| Then::Close);
    let other = TestServer::start(None, |_, _, stream| {
        stream.write_all(b"SSH-2.0-x\r\n\r\n").unwrap();
        Then::Close
    });
    for (proxy, words) in [
        (&refusing, "it refuses a tunnel to api.example:443 (status 403)"),
        (&closing, "it closed the connection"),
        (&other, "its answer to CONNECT is not HTTP"),
    ] {
        let proxy = Proxy::parse(&proxy.url("http", "")).unwrap();
        let settings = AgentSettings { proxy: Some(proxy), ..trusting(&Ca::new("ca")) };
        let error = fetch(&settings, "https://api.example/").unwrap_err();
        let HttpError::Proxy { cause, .. } = &error else { panic!("{error:?}") };
        assert!(cause.starts_with(words), "{cause}");
    }
}

#[test]
fn through_a_socks_proxy() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["api.example"], |_| {}));
    let target = server.address;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut expect = |wanted: &[u8], answer: &[u8]| {
            let mut got = vec![0; wanted.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, wanted);
            stream.write_all(answer).unwrap();
        };
        expect(&[5, 2, 0, 2], &[5, 2]);
        expect(b"\x01\x02us\x04p@ss", &[1, 0]);
        expect(b"\x05\x01\x00\x03\x0bapi.example\x19\x2b", &[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]);
        relay(&mut stream as &mut dyn Stream, target);
    });
    let proxy = Proxy::parse(&format!("socks5://us:p%40ss@{address}")).unwrap();
    let settings = AgentSettings { proxy: Some(proxy), ..trusting(&ca) };
    assert_eq!(fetch(&settings, "https://api.example:6443/").unwrap(), "200 hello");
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(&["127.0.0.1"], |_| {}), None);
    let server = TestServer::start(Some(tls), |_, _, stream| {
        respond(stream, "302 Found", "Location: https://elsewhere.example/\r\n", "")
    });
    let agent = Agent::new(&trusting(&ca)).unwrap();
    let url = server.url("https", "/");
    let token = Redacted::new("Bearer abc".into());
    let response = agent.send(&Request { authorization: Some(&token), ..get(&url) }).unwrap();
    assert_eq!((response.status, response.header("location")), (302, Some("https://elsewhere.example/")));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_pause_loses_nothing_and_a_deadline_ends_it() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(&["127.0.0.1"], |_| {}), None);
    let server = TestServer::start(Some(tls), |_, request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n").unwrap();
        stream.flush().unwrap();
        if request.contains("/endless") {
            while stream.write_all(b"1\r\n.\r\n").is_ok() && stream.flush().is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Then::Close;
        }
        std::thread::sleep(Duration::from_millis(700));
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        Then::Keep
    });
    let agent = Agent::new(&trusting(&ca)).unwrap();
    let url = server.url("https", "/");
    let mut body = agent.send(&Request { per_read: Duration::from_millis(200), ..get(&url) }).unwrap().body;
    let (mut text, mut pauses) = (Vec::new(), 0);
    loop {
        let mut buffer = [0; 64];
        match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) => {
                assert_eq!(Body::error(error), HttpError::Timeout(TimeoutPhase::Read));
                pauses += 1;
            }
        }
    }
    assert_eq!(text, b"first second");
    assert!(pauses >= 1);

    let url = server.url("https", "/endless");
    let deadline = Some(Duration::from_millis(400));
    let mut body = agent.send(&Request { deadline, ..get(&url) }).unwrap().body;
    let error = body.read_to_end(&mut Vec::new()).map_err(Body::error).unwrap_err();
    assert_eq!(error, HttpError::Timeout(TimeoutPhase::Deadline));
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let settings = AgentSettings { connect_timeout: Duration::from_millis(300), ..trusting(&Ca::new("ca")) };
    assert_eq!(fetch(&settings, &url), Err(HttpError::Timeout(TimeoutPhase::Connect)));
    let url = url.replace("https", "http");
    let agent = Agent::new(&settings).unwrap();
    let error = agent.send(&Request { per_read: Duration::from_millis(300), ..get(&url) }).unwrap_err();
    assert_eq!(error, HttpError::Timeout(TimeoutPhase::Read));
}

/// The kernel says which of its timers run for a connection (proc_pid_net(5)): 2 is that for probes of one that is silent.
#[test]
fn a_server_that_is_gone_without_a_word_is_noticed() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["127.0.0.1"], |_| {}));
    let agent = Agent::new(&trusting(&ca)).unwrap();
    let mut response = agent.send(&get(&server.url("https", "/"))).unwrap();
    response.body.read_to_end(&mut Vec::new()).unwrap();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let to_server = format!(":{:04X}", server.address.port());
    let ours: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[2].ends_with(&to_server))
        .collect();
    assert_eq!(ours.len(), 1, "{table}");
    assert!(ours[0][5].starts_with("02:"), "{table}");
}

#[test]
fn a_short_time_for_reads_leaves_the_handshake_its_own() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["127.0.0.1"], |_| {}));
    let to = server.address;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::thread::sleep(Duration::from_millis(900));
        relay(&mut stream as &mut dyn Stream, to);
    });
    let agent = Agent::new(&trusting(&ca)).unwrap();
    let response = agent.send(&Request { per_read: Duration::from_millis(600), ..get(&url) }).unwrap();
    assert_eq!(response.status, 200);
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_error() {
    // Each connection answers once and is then closed, without a word.
    let server = TestServer::start(None, |_, _, stream| {
        respond(stream, "200 OK", "", "hello");
        Then::Close
    });
    let agent = Agent::new(&trusting(&Ca::new("ca"))).unwrap();
    let url = server.url("http", "/");
    for _ in 0..5 {
        let mut body = String::new();
        agent.send(&get(&url)).unwrap().body.read_to_string(&mut body).unwrap();
        assert_eq!(body, "hello");
    }
    // And one that takes the second request and only then goes.
    let server = TestServer::start(None, |number, _, stream| match number {
        1 => Then::Close,
        _ => respond(stream, "200 OK", "", "hello"),
    });
    let url = server.url("http", "/");
    for _ in 0..2 {
        agent.send(&get(&url)).unwrap().body.read_to_string(&mut String::new()).unwrap();
    }
    assert_eq!((server.asked().len(), *server.connections.lock().unwrap()), (3, 2));
    // A request that changes something is not sent twice.
    let server = TestServer::start(None, |number, _, stream| match number {
        1 => Then::Close,
        _ => respond(stream, "200 OK", "", "hello"),
    });
    let url = server.url("http", "/");
    let patch = Request { method: Method::Patch, body: Some(b"{}"), ..get(&url) };
    agent.send(&patch).unwrap().body.read_to_string(&mut String::new()).unwrap();
    assert_eq!(agent.send(&patch).unwrap_err(), HttpError::CutOff);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn connections_are_kept() {
    let ca = Ca::new("ca");
    let server = hello(&ca.server(&["127.0.0.1"], |_| {}));
    let agent = Agent::new(&trusting(&ca)).unwrap();
    for _ in 0..4 {
        agent.send(&get(&server.url("https", "/"))).unwrap().body.read_to_string(&mut String::new()).unwrap();
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[test]
fn a_body_that_ends_early_is_cut_off() {
    for head in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let server = TestServer::start(None, move |_, _, stream| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nab").as_bytes()).unwrap();
            Then::Close
        });
        let error = fetch(&trusting(&Ca::new("ca")), &server.url("http", "/")).unwrap_err();
        assert_eq!(error, HttpError::CutOff, "{head}");
    }
}

#[test]
fn what_is_no_http_or_no_gzip_is_a_bad_answer() {
    for answer in [
        "HELLO\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\nthis is not zipped..",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let server = TestServer::start(None, move |_, _, stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            Then::Close
        });
        let error = fetch(&trusting(&Ca::new("ca")), &server.url("http", "/")).unwrap_err();
        assert!(matches!(error, HttpError::BadAnswer { .. }), "{answer}: {error:?}");
    }
}

#[test]
fn gzip_is_unpacked_and_can_be_declined() {
    let server = TestServer::start(None, |_, request, stream| {
        if !request.to_ascii_lowercase().contains("accept-encoding") {
            return respond(stream, "200 OK", "", "plain");
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"packed").unwrap();
        let body = encoder.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        Then::Keep
    });
    let settings = trusting(&Ca::new("ca"));
    assert_eq!(fetch(&settings, &server.url("http", "/")).unwrap(), "200 packed");
    let settings = AgentSettings { compression: false, ..settings };
    assert_eq!(fetch(&settings, &server.url("http", "/")).unwrap(), "200 plain");
}

#[test]
fn a_gzip_body_that_ends_early_is_cut_off() {
    let server = TestServer::start(None, |_, _, stream| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(&[b'x'; 9000]).unwrap();
        let body = encoder.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body[..5000]].concat()).unwrap();
        Then::Close
    });
    assert_eq!(fetch(&trusting(&Ca::new("ca")), &server.url("http", "/")), Err(HttpError::CutOff));
}

#[test]
fn a_long_head_is_read_and_an_endless_one_is_not() {
    let server = TestServer::start(None, |_, request, stream| {
        let length = if request.contains("/long") { 30_000 } else { 400_000 };
        respond(stream, "200 OK", &format!("Warning: {}\r\n", "x".repeat(length)), "hello")
    });
    let settings = trusting(&Ca::new("ca"));
    assert_eq!(fetch(&settings, &server.url("http", "/long")).unwrap(), "200 hello");
    let error = fetch(&settings, &server.url("http", "/endless")).unwrap_err();
    assert!(matches!(error, HttpError::BadAnswer { .. }), "{error:?}");
}

#[test]
fn a_shutdown_ends_a_blocked_read_and_everything_after() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(&["127.0.0.1"], |_| {}), None);
    let server = TestServer::start(Some(tls), |_, _, stream| {
        // Without a length: the end of the stream would be the end of the body.
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx").unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_secs(600));
        Then::Close
    });
    let agent = Arc::new(Agent::new(&trusting(&ca)).unwrap());
    let url = server.url("https", "/");
    let per_read = Duration::from_secs(600);
    let mut body = agent.send(&Request { per_read, ..get(&url) }).unwrap().body;
    body.read_exact(&mut [0]).unwrap();
    let other = Arc::clone(&agent);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.shutdown();
    });
    assert_eq!(Body::error(body.read(&mut [0]).unwrap_err()), HttpError::ShutDown);
    stopper.join().unwrap();
    assert_eq!(agent.send(&get(&url)).unwrap_err(), HttpError::ShutDown);
}

#[test]
fn a_control_character_in_a_credential_is_refused_without_showing_it() {
    let server = TestServer::start(None, |_, _, stream| respond(stream, "200 OK", "", ""));
    let agent = Agent::new(&trusting(&Ca::new("ca"))).unwrap();
    let token = Redacted::new("Bearer se\ncret".into());
    let url = server.url("http", "/");
    let error = agent.send(&Request { authorization: Some(&token), ..get(&url) }).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("cret"), "{error}");
    assert!(matches!(error, HttpError::BadRequest { .. }));
}
