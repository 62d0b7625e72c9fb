//! From inside a pod: what Kubernetes puts into every container.
//! Source: <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>

use crate::http_client::BaseUrl;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::material::Material;
use super::{Access, Login, TrustSource};

/// Where the kubelet mounts the service account's token and the cluster's CA.
pub const SERVICE_ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why the way of a pod cannot be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InClusterError {
    /// `KUBERNETES_SERVICE_HOST` or `KUBERNETES_SERVICE_PORT` is not set.
    NotInCluster {
        /// The variable.
        variable: &'static str,
    },
    /// A variable that holds something else than a host or a port.
    BadVariable {
        /// The variable.
        variable: &'static str,
    },
    /// A file of the service account is not there.
    NoFile {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for InClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInCluster { variable } => write!(
                f,
                "no kubeconfig is configured, and this is not a pod of a cluster: {variable} is not set; name a kubeconfig in \
                 kubeconfig_path, or set kubernetes: false"
            ),
            Self::BadVariable { variable } => {
                write!(f, "{variable} does not hold {}", if variable.ends_with("HOST") { "a host" } else { "a port" })
            }
            Self::NoFile { path } => write!(
                f,
                "{} is not there; does the pod have a service account, and is automountServiceAccountToken true?",
                path.display()
            ),
        }
    }
}

impl std::error::Error for InClusterError {}

pub(super) fn access(folder: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Access, InClusterError> {
    const HOST: &str = "KUBERNETES_SERVICE_HOST";
    const PORT: &str = "KUBERNETES_SERVICE_PORT";
    let variable = |variable: &'static str| {
        environment(variable).filter(|value| !value.is_empty()).ok_or(InClusterError::NotInCluster { variable })
    };
    let (host, port) = (variable(HOST)?, variable(PORT)?);
    let port: u16 =
        port.parse().ok().filter(|port| *port != 0).ok_or(InClusterError::BadVariable { variable: PORT })?;
    // What was made of the parts has to come out whole, or the host was more than a host.
    let server = BaseUrl::https(&host, port);
    if BaseUrl::parse(&server.to_string()).as_ref() != Ok(&server) {
        return Err(InClusterError::BadVariable { variable: HOST });
    }
    let file = |name: &str| {
        let path = folder.join(name);
        if path.exists() { Ok(Material::file(path, "")) } else { Err(InClusterError::NoFile { path }) }
    };
    Ok(Access {
        server,
        origin: "in-cluster".to_owned(),
        trust: TrustSource::Bundle(Arc::new(file("ca.crt")?)),
        server_name: None,
        identity: None,
        login: Login::Token(file("token")?),
        impersonation: Vec::new(),
        proxy: None,
        // Within a cluster the network is faster than the server's gzip, above all for values that nothing compresses.
        compression: false,
        ssl_cert_file: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(host: Option<&str>, port: Option<&str>) -> Result<Access, InClusterError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "t").unwrap();
        std::fs::write(folder.path().join("ca.crt"), "c").unwrap();
        access(folder.path(), &|name| match name {
            "KUBERNETES_SERVICE_HOST" => host.map(str::to_owned),
            "KUBERNETES_SERVICE_PORT" => port.map(str::to_owned),
            "HTTPS_PROXY" | "ALL_PROXY" => Some("http://proxy:3128".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_server_is_in_the_environment_and_needs_no_proxy() {
        for (host, url) in [
            ("10.96.0.1", "https://10.96.0.1:443"),
            ("fd00::1", "https://[fd00::1]:443"),
            ("[fd00::1]", "https://[fd00::1]:443"),
            ("kubernetes.default.svc", "https://kubernetes.default.svc:443"),
        ] {
            let access = with(Some(host), Some("443")).unwrap();
            assert_eq!(access.server.to_string(), url);
            assert!(access.proxy.is_none());
        }
    }

    #[test]
    fn what_is_no_pod() {
        const HOST: &str = "KUBERNETES_SERVICE_HOST";
        const PORT: &str = "KUBERNETES_SERVICE_PORT";
        for (host, port, error) in [
            (None, Some("443"), InClusterError::NotInCluster { variable: HOST }),
            (Some(""), Some("443"), InClusterError::NotInCluster { variable: HOST }),
            (Some("10.0.0.1"), None, InClusterError::NotInCluster { variable: PORT }),
            (Some("10.0.0.1"), Some("tcp://10.0.0.1:443"), InClusterError::BadVariable { variable: PORT }),
            (Some("10.0.0.1/evil"), Some("443"), InClusterError::BadVariable { variable: HOST }),
            (Some("u@10.0.0.1"), Some("443"), InClusterError::BadVariable { variable: HOST }),
        ] {
            assert_eq!(with(host, port).unwrap_err(), error);
        }
        let folder = tempfile::tempdir().unwrap();
        let error = access(folder.path(), &|_| Some("443".to_owned())).unwrap_err();
        assert_eq!(error, InClusterError::NoFile { path: folder.path().join("ca.crt") });
    }
}
