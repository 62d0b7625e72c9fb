//! Children that never outlive the tests, their output, free ports and folders.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

/// A running child process. Killed when dropped; killed by the kernel when the test binary dies in any way.
pub struct Process {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

/// The text that a child has written so far to one of its outputs.
#[derive(Clone, Default)]
struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Captured {
    fn follow(from: Option<impl std::io::Read + Send + 'static>) -> Self {
        let captured = Self::default();
        let Some(mut from) = from else { return captured };
        let text = Arc::clone(&captured.text);
        let reader = std::thread::spawn(move || {
            let mut piece = [0_u8; 8192];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                text.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        *captured.reader.lock().unwrap() = Some(reader);
        captured
    }

    fn read(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    /// Waits for the end of the output. Only sensible once the child is gone.
    fn finish(&self) {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.join().ok();
        }
    }
}

impl Process {
    /// Starts `program` with standard input closed and both outputs captured.
    pub fn start(command: Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = spawn(command).unwrap_or_else(|e| panic!("{program} could not be started: {e}"));
        let stdout = Captured::follow(child.stdout.take());
        let stderr = Captured::follow(child.stderr.take());
        Self { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the child has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the child's own end. Panics after `limit`, with its output.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.exited() {
                self.stdout.finish();
                self.stderr.finish();
                return status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}; its output:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stdout(&self) -> String {
        self.stdout.read()
    }

    pub fn stderr(&self) -> String {
        self.stderr.read()
    }

    /// Standard output, then standard error.
    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// The last lines of the output, for a failure's message.
    pub fn last_lines(&self, count: usize) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Sends a signal by its name: `TERM`, `HUP`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.id())]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {} failed", self.id());
    }

    /// What the child has written to standard error after its first `length` bytes.
    pub fn stderr_after(&self, length: usize) -> String {
        String::from_utf8_lossy(&self.stderr.text.lock().unwrap()[length..]).into_owned()
    }

    /// Kills the child and waits until it is gone and its output is complete.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.stdout.finish();
        self.stderr.finish();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal by its number, without a program of its own.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: takes numbers only; the child is not waited for while a test holds it.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

type Spawned = std::io::Result<Child>;
type Order = (Command, mpsc::Sender<Spawned>);

/// Starts a child that the kernel kills when we die. `setpriv --pdeathsig` ties it to the *thread* that started it, and a
/// test's thread ends with the test: so one thread that stays starts them all.
fn spawn(command: Command) -> Spawned {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        let spawn_all = move || {
            for (mut command, answer) in taken {
                answer.send(command.spawn()).ok();
            }
        };
        std::thread::Builder::new().name("spawner".to_owned()).spawn(spawn_all).unwrap();
        Mutex::new(orders)
    });
    let (answer, answered) = mpsc::channel();
    spawner.lock().unwrap().send((bound_to_us(command), answer)).unwrap();
    answered.recv().unwrap()
}

/// The same command, run through `setpriv` (util-linux). It replaces itself by the program, so the process id is the
/// program's. Without `setpriv` a child is killed on drop only.
fn bound_to_us(command: Command) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut bound = if setpriv.exists() {
        let mut bound = Command::new(setpriv);
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        bound
    } else {
        Command::new(command.get_program())
    };
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bound
}

/// A TCP port on 127.0.0.1 that nobody listens on. Below the range that the kernel hands out for outgoing connections,
/// and never the same twice, so that it is still free when the child binds it.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        // The process id spreads test binaries that run at the same time; a large odd step keeps them apart.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + ((u32::from(start) * 997 + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// A folder for one test, under `target/tmp`, removed when dropped. What a killed run left behind goes at the next one.
pub fn folder(purpose: &str) -> tempfile::TempDir {
    static SWEPT: OnceLock<()> = OnceLock::new();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    SWEPT.get_or_init(|| sweep(root));
    let prefix = format!("{purpose}-{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(root).unwrap()
}

/// Removes the folders of test binaries that are gone. Names are `purpose-PID-random`.
fn sweep(root: &Path) {
    let owner = |folder: &Path| -> Option<u32> { folder.file_name()?.to_str()?.rsplit('-').nth(1)?.parse().ok() };
    for folder in std::fs::read_dir(root).unwrap().filter_map(|entry| Some(entry.ok()?.path())) {
        if owner(&folder).is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            std::fs::remove_dir_all(&folder).ok();
        }
    }
}
