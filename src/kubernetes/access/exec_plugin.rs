//! Exec plugins: programs that give credentials.
//! Source: <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>

use crate::http_client::ClientIdentity;
use crate::kubernetes::status::shown;
use crate::redacted::Redacted;
use crate::time::UnixSeconds;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

use super::bearer;
use super::exec_plugin_error::{ExecPluginError, ExecPluginProblem, MAX_OUTPUT};
use super::material::Bytes;

/// Longest time that a plugin may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// No more of what a plugin complains of is shown, in characters.
const MAX_COMPLAINT: usize = 400;
/// A credential is renewed this long before its end: clocks differ, and a request takes time.
const BEFORE_EXPIRY: i64 = 10;

/// A plugin as a kubeconfig describes it.
pub(super) struct ExecPlugin {
    /// Where it is configured.
    pub(super) origin: String,
    /// `client.authentication.k8s.io/v1` or `/v1beta1`.
    pub(super) api_version: String,
    pub(super) command: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) install_hint: String,
    /// What the plugin is told of the cluster, if it wants to know.
    pub(super) cluster: Option<ClusterInfo>,
    pub(super) timeout: Duration,
    /// What it gave last. Held to look or to replace.
    pub(super) last: Mutex<Option<Arc<ExecCredential>>>,
    /// Held while the plugin runs: who waits for it takes what it gave.
    pub(super) running: Mutex<()>,
}

/// `spec.cluster` of an `ExecCredential`, in the format's own names.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ClusterInfo {
    pub(super) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_server_name: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) insecure_skip_tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate_authority_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy_url: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_compression: bool,
    /// What the cluster's entry keeps for the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<serde_json::Value>,
}

/// What a plugin gave.
pub(super) struct ExecCredential {
    origin: String,
    pub(super) authorization: Option<Arc<Redacted>>,
    /// Client certificate and key, PEM.
    pub(super) identity: Option<(Bytes, Bytes)>,
    expires: Option<UnixSeconds>,
}

impl ExecCredential {
    pub(super) fn client_identity(&self) -> Result<Option<ClientIdentity>, ExecPluginError> {
        self.identity
            .as_ref()
            .map(|(certificate, key)| {
                ClientIdentity::from_pem(certificate, key).map_err(|error| ExecPluginError {
                    origin: self.origin.clone(),
                    problem: ExecPluginProblem::Identity(error),
                })
            })
            .transpose()
    }
}

impl fmt::Debug for ExecPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the arguments nor the environment: credentials stand in them.
        write!(f, "ExecPlugin({})", self.origin)
    }
}

impl ExecPlugin {
    /// What the plugin gave last, if that is still good and not `again`; else it is run. One at a time: who comes while it
    /// runs waits for what it gives.
    pub(super) fn credential(
        &self,
        again: bool,
        ca: Option<&Zeroizing<Vec<u8>>>,
        cancelled: &AtomicBool,
    ) -> Result<Arc<ExecCredential>, ExecPluginError> {
        let known = self.last();
        match &known {
            Some(credential) if !again && still_good(credential) => return Ok(Arc::clone(credential)),
            _ => {}
        }
        let _running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = self.last()
            && !known.is_some_and(|known| Arc::ptr_eq(&known, &newer))
            && still_good(&newer)
        {
            return Ok(newer);
        }
        let credential = self
            .run(ca, cancelled)
            .map(Arc::new)
            .map_err(|problem| ExecPluginError { origin: self.origin.clone(), problem })?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&credential));
        Ok(credential)
    }

    fn last(&self) -> Option<Arc<ExecCredential>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run(
        &self,
        ca: Option<&Zeroizing<Vec<u8>>>,
        cancelled: &AtomicBool,
    ) -> Result<ExecCredential, ExecPluginProblem> {
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", self.exec_info(ca))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // so that what it starts itself can be killed with it
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ExecPluginProblem::NotInstalled { hint: self.install_hint.clone() },
                _ => ExecPluginProblem::NotStarted { cause: error.to_string() },
            })?;
        let deadline = Instant::now() + self.timeout;
        let output = collect(child.stdout.take(), deadline);
        let complaint = collect(child.stderr.take(), deadline);
        let group = Group(child.id());
        let status = wait(&mut child, deadline, cancelled, &group, self.timeout)?;
        // What a grandchild still holds open is not waited for longer than the plugin itself.
        let left = || deadline.saturating_duration_since(Instant::now());
        let output = output.recv_timeout(left());
        let complaint =
            complaint.recv_timeout(if output.is_ok() { Duration::from_millis(100) } else { Duration::ZERO });
        let complaint = shown(String::from_utf8_lossy(&complaint.unwrap_or_default()).trim(), MAX_COMPLAINT);
        let output = output.map_err(|_| {
            group.kill();
            ExecPluginProblem::TooSlow { seconds: self.timeout.as_secs() }
        })?;
        if !status.success() {
            let (status, hint) = (status.to_string(), self.install_hint.clone());
            return Err(ExecPluginProblem::Failed { status, complaint, hint });
        }
        if !complaint.is_empty() {
            log::debug!("{}: it says: {complaint}", self.origin);
        }
        self.read(&output)
    }

    /// The `ExecCredential` that a plugin finds in its environment.
    fn exec_info(&self, ca: Option<&Zeroizing<Vec<u8>>>) -> String {
        let mut spec = BTreeMap::from([("interactive", serde_json::Value::Bool(false))]);
        if let Some(cluster) = &self.cluster {
            let mut cluster = cluster.clone();
            cluster.certificate_authority_data = ca.map(|pem| BASE64_STANDARD.encode(pem.as_slice()));
            spec.insert("cluster", serde_json::to_value(cluster).unwrap_or_default());
        }
        serde_json::json!({"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}).to_string()
    }

    fn read(&self, output: &[u8]) -> Result<ExecCredential, ExecPluginProblem> {
        #[derive(Deserialize)]
        struct Written {
            #[serde(rename = "apiVersion", default)]
            api_version: String,
            #[serde(default)]
            kind: String,
            status: Option<WrittenStatus>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct WrittenStatus {
            token: Option<Redacted>,
            client_certificate_data: Option<Redacted>,
            client_key_data: Option<Redacted>,
            expiration_timestamp: Option<String>,
        }
        if u64::try_from(output.len()).is_ok_and(|length| length > MAX_OUTPUT) {
            return Err(ExecPluginProblem::TooMuch);
        }
        // serde_json's own words may quote what was written.
        let written: Written =
            serde_json::from_slice(output).map_err(|error| ExecPluginProblem::NotACredential { line: error.line() })?;
        if written.kind != "ExecCredential" {
            return Err(ExecPluginProblem::NotACredential { line: 1 });
        }
        if written.api_version != self.api_version {
            return Err(ExecPluginProblem::OtherVersion { expected: self.api_version.clone() });
        }
        let status = written.status.ok_or(ExecPluginProblem::Incomplete)?;
        let filled = |text: Option<Redacted>| text.filter(|text| !text.expose().is_empty());
        let authorization = filled(status.token)
            .map(|token| bearer(token.expose().as_bytes()).map(Arc::new))
            .transpose()
            .map_err(ExecPluginProblem::Token)?;
        let bytes = |text: Redacted| Arc::new(Zeroizing::new(text.expose().as_bytes().to_vec()));
        let identity = match (filled(status.client_certificate_data), filled(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((bytes(certificate), bytes(key))),
            (None, None) if authorization.is_some() => None,
            _ => return Err(ExecPluginProblem::Incomplete),
        };
        let expires = status
            .expiration_timestamp
            .map(|text| UnixSeconds::parse_rfc3339(&text).ok_or(ExecPluginProblem::Expiry))
            .transpose()?;
        Ok(ExecCredential { origin: self.origin.clone(), authorization, identity, expires })
    }
}

fn still_good(credential: &ExecCredential) -> bool {
    credential.expires.is_none_or(|expires| expires.since(UnixSeconds::now()) > BEFORE_EXPIRY)
}

/// Reads a pipe to its end on a thread of its own: a plugin that fills one of two pipes would wait for us for ever. What is
/// beyond the bound is read and forgotten. A pipe that a grandchild holds open is let go at the deadline, and nothing comes.
fn collect(
    pipe: Option<impl Read + AsRawFd + Send + 'static>,
    deadline: Instant,
) -> mpsc::Receiver<Zeroizing<Vec<u8>>> {
    let (send, receive) = mpsc::sync_channel(1);
    let read = move || {
        let Some(mut pipe) = pipe else { return };
        let mut kept = Zeroizing::new(Vec::new());
        let mut piece = Zeroizing::new([0; 8192]);
        while wait_to_read(&pipe, deadline) {
            match pipe.read(piece.as_mut_slice()) {
                Ok(length @ 1..) => {
                    let left = usize::try_from(MAX_OUTPUT + 1).unwrap_or(usize::MAX).saturating_sub(kept.len());
                    kept.extend_from_slice(piece.get(..length.min(left)).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    let _ = send.send(kept);
                    return;
                }
            }
        }
    };
    // Without a thread nothing is received, and the plugin ends as too slow.
    let _ = std::thread::Builder::new().name("exec-plugin".to_owned()).spawn(read);
    receive
}

/// Waits until there is something to read, or the end; `false` at the deadline.
fn wait_to_read(pipe: &impl AsRawFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut entry = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
        // SAFETY: one entry, which lives through the call.
        if unsafe { libc::poll(&raw mut entry, 1, timeout) } > 0 {
            return true;
        }
    }
}

fn wait(
    child: &mut Child,
    deadline: Instant,
    cancelled: &AtomicBool,
    group: &Group,
    timeout: Duration,
) -> Result<ExitStatus, ExecPluginProblem> {
    loop {
        let problem = match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if cancelled.load(Ordering::SeqCst) => ExecPluginProblem::Cancelled,
            Ok(None) if Instant::now() >= deadline => ExecPluginProblem::TooSlow { seconds: timeout.as_secs() },
            Ok(None) => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Err(error) => ExecPluginProblem::NotStarted { cause: error.to_string() },
        };
        group.kill();
        let _ = child.wait();
        return Err(problem);
    }
}

/// The process group of a plugin.
struct Group(u32);

impl Group {
    fn kill(&self) {
        if let Ok(group) = libc::pid_t::try_from(self.0) {
            // SAFETY: kill takes no pointers. The group is the child's own; no other process can have got its number while
            // a member is left, and if none is left nothing happens.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(script: &str, timeout: Duration) -> ExecPlugin {
        ExecPlugin {
            origin: "config: users[0] \"u\": exec: command \"sh\"".to_owned(),
            api_version: "client.authentication.k8s.io/v1".to_owned(),
            command: PathBuf::from("sh"),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
            install_hint: String::new(),
            cluster: None,
            timeout,
            last: Mutex::new(None),
            running: Mutex::new(()),
        }
    }

    const GOOD: &str =
        r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'"#;

    fn problem(script: &str, timeout: Duration) -> ExecPluginProblem {
        match plugin(script, timeout).credential(false, None, &AtomicBool::new(false)) {
            Err(error) => error.problem,
            Ok(_) => panic!("{script} gave a credential"),
        }
    }

    #[test]
    fn a_plugin_that_hangs_is_killed() {
        let started = Instant::now();
        for script in ["sleep 600", "exec sleep 600", "trap '' TERM; sleep 600 & wait", "sleep 600 & exit 0"] {
            let problem = problem(script, Duration::from_secs(1));
            assert_eq!(problem, ExecPluginProblem::TooSlow { seconds: 1 }, "{script}");
        }
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_plugin_that_writes_much_to_both_ends_all_the_same() {
        let script = format!("head -c 3000000 /dev/zero >&2; {GOOD}");
        let credential =
            plugin(&script, Duration::from_secs(50)).credential(false, None, &AtomicBool::new(false)).unwrap();
        assert_eq!(credential.authorization.as_ref().unwrap().expose(), "Bearer t");
    }

    #[test]
    fn a_pipe_that_a_grandchild_holds_open_is_let_go_at_the_deadline() {
        use std::io::Write as _;
        let (pipe, mut held) = std::io::pipe().unwrap();
        held.write_all(b"x").unwrap();
        let begun = Instant::now();
        let collected = collect(Some(pipe), begun + Duration::from_millis(50));
        assert!(collected.recv().is_err());
        while held.write_all(b"x").is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is still read");
            std::thread::sleep(Duration::from_millis(10));
        }
        let script = format!("sleep 5 >/dev/null & {GOOD}");
        assert!(plugin(&script, Duration::from_secs(50)).credential(false, None, &AtomicBool::new(false)).is_ok());
    }

    #[test]
    fn a_plugin_has_nothing_to_read() {
        let script = format!("if read line; then exit 1; fi; {GOOD}");
        assert!(plugin(&script, Duration::from_secs(50)).credential(false, None, &AtomicBool::new(false)).is_ok());
    }

    #[test]
    fn one_run_serves_all_who_wait() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("echo run >> {}; sleep 0.3; {GOOD}", folder.path().join("runs").display());
        let plugin = plugin(&script, Duration::from_secs(50));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| plugin.credential(false, None, &AtomicBool::new(false)).unwrap());
            }
        });
        assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap(), "run\n");
    }

    #[test]
    fn what_a_plugin_says_is_one_bounded_line() {
        let said = |script: &str| match problem(script, Duration::from_secs(50)) {
            ExecPluginProblem::Failed { complaint, .. } => complaint,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(r"printf ' a\n\tb\033[0m \377\n' >&2; exit 1"), r"a\n\tb\x1b[0m �");
        let long = said("printf %01000d 0 >&2; exit 1");
        assert_eq!(long, format!("{}…", "0".repeat(MAX_COMPLAINT)));
    }
}
