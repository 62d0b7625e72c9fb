//! A real Kubernetes API server on a real etcd, both on 127.0.0.1, with certificates of their own and RBAC.
//!
//! There are no controllers and no kubelet: nothing creates default service accounts, nothing empties a deleted namespace
//! ([`ApiClient::delete_namespace`] does that itself), no Pod runs.

use super::api_client::{ApiClient, Credentials};
use super::certificates::{self, CertificateAuthority, Identity};
use super::kubeconfig::Kubeconfig;
use super::process::{self, Process};
use super::real_parts::RealPart;
use super::wait_for;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// It takes about five seconds, and much longer on a machine that is building something else.
const START_LIMIT: Duration = Duration::from_secs(180);

/// What differs between one control plane and another.
pub struct Settings {
    /// Names and addresses in the server's certificate. The first is what [`ControlPlane::admin`] checks.
    pub server_names: Vec<String>,
    /// More flags of kube-apiserver; a repeated flag wins over ours.
    pub api_server_flags: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let server_names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned).to_vec();
        Self { server_names, api_server_flags: Vec::new() }
    }
}

/// A running control plane. Stopped, and its data removed, when dropped.
pub struct ControlPlane {
    etcd: Process,
    api_server: Option<Process>,
    address: SocketAddr,
    settings: Settings,
    server_ca: CertificateAuthority,
    client_ca: CertificateAuthority,
    admin_token: String,
    admin: ApiClient,
    etcd_url: String,
    folder: tempfile::TempDir,
}

impl ControlPlane {
    /// The one that all tests share. The first caller waits until it has started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        // A failed start must not be tried again by every test.
        let started = SHARED.get_or_init(|| std::panic::catch_unwind(|| Self::start(Settings::default())).map_err(say));
        started.as_ref().unwrap_or_else(|reason| panic!("the shared control plane did not start: {reason}"))
    }

    /// Starts a control plane of your own. Prefer the macro `require_own_control_plane!`, which skips the test where the
    /// real parts are not installed.
    pub fn start(settings: Settings) -> Self {
        let folder = process::folder("control-plane");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let server_ca = CertificateAuthority::new("test API server authority");
        let client_ca = CertificateAuthority::new("test client authority");
        // Long enough to be searched for in what the program writes, whatever our process number is.
        let admin_token = super::token::base64url(super::unique_name("the-administrator-of-this-plane").as_bytes());

        let names: Vec<&str> = settings.server_names.iter().map(String::as_str).collect();
        let server = server_ca.server(&names);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("server.crt", &server.certificate_pem);
        write("server.key", &server.key_pem);
        write("client-ca.crt", &client_ca.pem());
        let (private, public) = certificates::signing_key_pair();
        write("service-account.key", &private);
        write("service-account.pub", &public);
        write("tokens.csv", &format!("{admin_token},admin,admin,system:masters\n"));

        let (etcd, etcd_url) = start_etcd(folder.path());
        let bearer = Credentials::Token(admin_token.clone());
        let admin = ApiClient::new(address, &settings.server_names[0], &server_ca.pem(), bearer);
        let api_server = None;
        let mut plane =
            Self { etcd, api_server, address, settings, server_ca, client_ca, admin_token, admin, etcd_url, folder };
        plane.start_api_server();
        plane
    }

    /// Starts the API server, if it does not run, where it was before and on the same data. Returns when it is ready.
    pub fn start_api_server(&mut self) {
        if self.api_server.is_some() {
            return;
        }
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new(RealPart::KubeApiserver.find().unwrap());
        command
            .arg(format!("--etcd-servers={}", self.etcd_url))
            .arg("--bind-address=127.0.0.1")
            .arg("--advertise-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.address.port()))
            .arg("--endpoint-reconciler-type=none")
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--tls-cert-file={}", file("server.crt")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .arg(format!("--client-ca-file={}", file("client-ca.crt")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg(format!("--service-account-key-file={}", file("service-account.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("service-account.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--authorization-mode=RBAC")
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // Its controller, which would have to make the default accounts, does not run.
            .arg("--disable-admission-plugins=ServiceAccount")
            .args(&self.settings.api_server_flags);
        let mut api_server = Process::start(command);
        wait_for("kube-apiserver ready", START_LIMIT, || {
            if let Some(status) = api_server.exited() {
                panic!("kube-apiserver ended with {status}:\n{}", api_server.last_lines(40));
            }
            match self.admin.try_request("GET", "/readyz", None) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    Err(format!("/readyz answered {}: {text}\n{}", answer.status, api_server.last_lines(40)))
                }
                Err(error) => Err(format!("{error}\n{}", api_server.last_lines(40))),
            }
        });
        self.api_server = Some(api_server);
    }

    /// Kills the API server at once, connections and all. etcd goes on.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// The API server's process, to send it a signal or to read its log.
    pub fn api_server(&self) -> &Process {
        self.api_server.as_ref().expect("the API server has been stopped")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that issued the server's certificate.
    pub fn ca_pem(&self) -> String {
        self.server_ca.pem()
    }

    /// A bearer token of a member of `system:masters`.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    pub fn admin(&self) -> &ApiClient {
        &self.admin
    }

    /// A kubeconfig that leads here and trusts this server; it has no credentials yet.
    pub fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.url()).ca_inline(self.ca_pem())
    }

    /// A kubeconfig of the administrator.
    pub fn admin_kubeconfig(&self) -> Kubeconfig {
        self.kubeconfig().token(self.admin_token())
    }

    /// A client that shows another bearer token, for instance a service account's.
    pub fn client_with_token(&self, token: &str) -> ApiClient {
        self.client(Credentials::Token(token.to_owned()))
    }

    /// A client that shows a certificate.
    pub fn client_with_certificate(&self, identity: &Identity) -> ApiClient {
        self.client(Credentials::Certificate(identity.clone()))
    }

    fn client(&self, credentials: Credentials) -> ApiClient {
        ApiClient::new(self.address, &self.settings.server_names[0], &self.ca_pem(), credentials)
    }

    /// Issues a client certificate that this API server accepts.
    pub fn issue_client_certificate(&self, user: &str, groups: &[&str]) -> Identity {
        self.client_ca.client(user, groups)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Before etcd, or it would spend its last moments on complaints.
        self.api_server = None;
        self.etcd.kill();
    }
}

fn start_etcd(folder: &Path) -> (Process, String) {
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let (client_url, peer_url) = (format!("http://{client}"), format!("http://127.0.0.1:{}", process::free_port()));
    let mut command = Command::new(RealPart::Etcd.find().unwrap());
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}")]);
    let mut etcd = Process::start(command);
    wait_for("etcd healthy", START_LIMIT, || {
        if let Some(status) = etcd.exited() {
            panic!("etcd ended with {status}:\n{}", etcd.last_lines(40));
        }
        let answer = super::http::get(client, "/health").map_err(|e| e.to_string())?;
        let text = answer.text();
        if text.contains("\"true\"") { Ok(()) } else { Err(format!("{text}\n{}", etcd.last_lines(20))) }
    });
    (etcd, client_url)
}

fn say(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other.downcast_ref::<&str>().map_or("a panic without words", |text| text).to_owned(),
    }
}
