//! Runs the exporter: binds the listener, starts the threads, and waits to be told to stop.

use super::{BUILD, EXIT_FAILURE};
use crate::config::{Config, ListenAddress, ListenHost};
use crate::kubernetes::Cluster;
use crate::kubernetes::access::{Access, SERVICE_ACCOUNT_FOLDER};
use crate::metrics::{BuildInfo, OwnMetrics};
use crate::poller::{Message, Poller};
use crate::published::Published;
use crate::server::{self, Shown};
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::source::manifests::ManifestsSource;
use crate::source::secrets::{SecretsSource, Selection};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

/// Events of watches that wait for the poller, together: each may be as large as a Secret.
const NEWS_HELD: usize = 4;

/// What ends the program.
enum End {
    Signal(i32),
    Failure(String),
}

/// Polls and serves until the process is told to stop: exit 0. What keeps it from its work at the start, or ends it: exit 1.
pub(super) fn run(config: Config) -> ExitCode {
    match serve(config) {
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

fn serve(config: Config) -> Result<End, String> {
    leave_no_core();
    share_one_heap();
    let (tell, told) = mpsc::channel();
    // First of all: PID 1 of a container has no default action for signals.
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("signals cannot be received: {error}"))?;
    let tell_signal = tell.clone();
    spawn("signals", move || {
        for signal in signals.forever() {
            let _ = tell_signal.send(End::Signal(signal));
        }
    })?;

    let build = BuildInfo { version: BUILD.version, revision: BUILD.revision, rustc: BUILD.rustc };
    let own = OwnMetrics::new(build).map_err(|error| format!("the exporter's own metrics: {error}"))?;
    // News wait where they are until the poller has time: only so many are held.
    let (news, messages) = mpsc::sync_channel(NEWS_HELD);
    let sources = sources(&config, &own, &news)?;

    let listener = bind(&config.address)?;
    let snapshot = Arc::new(Published::new(Snapshot::default()));
    let poller = Poller::new(sources, config.polling_interval, config.max_series, own.clone(), Arc::clone(&snapshot));
    let tell_end = tell.clone();
    let shown = Shown::new(snapshot, own, BUILD.version, config.status_page);
    let address = server::start(listener, shown, move |error| {
        let _ = tell_end.send(End::Failure(error.to_string()));
    })
    .map_err(|error| error.to_string())?;
    log::info!("jwt-exporter {} serves http://{address}/metrics", BUILD.version);

    spawn("poller", move || {
        // A panic outside of a poll must not leave old values looking fresh; and it never returns by itself.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poller.run(&messages)));
        let _ = tell.send(End::Failure("the poller died by a defect of this program".into()));
    })?;

    told.recv().map_err(|_| "every thread has ended".to_owned())
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

pub(super) fn sources(
    config: &Config,
    own: &OwnMetrics,
    news: &SyncSender<Message>,
) -> Result<Vec<Box<dyn Source>>, String> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if config.kubernetes {
        let cluster = connect(config, own)?;
        let label_selectors = config.label_selectors.iter().map(ToString::to_string).collect();
        let selection = Selection {
            label_selectors,
            namespaces: config.namespaces.clone(),
            secrets: config.secrets.clone(),
            only_named: config.only_named,
            exclude_namespaces: config.exclude_namespaces.clone(),
            field_selector: config.field_selector.clone(),
        };
        let (key, reading) = (config.annotation_key.clone(), config.reading.clone());
        let mut secrets = SecretsSource::new("kubernetes", Arc::new(cluster), Vec::new(), key, reading);
        secrets = secrets.with_selection(selection);
        if config.watch {
            let (news, number) = (news.clone(), sources.len());
            secrets = secrets.with_watches(Arc::new(move |event| news.send(Message::News(number, event)).is_ok()));
        }
        sources.push(Box::new(secrets));
    }
    if !config.manifests.is_empty() {
        let (selectors, key) = (config.label_selectors.clone(), config.annotation_key.clone());
        let manifests = ManifestsSource::new(config.manifests.clone(), selectors, key, config.reading.clone());
        sources.push(Box::new(manifests));
    }
    if sources.is_empty() {
        log::warn!("there is nothing to read: `kubernetes` is false, and `manifests` is empty");
    }
    Ok(sources)
}

pub(super) fn connect(config: &Config, own: &OwnMetrics) -> Result<Cluster, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let access = match &config.kubeconfig_path {
        Some(path) => Access::from_kubeconfig(path, None, &environment),
        None => Access::in_cluster(Path::new(SERVICE_ACCOUNT_FOLDER), &environment),
    };
    let own = own.clone();
    let count = move |verb: crate::kubernetes::Verb, resource: &str, code: &str| {
        own.count_kube_request(verb.as_str(), resource, code);
    };
    access.and_then(|access| Cluster::connect(access, Arc::new(count))).map_err(|error| error.to_string())
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
