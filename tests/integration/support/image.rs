//! The image as a container runtime sees it: an OCI layout, unpacked, and run as its own configuration says. The runtime is
//! ours and small: namespaces for processes and mounts, a root that nobody can write to, an environment that holds nothing else.
//! Sources: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>, and config.md beside it.

use super::process::{self, Process};
use super::real_parts::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `.ci/run` makes of the static build: the folder that `JWT_EXPORTER_STATIC` names.
pub struct StaticBuild {
    folder: PathBuf,
}

impl StaticBuild {
    /// Where it is, unless `test` is skipped. It is never looked for: one that was left behind is of other sources.
    pub fn find(test: &str) -> Option<Self> {
        let Some(folder) = std::env::var_os("JWT_EXPORTER_STATIC").map(PathBuf::from) else {
            skip(
                test,
                "JWT_EXPORTER_STATIC names no folder with the image in it; .ci/musl/README.md says how to make one",
            );
            return None;
        };
        let may = Command::new("unshare").args(["--pid", "--fork", "--mount", "true"]).output();
        if !may.is_ok_and(|output| output.status.success()) {
            skip(test, "this needs the right to make namespaces, which root has");
            return None;
        }
        Some(Self { folder })
    }

    /// The unit tests of the crate, built like the program.
    pub fn unit_tests(&self) -> PathBuf {
        self.folder.join("unit-tests")
    }

    /// The image, unpacked into a folder of its own.
    pub fn image(&self) -> Image {
        let layout = self.folder.join("image");
        let blob =
            |descriptor: &Value| layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"));
        let read = |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        let manifest = read(blob(&read(layout.join("index.json"))["manifests"][0]));
        let folder = process::folder("image");
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Command::new("tar");
            tar.arg("--extract").arg("--file").arg(blob(layer)).arg("--directory").arg(&root);
            assert!(tar.status().unwrap().success());
        }
        Image { folder, root, config: read(blob(&manifest["config"]))["config"].take(), most_threads: None }
    }
}

/// An unpacked image.
pub struct Image {
    folder: tempfile::TempDir,
    pub root: PathBuf,
    pub config: Value,
    /// So many threads may the user of the image have on this machine.
    pub most_threads: Option<u32>,
}

impl Image {
    /// Puts a file into the root, as a runtime mounts one. Readable by everybody, writable by root alone.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Starts what the image says, as the user that it says, as the first process. Where the root has a folder `proc`, that
    /// is mounted. The network is ours.
    pub fn start(self, arguments: &[&str], environment: &[(&str, &str)]) -> Container {
        let words = |key: &str| self.config[key].as_array().cloned().unwrap_or_default().into_iter();
        let root = self.root.to_str().unwrap();
        let mut command = Command::new("unshare");
        // The outer namespace ends with us, and everything in it. The inner one has the program as its first process: a
        // program that changed its user no longer dies with its parent by itself.
        command.args([
            "--pid",
            "--fork",
            "--kill-child",
            "unshare",
            "--pid",
            "--fork",
            "--mount",
            "sh",
            "-ec",
            MOUNT,
            root,
        ]);
        command.args(words("Env").map(|pair| pair.as_str().unwrap().to_owned()));
        command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        if let Some(most) = self.most_threads {
            command.args(["prlimit".to_owned(), format!("--nproc={most}")]);
        }
        command.args(["chroot", "--groups="]);
        command.arg(format!("--userspec={}", self.config["User"].as_str().unwrap()));
        command.arg(root).args(words("Entrypoint").map(|word| word.as_str().unwrap().to_owned())).args(arguments);
        Container { process: Process::start(command), _folder: self.folder }
    }
}

/// `$0` is the root; the rest is an environment and a command.
const MOUNT: &str = r#"
    mount --bind "$0" "$0"
    mount -o remount,bind,ro "$0"
    if [ -d "$0/proc" ]; then mount -t proc proc "$0/proc"; fi
    exec env -i "$@"
"#;

/// A started image. Killed when dropped.
pub struct Container {
    pub process: Process,
    _folder: tempfile::TempDir,
}

impl Container {
    /// The program's own process, seen from outside. It has to have been started: ask when it answers.
    pub fn program(&self) -> u32 {
        let child = |parent: u32| -> u32 {
            let path = format!("/proc/{parent}/task/{parent}/children");
            std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
        };
        child(child(self.process.id()))
    }

    /// The values of a line of `/proc/PID/status`.
    pub fn status(&self, name: &str) -> Vec<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    }
}

/// The files and folders below `root`, by their paths from there.
pub fn paths_below(root: &Path) -> Vec<String> {
    let output = Command::new("find").arg(root).args(["-mindepth", "1", "-printf", "%P\n"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
