//! A real OpenBao on 127.0.0.1, in memory and unsealed. Stopped when dropped.

use super::http::Connection;
use super::process::{self, Process};
use super::real_parts::RealPart;
use super::wait_for;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(120);

/// The token that may do everything.
pub const ROOT: &str = "root-of-this-server-alone";

/// A running server.
pub struct OpenBao {
    process: Process,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl OpenBao {
    /// Prefer the macro `require_part!(RealPart::OpenBao)` before it, which skips the test where there is none.
    pub fn start() -> Self {
        // It listens at the next port, too, which somebody else may have got by then.
        let started = (0..5).find_map(|_| Self::try_start());
        started.expect("OpenBao ended five times at its start")
    }

    /// `None`: it ended by itself.
    fn try_start() -> Option<Self> {
        let folder = process::folder("openbao");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let mut command = Command::new(RealPart::OpenBao.find().unwrap());
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address={address}"))
            .env("HOME", folder.path())
            .current_dir(folder.path());
        let mut bao = Self { process: Process::start(command), address, _folder: folder };
        let is_there = wait_for("OpenBao unsealed", START_LIMIT, || {
            match (bao.try_request("GET", "sys/health", ROOT, None), bao.process.exited()) {
                (Ok((200, _)), None) => Ok(true),
                (_, Some(_)) => Ok(false),
                (other, None) => Err(format!("{other:?}\n{}", bao.process.last_lines(20))),
            }
        });
        is_there.then_some(bao)
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn try_request(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> std::io::Result<(u16, Value)> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let headers = [("X-Vault-Token", token), ("Connection", "close")];
        let answer =
            Connection::plain(self.address)?.send(method, &format!("/v1/{path}"), &headers, body.as_bytes())?;
        Ok((answer.status, answer.json()))
    }

    /// Any request as anybody.
    pub fn request(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        self.try_request(method, path, token, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Writes as root.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.request("POST", path, ROOT, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Enables an auth method at a path below `auth/`.
    pub fn enable(&self, path: &str, method: &str) {
        self.write(&format!("sys/auth/{path}"), &serde_json::json!({ "type": method }));
    }

    /// Tries to log in; the status, and what the server says of it.
    pub fn login(&self, mount: &str, role: &str, jwt: &str) -> (u16, String) {
        let body = serde_json::json!({ "role": role, "jwt": jwt });
        match self.try_request("POST", &format!("{mount}/login"), "", Some(&body)) {
            Ok((status, answer)) => (status, answer["errors"].to_string()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// A client token with one policy and nothing else.
    pub fn token_with(&self, policy: &str) -> String {
        self.write("sys/policies/acl/of-a-test", &serde_json::json!({ "policy": policy }));
        let body = serde_json::json!({ "policies": ["of-a-test"], "no_default_policy": true });
        self.write("auth/token/create", &body)["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}
