//! A cluster with a known number of tokens in fifty namespaces.

use super::rivals;
use super::support::api_client::Secret;
use super::support::control_plane::{ControlPlane, Settings};
use super::support::token;
use serde_json::json;
use std::cell::Cell;
use std::process::Command;
use std::time::Instant;

const NAMESPACES: usize = 50;

/// So many Secrets are made in memory before they are written.
const BATCH: usize = 500;

pub struct Cluster {
    plane: ControlPlane,
    ca: tempfile::NamedTempFile,
    tokens: usize,
    helm: usize,
    without: usize,
    /// No token has this expiry, nor one after it.
    next_expiry: Cell<usize>,
}

impl Cluster {
    pub fn start() -> Self {
        let plane = ControlPlane::start(Settings::default());
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), plane.ca_pem()).unwrap();
        for number in 0..NAMESPACES {
            plane.admin().create_namespace(&namespace(number), &[]);
        }
        Self { plane, ca, tokens: 0, helm: 0, without: 0, next_expiry: Cell::new(4_000_000_000) }
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// All Secrets that there are.
    pub fn secrets(&self) -> usize {
        self.tokens + self.helm + self.without
    }

    /// Adds tokens up to this number.
    pub fn hold_tokens(&mut self, count: usize) {
        self.put("tokens", self.tokens, count, |number| with_token(number, 2_000_000_000 + number));
        self.tokens = self.tokens.max(count);
    }

    /// Adds releases up to this number: base64 of base64 of gzip, 130 KB each as they stand in a list.
    pub fn hold_helm_releases(&mut self, count: usize) {
        self.put("Helm releases", self.helm, count, |number| {
            Secret::new(&namespace(number), &format!("sh.helm.release.v1.app-{number:05}.v1"))
                .kind("helm.sh/release.v1")
                .label("owner", "helm")
                .data("release", token::base64url(&noise(number as u64, 73_000)))
        });
        self.helm = self.helm.max(count);
    }

    /// Puts something else into the Secrets of all tokens from this number on.
    pub fn keep_tokens(&mut self, count: usize) {
        self.put("Secrets without a token", count, self.tokens, |number| {
            Secret::new(&namespace(number), &name(number)).data("password", "correct horse battery staple".repeat(30))
        });
        self.without += self.tokens - count;
        self.tokens = count;
    }

    fn put(&self, what: &str, from: usize, to: usize, make: impl Fn(usize) -> Secret) {
        if from >= to {
            return;
        }
        let begun = Instant::now();
        for start in (from..to).step_by(BATCH) {
            let batch: Vec<Secret> = (start..to.min(start + BATCH)).map(&make).collect();
            self.plane.admin().put_secrets(&batch);
        }
        eprintln!("seeded {} {what} in {:.0} s", to - from, begun.elapsed().as_secs_f64());
    }

    pub fn helm_releases(&self) -> usize {
        self.helm
    }

    /// Gives one token an expiry that none has had, and returns it when the API server has answered.
    pub fn rotate(&self, number: usize) -> usize {
        let expires = self.next_expiry.get();
        self.next_expiry.set(expires + 1);
        self.plane.admin().put_secret(&with_token(number, expires));
        expires
    }

    /// Gives every token another expiry.
    pub fn change_all(&self) {
        let first = self.next_expiry.get();
        self.next_expiry.set(first + self.tokens);
        self.put("changes", 0, self.tokens, |number| with_token(number, first + number));
    }

    /// curl of the list that the exporter starts with; `query` stands before the resource version and ends with `&`.
    pub fn curl_list(&self, query: &str) -> Command {
        let ca = self.ca.path().display().to_string();
        let authorization = format!("Authorization: Bearer {}", self.plane.admin_token());
        let url = format!("{}/api/v1/secrets?{query}resourceVersion=0", self.plane.url());
        rivals::curl(&["--cacert", &ca, "-H", &authorization, &url])
    }
}

fn namespace(number: usize) -> String {
    format!("team-{:02}", number % NAMESPACES)
}

fn name(number: usize) -> String {
    format!("service-{number:06}-token")
}

/// The tokens are shared out, so that several selectors can have them.
fn part(number: usize) -> String {
    format!("p{}", number % super::SELECTORS)
}

/// The label selector of one part of the tokens.
pub fn selector_of_part(number: usize) -> String {
    format!("part={}", part(number))
}

/// Two roles: two series in each of the detailed families. Nothing that the reference dies of: no list in `aud`.
fn with_token(number: usize, expires: usize) -> Secret {
    let claims = json!({
        "iss": "https://issuer.example/realms/platform", "sub": format!("service-{number:06}"), "aud": "api",
        "exp": expires, "iat": 1_750_000_000, "nbf": 1_750_000_000, "jti": format!("6f0c2a4e-{number:012}"),
        "name": format!("Service {number}"), "email": format!("service-{number}@example.com"),
        "scope": "read", "roles": ["reader", "writer"],
    });
    Secret::new(&namespace(number), &name(number))
        .label("monitor.jwt.io/monitoring", "true")
        .label("part", &part(number))
        .annotation("jwt-exporter/secret-key", "token")
        .data("token", token::hs256(&claims))
}

/// Bytes that nothing compresses (Marsaglia's xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}
