//! Kubeconfig files with every kind of credential: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.

use super::certificates::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A kubeconfig with one cluster, one user and one context, all called `test`. Ask for what shall stand in it, then
/// [`Kubeconfig::write`] it or take its [`Kubeconfig::text`].
#[derive(Clone)]
pub struct Kubeconfig {
    cluster: Map<String, Value>,
    user: Map<String, Value>,
}

impl Kubeconfig {
    /// `server`: a URL such as `https://127.0.0.1:6443`.
    pub fn new(server: impl Into<String>) -> Self {
        Self { cluster: Map::new(), user: Map::new() }.cluster_field("server", server.into())
    }

    /// Any field of the cluster, such as `proxy-url`.
    pub fn cluster_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.cluster.insert(name.to_owned(), value.into());
        self
    }

    /// Any field of the user, such as `exec`.
    pub fn user_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.user.insert(name.to_owned(), value.into());
        self
    }

    pub fn ca_inline(self, pem: impl AsRef<[u8]>) -> Self {
        self.cluster_field("certificate-authority-data", STANDARD.encode(pem))
    }

    /// A relative path counts from the folder of the kubeconfig.
    pub fn ca_file(self, path: impl AsRef<Path>) -> Self {
        self.cluster_field("certificate-authority", text(path))
    }

    pub fn tls_server_name(self, name: &str) -> Self {
        self.cluster_field("tls-server-name", name)
    }

    pub fn insecure_skip_tls_verify(self) -> Self {
        self.cluster_field("insecure-skip-tls-verify", true)
    }

    pub fn token(self, token: &str) -> Self {
        self.user_field("token", token)
    }

    pub fn token_file(self, path: impl AsRef<Path>) -> Self {
        self.user_field("tokenFile", text(path))
    }

    pub fn basic_auth(self, username: &str, password: &str) -> Self {
        self.user_field("username", username).user_field("password", password)
    }

    pub fn certificate_inline(self, identity: &Identity) -> Self {
        self.user_field("client-certificate-data", STANDARD.encode(&identity.certificate_pem))
            .user_field("client-key-data", STANDARD.encode(&identity.key_pem))
    }

    pub fn certificate_files(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.user_field("client-certificate", text(certificate)).user_field("client-key", text(key))
    }

    /// An exec credential plugin, `client.authentication.k8s.io/v1`.
    pub fn exec(self, command: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let api = "client.authentication.k8s.io/v1";
        let exec = json!({"apiVersion": api, "command": text(command), "args": arguments, "interactiveMode": "Never"});
        self.user_field("exec", exec)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let file = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": self.cluster}],
            "users": [{"name": "test", "user": self.user}],
        });
        serde_yaml::to_string(&file).unwrap()
    }

    /// Writes it to `folder/kubeconfig` and returns that path.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("kubeconfig");
        std::fs::write(&path, self.text()).unwrap();
        path
    }
}

/// The text of a file with several contexts, each with a cluster and a user of its own.
pub fn several(contexts: &[(&str, &Kubeconfig)]) -> String {
    let named = |kind: &str, value: fn(&Kubeconfig) -> &Map<String, Value>| -> Vec<Value> {
        contexts.iter().map(|(name, kubeconfig)| json!({"name": name, kind: value(kubeconfig)})).collect()
    };
    let of = |(name, _): &(&str, &Kubeconfig)| json!({"name": name, "context": {"cluster": name, "user": name}});
    let file = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": contexts.iter().map(of).collect::<Vec<_>>(),
        "clusters": named("cluster", |kubeconfig| &kubeconfig.cluster),
        "users": named("user", |kubeconfig| &kubeconfig.user),
    });
    serde_yaml::to_string(&file).unwrap()
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}
