//! Kubeconfigs: from the file to a checked way into a cluster.
//!
//! What kubectl does where two keys compete is done here too: `…-data` before the file, `tokenFile` before `token`, a token
//! before an exec plugin. What cannot be done is named, never passed over in silence.

use crate::http_client::{BaseUrl, Proxy};
use crate::redacted::Redacted;
use crate::whole_file;
use crate::yaml;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exec_plugin::ClusterInfo;
use super::kubeconfig_error::{KubeconfigError, KubeconfigProblem, MAX_BYTES, without_values};
use super::kubeconfig_file::{Cluster, Context, File, User};
use super::material::Material;
use super::{Access, TrustSource};
use crate::kubernetes::status::shown;

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
        let bytes = whole_file::read(path, MAX_BYTES).map_err(|cause| match cause.kind() {
            io::ErrorKind::FileTooLarge => error(KubeconfigProblem::TooLong),
            _ => error(KubeconfigProblem::Unreadable { cause: cause.to_string() }),
        })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| error(KubeconfigProblem::Unreadable { cause: "it is no UTF-8 text".to_owned() }))?;
        Self::parse(text, path)
    }

    /// Reads the text of the file at `path`; nothing of it is opened.
    ///
    /// # Errors
    /// If it is no YAML of a kubeconfig.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KubeconfigError> {
        let shown = path.display().to_string();
        let error = |key, problem| KubeconfigError { file: shown.clone(), key, problem };
        if text.len() > MAX_BYTES {
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

    /// A number that another content of what a context leads to would not have: the context, its cluster and its user. `None` if
    /// one of them is not there.
    #[must_use]
    pub fn digest(&self, context: &str) -> Option<u64> {
        let contexts = self.file.contexts.iter().flatten().filter(|entry| entry.name == context);
        let Context { cluster, user } = contexts.clone().find_map(|entry| entry.context.as_ref())?;
        let clusters = self.file.clusters.iter().flatten().filter(|entry| Some(&entry.name) == cluster.as_ref());
        let users = self.file.users.iter().flatten().filter(|entry| Some(&entry.name) == user.as_ref());
        let mut hasher = DefaultHasher::new();
        // Those of the same name are all in it: that there are two is an error.
        for entry in contexts {
            entry.hash(&mut hasher);
        }
        for entry in clusters {
            entry.hash(&mut hasher);
        }
        for entry in users {
            entry.hash(&mut hasher);
        }
        Some(hasher.finish())
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
pub(super) struct Part<'a, T> {
    kubeconfig: &'a Kubeconfig,
    place: String,
    pub(super) entry: &'a T,
}

impl<T> Part<'_, T> {
    /// Where relative paths start.
    pub(super) fn folder(&self) -> &Path {
        &self.kubeconfig.folder
    }

    pub(super) fn error(&self, key: &str, problem: KubeconfigProblem) -> KubeconfigError {
        self.kubeconfig.error(&format!("{}: {key}", self.place), problem)
    }

    /// Where a key stands, for errors that come later.
    pub(super) fn origin(&self, key: &str) -> String {
        format!("{}: {}: {key}", self.kubeconfig.shown, self.place)
    }

    /// Inline base64 before a file; nothing if both are absent or empty.
    pub(super) fn material(
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

    pub(super) fn file(&self, key: &str, file: &str) -> Material {
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
    pub(super) fn info(&self, server: &BaseUrl) -> ClusterInfo {
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

/// So much of a text of the file is told.
pub(super) const MAX_TOLD: usize = 200;

/// A name from the file in quotes, bounded, in one line.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name, MAX_TOLD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::access::Login;
    use proptest::prelude::*;

    /// Where values stand that are secret, or that a secret can slip into.
    const PLACES: [&str; 16] = [
        "certificate-authority-data: @",
        "proxy-url: @",
        "insecure-skip-tls-verify: @",
        "extensions: @",
        "extensions: [@]",
        "token: @",
        "password: @",
        "client-key-data: @",
        "client-certificate-data: @",
        "exec: @",
        "exec: {command: c, args: @}",
        "exec: {command: c, args: [@]}",
        "exec: {command: c, env: [@]}",
        "exec: {command: c, env: [{name: n, value: @}]}",
        "as-groups: @",
        "auth-provider: @",
    ];

    /// A kubeconfig with `value` in one of the places.
    fn with(place: usize, value: &str) -> String {
        let line = PLACES[place].replace('@', value);
        let (cluster, user) =
            if place < 5 { (line.as_str(), "token: x") } else { ("proxy-url: http://p", line.as_str()) };
        format!(
            "current-context: x\nclusters:\n- name: c\n  cluster:\n    server: https://h\n    {cluster}\nusers:\n- name: u\n  \
             user:\n    {user}\ncontexts:\n- name: x\n  context:\n    cluster: c\n    user: u\n"
        )
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Kubeconfig::parse(&text, Path::new("config")).map(|kubeconfig| kubeconfig.access(None));
        }

        #[test]
        fn no_error_shows_a_secret(
            place in 0..PLACES.len(),
            value in "[ \\n:{}\\[\\]\"'&*!|>%@#,?a0-]{0,8}S3CRET[ \\n:{}\\[\\]\"'&*!|>%@#,?a0-]{0,8}",
        ) {
            let outcome = Kubeconfig::parse(&with(place, &value), Path::new("config"))
                .and_then(|kubeconfig| kubeconfig.access(None));
            if let Err(error) = outcome {
                prop_assert!(!error.to_string().contains("S3CRET"), "{error}");
                prop_assert!(!format!("{error:?}").contains("S3CRET"), "{error:?}");
            }
        }
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let text = "current-context: x\nclusters: [{name: c, cluster: {server: 'https://h', certificate-authority: ca.crt}}]\n\
                    users: [{name: u, user: {tokenFile: /abs/token}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]";
        let access = Kubeconfig::parse(text, Path::new("/home/us/.kube/config")).unwrap().access(None).unwrap();
        let TrustSource::Bundle(bundle) = &access.trust else { panic!("{access:?}") };
        assert!(bundle.origin().ends_with("certificate-authority: /home/us/.kube/ca.crt"), "{}", bundle.origin());
        let Login::Token(token) = &access.login else { panic!("{access:?}") };
        assert!(token.origin().ends_with("tokenFile: /abs/token"), "{}", token.origin());
    }
}
