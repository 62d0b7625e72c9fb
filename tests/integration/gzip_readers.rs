//! The gzipped exposition, put together from parts that are compressed at different times, read by programs that people have.

use crate::exposition::unmoved;
use crate::support::exporter::{Exporter, Setup};
use crate::support::http::gunzip;
use crate::support::real_parts::RealPart;
use crate::support::token;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// More than a few pieces of output.
const TOKENS: usize = 2_000;

const PYTHON_GZIP: &str = "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";

/// One member and nothing behind it.
const PYTHON_ZLIB: &str = "import sys, zlib; member = zlib.decompressobj(wbits=31); \
    text = member.decompress(sys.stdin.buffer.read()) + member.flush(); \
    assert member.eof and not member.unused_data; sys.stdout.buffer.write(text)";

fn exporter() -> Exporter {
    let setup = Setup::new("kubernetes: false\nmanifests: [secrets.json]\n");
    let secret = |number: usize| {
        let claims = json!({"exp": token::now() + number as i64, "iat": 1, "sub": format!("subject-{number}"), "roles": ["a", "b"]});
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": format!("s-{number}"), "namespace": "n"},
            "stringData": {"token": token::hs256(&claims)}})
    };
    let items: Vec<_> = (0..TOKENS).map(secret).collect();
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items});
    std::fs::write(setup.folder().join("secrets.json"), list.to_string()).unwrap();
    let mut exporter = setup.start();
    exporter.wait_until_ready();
    exporter
}

/// What a program makes of these bytes.
fn piped(program: &Path, arguments: &[&str], bytes: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What is read must be the text that was packed, of the first scrape of a snapshot and of one that finds it compressed.
fn is_read_by(program: &Path, arguments: &[&str]) {
    let exporter = exporter();
    for _ in 0..2 {
        let packed = exporter.request("GET", "/metrics", &[("Accept-Encoding", "gzip")]).body;
        let text = piped(program, arguments, &packed);
        assert!(text.matches("jwt_exporter_token_info{").count() == TOKENS && text.as_bytes() == gunzip(&packed));
    }
}

#[test]
fn python_reads_it_with_gzip() {
    is_read_by(&require_part!(RealPart::Python), &["-c", PYTHON_GZIP]);
}

#[test]
fn python_reads_it_with_zlib() {
    is_read_by(&require_part!(RealPart::Python), &["-c", PYTHON_ZLIB]);
}

#[test]
fn gunzip_reads_it() {
    is_read_by(&require_part!(RealPart::Gunzip), &["-c"]);
}

#[test]
fn curl_reads_it() {
    // Not demanded anywhere: nothing installs it for the tests.
    let curl = match RealPart::Curl.find() {
        Ok(curl) => curl,
        Err(reason) => return drop(writeln!(std::io::stderr(), "skipped: {}: {reason}", test_name!())),
    };
    let exporter = exporter();
    let plain = exporter.metrics();
    for _ in 0..2 {
        let url = format!("http://{}/metrics", exporter.address());
        let text = piped(&curl, &["--compressed", "-sS", "-f", &url], b"");
        assert!(unmoved(&text) == unmoved(&plain), "{} of {} bytes", text.len(), plain.len());
    }
}
