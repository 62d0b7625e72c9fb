//! What we are held against: curl, nginx and gzip.

use super::support::process::{self, Process};
use super::support::wait_for;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program of the system.
#[derive(Clone, Copy)]
pub enum Tool {
    Curl,
    Nginx,
    Gzip,
}

impl Tool {
    pub const ALL: [Self; 3] = [Self::Curl, Self::Nginx, Self::Gzip];

    fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Nginx => "nginx",
            Self::Gzip => "gzip",
        }
    }

    fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Where Debian has servers, which is not on everybody's PATH.
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        folders.map(|folder| folder.join(self.name())).find(|file| file.is_file())
    }

    /// What there is to say if it is not installed.
    pub fn missing(self) -> Option<String> {
        let package = if matches!(self, Self::Nginx) { "nginx-light" } else { self.name() };
        self.find().is_none().then(|| format!("{} is not there: install Debian's {package}", self.name()))
    }

    fn command(self) -> Command {
        Command::new(self.find().unwrap())
    }
}

/// curl to nowhere, which fails if the answer is an error.
pub fn curl(arguments: &[&str]) -> Command {
    let mut command = Tool::Curl.command();
    command.args(["-sS", "-f", "-A", "x", "-o", "/dev/null"]).args(arguments);
    command
}

/// `gzip -1` of a file, to nowhere.
pub fn gzip_1(file: &Path) -> Command {
    let mut command = Tool::Gzip.command();
    command.args(["-1", "-c"]).arg(file).stdout(Stdio::null());
    command
}

/// How long a command takes, from exec to its end.
pub fn timed(mut command: Command) -> Duration {
    let begun = Instant::now();
    let status = command.status().unwrap();
    let took = begun.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

/// A web server for one file.
pub struct Nginx {
    _process: Process,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nginx {
    pub fn start() -> Self {
        let folder = process::folder("bench-nginx");
        let (port, root) = (process::free_port(), folder.path().display().to_string());
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; sendfile on; tcp_nopush on;\n\
             client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n\
             uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
             server {{ listen 127.0.0.1:{port}; root {root}/files; }} }}\n"
        );
        std::fs::create_dir(folder.path().join("files")).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut command = Tool::Nginx.command();
        command.args(["-p", &root, "-e", &format!("{root}/error.log"), "-c", &format!("{root}/nginx.conf")]);
        let process = Process::start(command);
        let nginx = Self { _process: process, port, folder };
        nginx.serve(b"hello");
        wait_for("nginx", Duration::from_secs(20), || {
            match super::support::http::get(([127, 0, 0, 1], port).into(), "/scrape.prom") {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{}", answer.status)),
                Err(error) => Err(error.to_string()),
            }
        });
        nginx
    }

    /// Has these bytes in its file; returns where.
    pub fn serve(&self, bytes: &[u8]) -> PathBuf {
        let file = self.folder.path().join("files/scrape.prom");
        std::fs::write(&file, bytes).unwrap();
        file
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/scrape.prom", self.port)
    }
}
