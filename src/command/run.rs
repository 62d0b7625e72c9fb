//! Runs the exporter: binds the listener, starts the threads, and waits to be told to stop.

use super::reload::Reloader;
use super::{BUILD, EXIT_FAILURE, EXIT_USAGE, sources};
use crate::config::{ListenAddress, ListenHost, Loaded};
use crate::metrics::{BuildInfo, OwnMetrics};
use crate::poller::{Handover, Poller};
use crate::published::Published;
use crate::server::{self, Shown};
use crate::snapshot::Snapshot;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A renewal that is under way has so long to end well: a token in hand is written, a claim is given up.
const LAST_MOMENT: Duration = Duration::from_millis(800);

/// What ends the program.
enum End {
    Signal(i32),
    Failure(String),
}

/// Polls and serves until the process is told to stop: exit 0. What keeps it from its work at the start, or ends it: exit 1.
/// A context that there is not: exit 2. `named` is the configuration as `-config` names it.
pub(super) fn run(named: Option<String>, loaded: Loaded) -> ExitCode {
    if let Err(reason) = sources::check_contexts(&loaded.config) {
        log::error!("{}: {reason}", loaded.path);
        return ExitCode::from(EXIT_USAGE);
    }
    match serve(named, loaded) {
        Ok(End::Signal(signal)) => {
            log::info!("stopped by signal {signal}");
            ExitCode::SUCCESS
        }
        Ok(End::Failure(reason)) | Err(reason) => {
            log::error!("{reason}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn serve(named: Option<String>, loaded: Loaded) -> Result<End, String> {
    leave_no_core();
    share_one_heap();
    let (tell, told) = mpsc::channel();
    // First of all: PID 1 of a container has no default action for signals.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("signals cannot be received: {error}"))?;
    let tell_signal = tell.clone();
    // One that asks for a reload while another one waits asks for the same.
    let (ask_reload, reload_asked) = mpsc::sync_channel(1);
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                let _ = ask_reload.try_send(());
            } else {
                let _ = tell_signal.send(End::Signal(signal));
            }
        }
    })?;

    let build = BuildInfo { version: BUILD.version, revision: BUILD.revision, rustc: BUILD.rustc };
    let own = OwnMetrics::new(build).map_err(|error| format!("the exporter's own metrics: {error}"))?;
    // One wake is enough for everything that waits for the poller.
    let (wake, woken) = mpsc::sync_channel(1);
    let handover = Arc::new(Handover::default());
    let address = loaded.config.address.clone();
    let snapshot = Arc::new(Published::new(Snapshot::default()));
    let to_poller = (Arc::clone(&handover), wake.clone());
    let (mut reloader, lineup) = Reloader::start(named, loaded, own.clone(), to_poller, Arc::clone(&snapshot))?;

    let listener = bind(&address)?;
    let poller = Poller::new(lineup, own.clone(), Arc::clone(&snapshot), handover, wake);
    let tell_end = tell.clone();
    let shown = Shown::new(snapshot, own, BUILD.version, reloader.status_page());
    let address = server::start(listener, shown, move |error| {
        let _ = tell_end.send(End::Failure(error.to_string()));
    })
    .map_err(|error| error.to_string())?;
    log::info!("jwt-exporter {} serves http://{address}/metrics", BUILD.version);

    spawn("poller", move || {
        // A panic outside of a poll must not leave old values looking fresh; and it never returns by itself.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poller.run(&woken)));
        let _ = tell.send(End::Failure("the poller died by a defect of this program".into()));
    })?;

    // Behind the listener: a second exporter that finds the port in use must not renew anything.
    reloader.start_errands()?;
    let leaving = reloader.leaving();
    // Not on this thread: a file system that hangs must not keep the program from its end.
    spawn("reload", move || reloader.run(&reload_asked))?;

    let end = told.recv().map_err(|_| "every thread has ended".to_owned());
    leaving.leave(LAST_MOMENT);
    end
}

/// No core is dumped: it would hold credentials, and what a poll was just reading.
pub(super) fn leave_no_core() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit that lives through the call; to lower one's own needs no right and cannot fail.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}

/// glibc gives each thread that allocates a heap of its own: a fifth of what an idle exporter holds, for threads that hardly
/// ever allocate at the same time.
fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a number is set before there are other threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map(|_| ()).map_err(|error| format!("the thread {name} cannot be started: {error}"))
}

/// Binds the public listener. Without a host: IPv6 and IPv4 on one socket, or IPv4 alone where the system has no IPv6.
fn bind(address: &ListenAddress) -> Result<TcpListener, String> {
    let port = address.port;
    let bound = match &address.host {
        ListenHost::Any => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))),
        ListenHost::Ip(ip) => TcpListener::bind((*ip, port)),
        ListenHost::Name(name) => TcpListener::bind((name.as_str(), port)),
    };
    bound.map_err(|error| format!("cannot listen on {address} (configuration key `address`): {error}"))
}
