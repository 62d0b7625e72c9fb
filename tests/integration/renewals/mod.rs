//! Renewals: the real program, a real API server, and an endpoint over TLS that does as it is told.

mod clusters;
mod dry_run;
mod fake_secrets;
mod files;
mod logins;
mod misbehaving;
mod secrets;
mod shards;
mod stopping;

use crate::support::certificates::CertificateAuthority;
use crate::support::exporter::Setup;
use crate::support::fake_api_server::{Answer, FakeApiServer, Request};
use crate::support::token;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A password that breaks what is put together carelessly.
const PASSWORD: &str = "pa\"ss\\word'},{\"admin\":true,\"x\":\"${username}\n\u{1}ü%0a&=end-of-the-password";

/// Who hands out tokens, and the file with its CA.
struct Endpoint {
    server: FakeApiServer,
    folder: tempfile::TempDir,
}

impl Endpoint {
    fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let authority = CertificateAuthority::new("authority of the endpoint");
        let server = FakeApiServer::start_tls(&authority.server(&["127.0.0.1"]), script);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
        Self { server, folder }
    }

    /// Every request gets a new token that lives an hour.
    fn good() -> Self {
        Self::start(|_| answer(&fresh()))
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The key `request`, as JSON, which is YAML too.
    fn request(&self, path: &str) -> Value {
        json!({
            "url": format!("{}{path}", self.server.url()),
            "headers": {"Content-Type": "application/json"},
            "body": r#"{"username":"${username}","password":"${password}"}"#,
            "ca_file": self.ca_file(),
            "timeout": "30s",
        })
    }
}

fn answer(token: &str) -> Answer {
    Answer::json(200, &json!({"_messageCode_": "success", "token": token}))
}

fn lives(from: i64, until: i64) -> String {
    token::hs256(&json!({"sub": "somebody", "iat": token::now() + from, "exp": token::now() + until}))
}

fn fresh() -> String {
    lives(0, 3600)
}

/// The configuration with these renewals, each of which waits a second between tries.
fn setup(more: &str, renewals: &[Value]) -> Setup {
    let renewals: Vec<Value> = renewals
        .iter()
        .map(|renewal| {
            let mut renewal = renewal.clone();
            let all = json!({"token": "/token", "retry": {"first": "1s", "most": "2s"}});
            for (name, value) in all.as_object().unwrap() {
                renewal.as_object_mut().unwrap().entry(name).or_insert(value.clone());
            }
            renewal
        })
        .collect();
    Setup::new(format!("{more}renewals: {}\n", json!(renewals)))
}
