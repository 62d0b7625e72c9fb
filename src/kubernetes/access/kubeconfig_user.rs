//! The user of a kubeconfig's context: who we are, and how we prove it.

use crate::http_client::BaseUrl;
use crate::kubernetes::status::shown;
use crate::redacted::Redacted;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::path::PathBuf;
use std::sync::Mutex;

use super::Login;
use super::exec_plugin::{ExecPlugin, TIMEOUT};
use super::kubeconfig::{MAX_TOLD, Part, quoted};
use super::kubeconfig_error::{KubeconfigError, KubeconfigProblem};
use super::kubeconfig_file::{Cluster, Exec, User};
use super::material::Material;

impl Part<'_, User> {
    pub(super) fn identity(&self) -> Result<Option<(Material, Material)>, KubeconfigError> {
        let certificate = self.material(
            ("client-certificate-data", self.entry.client_certificate_data.as_ref().map(Redacted::expose)),
            ("client-certificate", self.entry.client_certificate.as_deref()),
        )?;
        let key = self.material(
            ("client-key-data", self.entry.client_key_data.as_ref().map(Redacted::expose)),
            ("client-key", self.entry.client_key.as_deref()),
        )?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(self.error("client-certificate", KubeconfigProblem::Alone { without: "client-key" }))
            }
            (None, Some(_)) => {
                Err(self.error("client-key", KubeconfigProblem::Alone { without: "client-certificate" }))
            }
        }
    }

    pub(super) fn login(&self, cluster: &Part<'_, Cluster>, server: &BaseUrl) -> Result<Login, KubeconfigError> {
        let user = self.entry;
        if let Some(provider) = &user.auth_provider {
            return Err(self.unsupported_provider(provider.name.as_deref().unwrap_or_default()));
        }
        let token = match (user.token_file.as_deref(), user.token.as_ref().map(Redacted::expose)) {
            (Some(file), _) if !file.is_empty() => Some(self.file("tokenFile", file)),
            (_, Some(token)) if !token.is_empty() => {
                Some(Material::inline(token.as_bytes().to_vec(), self.origin("token")))
            }
            _ => None,
        };
        let username = user.username.as_deref().filter(|name| !name.is_empty());
        let password = user.password.as_ref().map(Redacted::expose).filter(|password| !password.is_empty());
        match (token, username, password) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                Err(self.error("username", KubeconfigProblem::Conflict { with: "token and tokenFile" }))
            }
            (Some(token), None, None) => Ok(Login::Token(token)),
            (None, Some(username), password) => {
                if username.contains(':') {
                    return Err(self.error("username", KubeconfigProblem::NotAHeader));
                }
                let pair = zeroize::Zeroizing::new(format!("{username}:{}", password.unwrap_or_default()));
                Ok(Login::Basic(Redacted::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))))
            }
            (None, None, Some(_)) => Err(self.error("password", KubeconfigProblem::Alone { without: "username" })),
            (None, None, None) => match &user.exec {
                Some(exec) => self.plugin(exec, cluster, server).map(Login::Exec),
                None => Ok(Login::Nobody),
            },
        }
    }

    fn unsupported_provider(&self, name: &str) -> KubeconfigError {
        let advice = match name {
            "gcp" => {
                "Kubernetes dropped it in 1.26: run \"gcloud container clusters get-credentials\" for an exec entry"
            }
            "azure" => "Kubernetes dropped it in 1.26: run \"kubelogin convert-kubeconfig\" for an exec entry",
            "oidc" => "use an exec entry with an OpenID Connect plugin (kubelogin), or a token",
            _ => "use an exec entry, a token, or a client certificate",
        };
        let key = format!("auth-provider {}", quoted(name));
        self.error(&key, KubeconfigProblem::Unsupported { advice: advice.to_owned() })
    }

    fn plugin(
        &self,
        exec: &Exec,
        cluster: &Part<'_, Cluster>,
        server: &BaseUrl,
    ) -> Result<ExecPlugin, KubeconfigError> {
        const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
        let api_version = exec.api_version.as_deref().unwrap_or_default();
        if !VERSIONS.contains(&api_version) {
            let advice = format!("supported are {} and {}", VERSIONS[0], VERSIONS[1]);
            return Err(self.error("exec: apiVersion", KubeconfigProblem::Unsupported { advice }));
        }
        match exec.interactive_mode.as_deref() {
            Some("Always") => {
                let advice =
                    "nobody is here to type: use a plugin that can do without, a token, or a client certificate";
                let problem = KubeconfigProblem::Unsupported { advice: advice.to_owned() };
                return Err(self.error("exec: interactiveMode \"Always\"", problem));
            }
            None | Some("" | "Never" | "IfAvailable") => {}
            Some(_) => {
                let advice = "it is one of Never and IfAvailable".to_owned();
                return Err(self.error("exec: interactiveMode", KubeconfigProblem::Unsupported { advice }));
            }
        }
        let command = match exec.command.as_deref() {
            None | Some("") => return Err(self.error("exec: command", KubeconfigProblem::Required)),
            // A bare name is looked for in PATH; any other relative path starts at the kubeconfig.
            Some(command) if command.contains('/') => self.folder().join(command),
            Some(command) => PathBuf::from(command),
        };
        let provide_cluster_info = exec.provide_cluster_info.unwrap_or(false);
        Ok(ExecPlugin {
            origin: format!("{} {}", self.origin("exec: command"), quoted(&command.to_string_lossy())),
            api_version: api_version.to_owned(),
            command,
            args: exec.args.clone().unwrap_or_default(),
            env: exec.env.iter().flatten().map(|entry| (entry.name.clone(), entry.value.clone())).collect(),
            install_hint: shown(exec.install_hint.as_deref().unwrap_or_default(), MAX_TOLD),
            cluster: provide_cluster_info.then(|| cluster.info(server)),
            timeout: TIMEOUT,
            last: Mutex::new(None),
            running: Mutex::new(()),
        })
    }

    /// Source: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>
    pub(super) fn impersonation(&self) -> Result<Vec<(String, String)>, KubeconfigError> {
        let user = self.entry;
        let mut headers = Vec::new();
        let mut add = |key: &str, header: String, value: &str| {
            if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(self.error(key, KubeconfigProblem::NotAHeader));
            }
            headers.push((header, value.to_owned()));
            Ok(())
        };
        if let Some(name) = user.impersonate.as_deref().filter(|name| !name.is_empty()) {
            add("as", "Impersonate-User".to_owned(), name)?;
        }
        if let Some(uid) = user.as_uid.as_deref().filter(|uid| !uid.is_empty()) {
            add("as-uid", "Impersonate-Uid".to_owned(), uid)?;
        }
        for group in user.as_groups.iter().flatten() {
            add("as-groups", "Impersonate-Group".to_owned(), group)?;
        }
        for (key, values) in user.as_user_extra.iter().flatten() {
            let name: String = key
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                    _ => format!("%{byte:02X}"),
                })
                .collect();
            for value in values {
                add("as-user-extra", format!("Impersonate-Extra-{name}"), value)?;
            }
        }
        if !headers.is_empty() && user.impersonate.as_deref().unwrap_or_default().is_empty() {
            return Err(self.error("as-uid, as-groups, as-user-extra", KubeconfigProblem::Alone { without: "as" }));
        }
        Ok(headers)
    }
}
