//! A small HTTP server over TLS or without, and certificates for it: the other side of the tests.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::identity::provider;

/// A certificate authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's certificate, changed by `change` before it is signed.
    pub(crate) fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    pub(crate) fn client(&self, name: &str) -> Leaf {
        self.server(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        })
    }
}

/// A certificate that is its own issuer and says that it is a CA's, as self-made API servers have them.
pub(crate) fn self_signed_ca(names: &[&str]) -> Leaf {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Leaf { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// The TLS side of a server; with `clients`, it wants a certificate of that CA.
pub(crate) fn server_tls(leaf: &Leaf, clients: Option<&Ca>) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(leaf.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A connection of a client.
pub(crate) trait Stream: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// What a handler does with the connection after its answer.
#[derive(PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

/// Runs until the process ends. What it was asked is kept.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// Head and body of each request.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Connections that were accepted.
    pub(crate) connections: Arc<Mutex<usize>>,
}

impl TestServer {
    /// `answer` gets the number of the request, from 0, its head and body, and the stream.
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(usize, &str, &mut dyn Stream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (seen, accepted, answer) = (Arc::clone(&requests), Arc::clone(&connections), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *accepted.lock().unwrap() += 1;
                let (tls, seen, answer) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || match tls {
                    None => serve(stream, &seen, &*answer),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), &seen, &*answer);
                    }
                });
            }
        });
        Self { address, requests, connections }
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: impl Stream,
    seen: &Mutex<Vec<String>>,
    answer: &(impl Fn(usize, &str, &mut dyn Stream) -> Then + ?Sized),
) {
    while let Some(request) = read_request(&mut stream) {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        if answer(number, &request, &mut stream) == Then::Close {
            break;
        }
        let _ = stream.flush();
    }
}

/// Head and body of a request; `None` at the end of the stream.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text.clone()).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse::<usize>().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    text.extend(body);
    Some(String::from_utf8(text).unwrap())
}

/// An answer with a length.
pub(crate) fn respond(stream: &mut dyn Stream, status: &str, headers: &str, body: &str) -> Then {
    let answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    match stream.write_all(answer.as_bytes()) {
        Ok(()) => Then::Keep,
        Err(_) => Then::Close,
    }
}

/// A proxy that opens tunnels wherever it is asked to, if `password` is empty or sent in Basic credentials.
pub(crate) fn connect_proxy(to: SocketAddr, authorization: Option<&'static str>) -> TestServer {
    TestServer::start(None, move |_, request, stream| {
        if let Some(wanted) = authorization
            && !request.contains(&format!("Proxy-Authorization: {wanted}\r\n"))
        {
            return respond(stream, "407 Proxy Authentication Required", "", "");
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nX-Proxy: test\r\n\r\n").unwrap();
        relay(stream, to);
        Then::Close
    })
}

/// Copies both ways until one side ends.
pub(crate) fn relay(client: &mut dyn Stream, to: SocketAddr) {
    let mut server = TcpStream::connect(to).unwrap();
    // A stream over TLS cannot be read on one thread and written on another: so it goes in turns.
    let turn = Some(std::time::Duration::from_millis(5));
    client.socket().set_read_timeout(turn).unwrap();
    server.set_read_timeout(turn).unwrap();
    while copy_what_is_there(client, &mut server) && copy_what_is_there(&mut server, client) {}
}

/// Whether both sides are still there.
fn copy_what_is_there<A: Read + ?Sized, B: Write + ?Sized>(from: &mut A, to: &mut B) -> bool {
    let mut buffer = [0; 16 << 10];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
