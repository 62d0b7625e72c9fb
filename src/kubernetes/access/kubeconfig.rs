//! Kubeconfigs: from the file to a checked way into a cluster.
//!
//! What kubectl does where two keys compete is done here too: `…-data` before the file, `tokenFile` before `token`, a token
//! before an exec plugin. What cannot be done is named, never passed over in silence.

use crate::http_client::{BaseUrl, Proxy};
use crate::redacted::Redacted;
use crate::yaml;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::exec_plugin::{ClusterInfo, ExecPlugin, TIMEOUT};
use super::kubeconfig_error::{KubeconfigError, KubeconfigProblem, MAX_BYTES, without_values};
use super::kubeconfig_file::{Cluster, Context, Exec, File, User};
use super::material::Material;
use super::{Access, Login, TrustSource};

/// A kubeconfig whose text could be read; its entries are checked when one of them is used.
pub struct Kubeconfig {
    file: File,
    /// How errors call it.
    shown: String,
    /// Relative paths in it start here.
    folder: PathBuf,
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubeconfig({})", self.shown)
    }
}

impl Kubeconfig {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no YAML of a kubeconfig.
    pub fn load(path: &Path) -> Result<Self, KubeconfigError> {
        let error = |problem| KubeconfigError { file: path.display().to_string(), key: String::new(), problem };
        let unreadable = |cause: std::io::Error| error(KubeconfigProblem::Unreadable { cause: cause.to_string() });
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(error(KubeconfigProblem::Unreadable { cause: "not a regular file".to_owned() }));
        }
        let mut text = zeroize::Zeroizing::new(String::new());
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`; nothing of it is opened.
    ///
    /// # Errors
    /// If it is no YAML of a kubeconfig.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KubeconfigError> {
        let shown = path.display().to_string();
        let error = |key, problem| KubeconfigError { file: shown.clone(), key, problem };
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
            return Err(error(String::new(), KubeconfigProblem::TooLong));
        }
        let file: File = yaml::parse(text).map_err(|cause| {
            let (key, expected) = without_values(&cause);
            error(key, KubeconfigProblem::Syntax { line: cause.line, expected })
        })?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { file, folder, shown })
    }

    /// The names of its contexts.
    #[must_use]
    pub fn contexts(&self) -> Vec<&str> {
        self.file.contexts.iter().flatten().map(|context| context.name.as_str()).collect()
    }

    /// The way that a context describes; without one, the current context.
    ///
    /// # Errors
    /// What is wrong with the context, its cluster, or its user.
    pub fn access(&self, context: Option<&str>) -> Result<Access, KubeconfigError> {
        let name = match context.or(self.file.current_context.as_deref()) {
            Some(name) if !name.is_empty() => name,
            _ => return Err(self.error("current-context", KubeconfigProblem::NoCurrentContext)),
        };
        let contexts = self.file.contexts.iter().flatten().map(|entry| (entry.name.as_str(), entry.context.as_ref()));
        let key = if context.is_some() { "contexts".to_owned() } else { format!("current-context {}", quoted(name)) };
        let (place, context): (_, &Context) = self.entry("contexts", contexts, name, &key)?;
        let wanted = |part: &Option<String>, member: &str| match part {
            Some(name) if !name.is_empty() => Ok(name.clone()),
            _ => Err(self.error(&format!("{place}: {member}"), KubeconfigProblem::Required)),
        };
        let cluster_name = wanted(&context.cluster, "cluster")?;
        let clusters = self.file.clusters.iter().flatten().map(|entry| (entry.name.as_str(), entry.cluster.as_ref()));
        let key = format!("{place}: cluster {}", quoted(&cluster_name));
        let (cluster_place, cluster): (_, &Cluster) = self.entry("clusters", clusters, &cluster_name, &key)?;
        let cluster = Part { kubeconfig: self, place: cluster_place, entry: cluster };
        let nobody = User::default();
        let user = match context.user.as_deref() {
            // kubectl, too, goes on as nobody without a user.
            None | Some("") => Part { kubeconfig: self, place: format!("{place}: user"), entry: &nobody },
            Some(name) => {
                let users = self.file.users.iter().flatten().map(|entry| (entry.name.as_str(), entry.user.as_ref()));
                let key = format!("{place}: user {}", quoted(name));
                let (place, entry): (_, &User) = self.entry("users", users, name, &key)?;
                Part { kubeconfig: self, place, entry }
            }
        };
        let server = cluster.server()?;
        let trust = cluster.trust()?;
        let login = user.login(&cluster, &server)?;
        Ok(Access {
            trust,
            server_name: cluster.entry.tls_server_name.clone().filter(|name| !name.is_empty()),
            identity: user.identity()?,
            login,
            impersonation: user.impersonation()?,
            proxy: cluster.proxy()?,
            compression: !cluster.entry.disable_compression.unwrap_or(false),
            ssl_cert_file: None,
            server,
            origin: self.shown.clone(),
        })
    }

    /// The one entry of this name, and what errors call it.
    fn entry<'a, T>(
        &self,
        list: &str,
        entries: impl Iterator<Item = (&'a str, Option<&'a T>)>,
        name: &str,
        referrer: &str,
    ) -> Result<(String, &'a T), KubeconfigError> {
        let mut there = Vec::new();
        let mut found = None;
        for (at, (entry_name, entry)) in entries.enumerate() {
            if entry_name != name {
                if there.len() < 20 {
                    there.push(quoted(entry_name));
                }
                continue;
            }
            let place = format!("{list}[{at}] {}", quoted(name));
            if found.is_some() {
                return Err(self.error(&place, KubeconfigProblem::Duplicate));
            }
            found = Some((place, entry));
        }
        match found {
            Some((place, Some(entry))) => Ok((place, entry)),
            Some((place, None)) => Err(self.error(&place, KubeconfigProblem::Required)),
            None if list == referrer => {
                Err(self.error(&format!("{list}: {}", quoted(name)), KubeconfigProblem::Missing { there }))
            }
            None => Err(self.error(referrer, KubeconfigProblem::Missing { there })),
        }
    }

    fn error(&self, key: &str, problem: KubeconfigProblem) -> KubeconfigError {
        KubeconfigError { file: self.shown.clone(), key: key.to_owned(), problem }
    }
}

/// An entry, and where it stands.
struct Part<'a, T> {
    kubeconfig: &'a Kubeconfig,
    place: String,
    entry: &'a T,
}

impl<T> Part<'_, T> {
    fn error(&self, key: &str, problem: KubeconfigProblem) -> KubeconfigError {
        self.kubeconfig.error(&format!("{}: {key}", self.place), problem)
    }

    /// Where a key stands, for errors that come later.
    fn origin(&self, key: &str) -> String {
        format!("{}: {}: {key}", self.kubeconfig.shown, self.place)
    }

    /// Inline base64 before a file; nothing if both are absent or empty.
    fn material(
        &self,
        (data_key, data): (&str, Option<&str>),
        (file_key, file): (&str, Option<&str>),
    ) -> Result<Option<Material>, KubeconfigError> {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            // YAML folds long lines into spaces, and some tools wrap their base64.
            let joined = zeroize::Zeroizing::new(data.split_ascii_whitespace().collect::<String>());
            let bytes = BASE64_STANDARD
                .decode(joined.as_bytes())
                .map_err(|_| self.error(data_key, KubeconfigProblem::Base64))?;
            return Ok(Some(Material::inline(bytes, self.origin(data_key))));
        }
        Ok(file.filter(|file| !file.is_empty()).map(|file| self.file(file_key, file)))
    }

    fn file(&self, key: &str, file: &str) -> Material {
        // `join` keeps an absolute path as it is.
        Material::file(self.kubeconfig.folder.join(file), &self.origin(key))
    }
}

impl Part<'_, Cluster> {
    fn server(&self) -> Result<BaseUrl, KubeconfigError> {
        match self.entry.server.as_deref() {
            None | Some("") => Err(self.error("server", KubeconfigProblem::Required)),
            Some(server) => BaseUrl::parse(server).map_err(|error| self.error("server", KubeconfigProblem::Url(error))),
        }
    }

    fn trust(&self) -> Result<TrustSource, KubeconfigError> {
        let bundle = self.ca()?;
        match (self.entry.insecure_skip_tls_verify.unwrap_or(false), bundle) {
            (true, Some(_)) => Err(self.error(
                "insecure-skip-tls-verify",
                KubeconfigProblem::Conflict { with: "certificate-authority and certificate-authority-data" },
            )),
            (true, None) => Ok(TrustSource::Anyone),
            (false, Some(bundle)) => Ok(TrustSource::Bundle(Arc::new(bundle))),
            (false, None) => Ok(TrustSource::System),
        }
    }

    fn ca(&self) -> Result<Option<Material>, KubeconfigError> {
        self.material(
            ("certificate-authority-data", self.entry.certificate_authority_data.as_deref()),
            ("certificate-authority", self.entry.certificate_authority.as_deref()),
        )
    }

    fn proxy(&self) -> Result<Option<Proxy>, KubeconfigError> {
        match self.entry.proxy_url.as_ref().map(Redacted::expose) {
            None | Some("") => Ok(None),
            Some(url) => {
                Proxy::parse(url).map(Some).map_err(|error| self.error("proxy-url", KubeconfigProblem::Proxy(error)))
            }
        }
    }

    /// What an exec plugin is told; the CA is added when it runs.
    fn info(&self, server: &BaseUrl) -> ClusterInfo {
        let extension = self.entry.extensions.iter().flatten();
        ClusterInfo {
            server: self.entry.server.clone().unwrap_or_else(|| server.to_string()),
            tls_server_name: self.entry.tls_server_name.clone(),
            insecure_skip_tls_verify: self.entry.insecure_skip_tls_verify.unwrap_or(false),
            certificate_authority_data: None,
            proxy_url: self.entry.proxy_url.as_ref().map(|url| url.expose().to_owned()),
            disable_compression: self.entry.disable_compression.unwrap_or(false),
            config: extension
                .filter(|extension| extension.name.as_deref() == Some("client.authentication.k8s.io/exec"))
                .find_map(|extension| extension.extension.clone()),
        }
    }
}

impl Part<'_, User> {
    fn identity(&self) -> Result<Option<(Material, Material)>, KubeconfigError> {
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

    fn login(&self, cluster: &Part<'_, Cluster>, server: &BaseUrl) -> Result<Login, KubeconfigError> {
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
            Some(command) if command.contains('/') => self.kubeconfig.folder.join(command),
            Some(command) => PathBuf::from(command),
        };
        let provide_cluster_info = exec.provide_cluster_info.unwrap_or(false);
        Ok(ExecPlugin {
            origin: format!("{} {}", self.origin("exec: command"), quoted(&command.to_string_lossy())),
            api_version: api_version.to_owned(),
            command,
            args: exec.args.clone().unwrap_or_default(),
            env: exec.env.iter().flatten().map(|entry| (entry.name.clone(), entry.value.clone())).collect(),
            install_hint: plain(exec.install_hint.as_deref().unwrap_or_default()),
            cluster: provide_cluster_info.then(|| cluster.info(server)),
            timeout: TIMEOUT,
            last: Mutex::new(None),
            running: Mutex::new(()),
        })
    }

    /// Source: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>
    fn impersonation(&self) -> Result<Vec<(String, String)>, KubeconfigError> {
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

/// A name from the file in quotes, bounded, in one line.
fn quoted(name: &str) -> String {
    format!("\"{}\"", plain(name))
}

fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
