use super::*;
use crate::jwt::ClaimPaths;
use crate::observation::Bounds;
use crate::time::UnixSeconds;
use std::fs::{self, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use tempfile::TempDir;

/// `{"alg":"none"}`, and a year's worth of `exp`s.
fn token(expires: u32) -> String {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{expires}}}"));
    format!("eyJhbGciOiJub25lIn0.{claims}.")
}

fn with_links(folder: &Path, patterns: &[&str], links: Links) -> FilesSource {
    let globs = patterns.iter().map(|pattern| FileGlob::parse(&format!("{}/{pattern}", folder.display())).unwrap());
    let bounds = Bounds { max_tokens_per_secret: 4, max_series_per_token: 100 };
    FilesSource::new(globs.collect(), links, true, Reading::new(ClaimPaths::default(), bounds))
}

fn source(folder: &Path, patterns: &[&str]) -> FilesSource {
    with_links(folder, patterns, Links::Inside)
}

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| write(folder.path(), name, text.as_bytes()));
    folder
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// `path key=exp… key!reason…` for each file, paths relative to the folder.
fn shown(source: &FilesSource, folder: &Path) -> Vec<String> {
    let real = fs::canonicalize(folder).unwrap();
    let key = |location: &str| location.strip_prefix("secret_key=\"").unwrap().split('"').next().unwrap().to_owned();
    let line = |secret: &Arc<SecretObservation>| {
        assert!(secret.namespace.is_empty());
        let path = Path::new(&*secret.name);
        let path = path.strip_prefix(folder).or_else(|_| path.strip_prefix(&real)).unwrap_or(path);
        let tokens = secret.tokens.iter().map(|token| {
            let expires = token.expires().map_or(0, |UnixSeconds(at)| at);
            format!(" {}={expires}", key(token.location()))
        });
        let errors = secret.errors.iter().map(|error| format!(" {}!{}", key(&error.location), error.reason.as_str()));
        path.display().to_string() + &tokens.chain(errors).collect::<String>()
    };
    source.held().iter().map(line).collect()
}

fn poll(source: &mut FilesSource, folder: &Path) -> Vec<String> {
    source.poll().unwrap();
    shown(source, folder)
}

/// One look, as if it were due; whether something changed.
fn look(source: &mut FilesSource) -> bool {
    let due = source.next_look.expect("a look is due after a poll");
    let begun = Instant::now();
    let Tended { next, changed, .. } = source.tend(due);
    assert!(next.is_some_and(|next| next >= begun + LOOK_EVERY));
    changed
}

#[test]
fn what_a_file_can_hold() {
    let (one, two) = (token(1), token(2));
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: {one}\n- name: b\n  user: {{token: {two}}}\n- name: c\n  user: {{}}\n"
    );
    let folder = folder_with(&[
        ("bare", &one),
        ("bearer", &format!("\n\t Bearer {one} \n\n")),
        ("space", &format!("{}{one}", " ".repeat(5000))),
        ("document.json", &format!(r#"{{"a":[{{"b":"{one}"}}],"c":"{two}"}}"#)),
        ("kubeconfig", &kubeconfig),
        ("many.json", &format!("[\"{one}\"{}]", format!(",\"{one}\"").repeat(9))),
        ("damaged", "eyJ4IjoxfQ.e30."),
        ("a,b", &two),
        ("password", "hunter2"),
        ("empty", ""),
        ("broken.json", "{\"a\":"),
        ("plain.json", "{\"a\":1}"),
    ]);
    write(folder.path(), "binary", &[0xff; 5000]);
    let mut all = source(folder.path(), &["**"]);
    assert_eq!(
        poll(&mut all, folder.path()),
        [
            "a,b a,b=2",
            "bare bare=1",
            "bearer bearer=1",
            "damaged damaged!invalid_header",
            "document.json document.json/a/0/b=1 document.json/c=2",
            "kubeconfig kubeconfig/users/0/user/token=1 kubeconfig/users/1/user/token=2",
            "many.json many.json/0=1 many.json/1=1 many.json/2=1 many.json/3=1 !too_many_tokens",
            "space space=1",
        ]
    );
    // Who names a file says that there is a token in it.
    let named = ["a,b", "binary", "broken.json", "damaged", "empty", "password", "plain.json"];
    assert_eq!(
        poll(&mut source(folder.path(), &named), folder.path()),
        [
            "a,b a,b=2",
            "binary binary!not_a_jwt",
            "broken.json broken.json!invalid_document",
            "damaged damaged!invalid_header",
            "empty empty!no_token",
            "password password!not_a_jwt",
            "plain.json plain.json!no_token",
        ]
    );
    // Even if a pattern finds it too.
    let found = poll(&mut source(folder.path(), &["*", "password"]), folder.path());
    assert!(found.contains(&"password password!not_a_jwt".to_owned()), "{found:?}");
    assert!(!found.iter().any(|line| line.starts_with("empty")), "{found:?}");
}

#[test]
fn what_is_no_file_and_what_is_too_large() {
    let folder = folder_with(&[("folder/x", "x")]);
    let root = folder.path();
    let mebibyte = 1024 * 1024;
    let padded = |length: usize| format!("{}{}", token(1), "\n".repeat(length - token(1).len()));
    write(root, "just", padded(mebibyte).as_bytes());
    write(root, "over", padded(mebibyte + 1).as_bytes());
    write(root, "archive", &vec![0x1f; mebibyte + 1]);
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    let pipe = std::ffi::CString::new(root.join("pipe").display().to_string()).unwrap();
    // SAFETY: a path that ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert_eq!(
        poll(&mut source(root, &["*"]), root),
        ["circle !unreadable", "dangling !not_found", "just just=1", "over !too_large"]
    );
    let names = ["archive", "dangling", "folder", "just", "missing", "no-folder/x", "over", "pipe", "socket"];
    let mut named = source(root, &names);
    assert_eq!(
        poll(&mut named, root),
        [
            "archive !too_large",
            "dangling !not_found",
            "folder !unreadable",
            "just just=1",
            "missing !not_found",
            "no-folder/x !not_found",
            "over !too_large",
            "pipe !unreadable",
            "socket !unreadable",
        ]
    );
    assert_eq!(poll(&mut source(root, &["no-folder/*", "*.json"]), root), ["no-folder !not_found"]);
    // A pipe was not even opened: nobody who waits for a reader has found one.
    let writer = fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(root.join("pipe"));
    assert_eq!(writer.unwrap_err().raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_link_does_not_lead_out_of_the_root() {
    let outside = folder_with(&[("t", &token(7)), ("deep/t", &token(8))]);
    let folder = folder_with(&[("in/t", &token(1))]);
    let root = folder.path();
    symlink(outside.path().join("t"), root.join("out")).unwrap();
    symlink(outside.path(), root.join("out-folder")).unwrap();
    symlink(root.join("in/t"), root.join("absolute")).unwrap();
    symlink("/dev/zero", root.join("device")).unwrap();
    let patterns = ["*", "*/t", "*/*/t", "**/t"];
    assert_eq!(poll(&mut source(root, &patterns), root), ["in/t t=1"]);
    let mut named = source(root, &["out", "absolute", "in/t", "out-folder/t"]);
    // The folder of a path that was written down is wherever a link leads.
    assert_eq!(poll(&mut named, root), ["in/t t=1", "out !unreadable", "out-folder/t t=7"]);
    let mut anywhere = with_links(root, &patterns, Links::Anywhere);
    assert_eq!(poll(&mut anywhere, root), ["in/t t=1", "out-folder/deep/t t=8", "out-folder/t t=7"]);
    // The same for the root of a pattern, and from then on nothing below it.
    assert_eq!(poll(&mut source(root, &["out-folder/*"]), root), ["out-folder/t t=7"]);
    // A link that is turned outwards takes its token along.
    let mut turned = source(root, &["absolute", "turned"]);
    symlink("in/t", root.join("turned")).unwrap();
    assert_eq!(poll(&mut turned, root), ["absolute absolute=1"]);
    fs::remove_file(root.join("turned")).unwrap();
    symlink(outside.path().join("t"), root.join("turned")).unwrap();
    assert!(look(&mut turned));
    assert_eq!(shown(&turned, root), ["absolute absolute=1", "turned !unreadable"]);
}

#[test]
fn a_file_counts_once() {
    let folder = folder_with(&[("a/x", &token(1))]);
    let root = folder.path();
    symlink("x", root.join("a/link")).unwrap();
    symlink("a", root.join("b")).unwrap();
    fs::hard_link(root.join("a/x"), root.join("a/hard")).unwrap();
    let mut all = source(root, &["**", "a/*", "*/x", "a/*"]);
    assert_eq!(poll(&mut all, root), ["a/hard hard=1", "a/x x=1"]);
    // A path that somebody wrote down is shown, be it a link.
    let mut named = source(root, &["a/link", "a/x*"]);
    assert_eq!(poll(&mut named, root), ["a/link link=1"]);
    // One name goes, the other shows.
    fs::remove_file(root.join("a/hard")).unwrap();
    fs::rename(root.join("a/x"), root.join("a/y")).unwrap();
    assert!(look(&mut all));
    assert_eq!(shown(&all, root), ["a/link !not_found", "a/y y=1"]);
}

/// As the kubelet writes a projected volume (Kubernetes, `pkg/volume/util/atomic_writer.go`): a new folder, a new link, and a
/// rename of that link.
fn project(volume: &Path, generation: u32, files: &[(&str, &str)]) {
    let data = format!("..2024_01_01_00_00_00.{generation}");
    fs::create_dir_all(volume.join(&data)).unwrap();
    for (name, text) in files {
        write(volume, &format!("{data}/{name}"), text.as_bytes());
        let _ = symlink(format!("..data/{name}"), volume.join(name));
    }
    let before = fs::read_link(volume.join("..data")).ok();
    symlink(&data, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if let Some(before) = before {
        fs::remove_dir_all(volume.join(before)).unwrap();
    }
}

#[test]
fn the_swap_of_a_projected_volume_is_followed_by_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (first, second) = (root.join("first"), root.join("second"));
    project(&first, 1, &[("token", &token(1)), ("ca.crt", "-----BEGIN CERTIFICATE-----")]);
    project(&second, 1, &[("token", &token(2))]);
    let mut source = source(root, &["**/token", "**"]);
    assert_eq!(poll(&mut source, root), ["first/token token=1", "second/token token=2"]);
    assert!(!look(&mut source));
    let before = source.held().clone();
    project(&first, 2, &[("token", &token(3)), ("ca.crt", "-----BEGIN CERTIFICATE-----")]);
    assert!(look(&mut source));
    assert_eq!(shown(&source, root), ["first/token token=3", "second/token token=2"]);
    assert!(Arc::ptr_eq(&before[1], &source.held()[1]));
    // New ones are found, and gone ones are gone.
    project(&root.join("third"), 1, &[("token", &token(4))]);
    fs::remove_dir_all(&second).unwrap();
    assert!(look(&mut source));
    assert_eq!(shown(&source, root), ["first/token token=3", "third/token token=4"]);
}

#[test]
fn a_change_in_place_is_seen() {
    let folder = folder_with(&[("t", &token(1))]);
    let mut source = source(folder.path(), &["t"]);
    assert_eq!(poll(&mut source, folder.path()), ["t t=1"]);
    for round in 2..9 {
        write(folder.path(), "t", token(round).as_bytes());
        assert!(look(&mut source), "round {round}");
        assert_eq!(shown(&source, folder.path()), [format!("t t={round}")]);
    }
    write(folder.path(), "t", b"no more");
    assert!(look(&mut source));
    assert_eq!(shown(&source, folder.path()), ["t t!not_a_jwt"]);
    fs::remove_file(folder.path().join("t")).unwrap();
    assert!(look(&mut source));
    assert_eq!(shown(&source, folder.path()), ["t !not_found"]);
    let before = source.held().clone();
    assert!(!look(&mut source));
    source.poll().unwrap();
    assert!(Arc::ptr_eq(&before[0], &source.held()[0]), "an error is carried over too");
}

#[test]
fn a_file_is_settled_when_its_times_would_tell_of_another_change() {
    let folder = folder_with(&[("t", "x")]);
    let metadata = fs::metadata(folder.path().join("t")).unwrap();
    let signature = Signature::of(&metadata);
    let changed = metadata.modified().unwrap();
    let second = Duration::from_secs(1);
    for (now, settled) in [
        (changed, false),
        (changed + 2 * second, false),
        (changed + 5 * second, true),
        // A clock that goes behind, but not one that stands still in the past: the file would be read for ever.
        (changed - 2 * second, false),
        (changed - 3600 * second, true),
    ] {
        assert_eq!(signature.settled(now), settled.then_some(signature), "{now:?}");
    }
}

/// Were it decided by the path where a file lies, a link that is turned over in between would let the other one in.
#[test]
fn a_link_that_turns_all_the_time_never_leads_out() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let outside = folder_with(&[("t", &token(666)), ("f/t", &token(666))]);
    let folder = folder_with(&[("in/t", &token(1))]);
    let root = folder.path();
    let turn = |to: &Path, name: &str| {
        symlink(to, root.join("next")).unwrap();
        fs::rename(root.join("next"), root.join(name)).unwrap();
    };
    let (mut inside, mut refused, mut led_out) = (0, 0, false);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                turn(&outside.path().join("t"), "turning");
                turn(&outside.path().join("f"), "turning-folder");
                turn(&root.join("in/t"), "turning");
                turn(&root.join("in"), "turning-folder");
            }
        });
        let mut source = source(root, &["turning", "*/t"]);
        let started = Instant::now();
        while (inside < 2_000 || refused < 2_000) && started.elapsed() < Duration::from_secs(60) {
            let found = poll(&mut source, root).concat();
            led_out |= found.contains("666");
            inside += u32::from(found.contains("turning turning=1"));
            refused += u32::from(found.contains("turning !unreadable"));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(inside > 0 && refused > 0, "{inside} {refused}");
    assert!(!led_out, "it was decided by another file than the one that was read");
}

#[test]
fn without_watch_there_are_only_polls() {
    let folder = folder_with(&[("t", &token(1))]);
    let mut source = source(folder.path(), &["t"]);
    source.watch = false;
    source.poll().unwrap();
    let Tended { next, changed, .. } = source.tend(Instant::now() + Duration::from_secs(3600));
    assert_eq!((next, changed), (None, false));
}

#[test]
fn the_longer_a_look_takes_the_later_is_the_next() {
    let mut source = source(Path::new("/nowhere"), &["t"]);
    for (cost, least) in [(0, 2), (1, 2), (1000, 20)] {
        source.look_later(Duration::from_millis(cost));
        let wait = source.next_look.unwrap().saturating_duration_since(Instant::now());
        let least = Duration::from_secs(least);
        assert!(wait <= least && wait + Duration::from_secs(1) > least, "{cost} ms: {wait:?}");
    }
}

/// Bytes that this thread has read so far (proc(5), `/proc/pid/io`), or `None` where the kernel does not count.
fn bytes_read() -> Option<u64> {
    let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

#[test]
fn of_thousands_of_files_only_the_changed_ones_are_read_by_a_look() {
    const FILES: u32 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for number in 0..FILES {
        write(root, &format!("{}/{number:05}", number / 100), token(number).as_bytes());
    }
    let mut source = source(root, &["**"]);
    assert_eq!(poll(&mut source, root).len(), FILES as usize);
    let before = source.held().clone();
    source.poll().unwrap();
    assert!(before.iter().zip(source.held()).all(|(before, now)| Arc::ptr_eq(before, now)));
    // Files that were just written are read again for a few seconds.
    let started = Instant::now();
    loop {
        let read_before = bytes_read();
        assert!(!look(&mut source));
        let Some(read) = bytes_read().zip(read_before).map(|(after, before)| after - before) else {
            println!("skipped: the kernel does not count what a thread reads");
            break;
        };
        if read < 10_000 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "a look still reads {read} bytes");
        std::thread::sleep(Duration::from_millis(200));
    }
    let changed = 1234usize;
    write(root, &format!("{}/{changed:05}", changed / 100), token(99_999).as_bytes());
    assert!(look(&mut source));
    let same = before.iter().zip(source.held()).filter(|(before, now)| Arc::ptr_eq(before, now)).count();
    assert_eq!(same, FILES as usize - 1);
    assert!(shown(&source, root).contains(&format!("12/{changed:05} {changed:05}=99999")));
}

/// Runs `body` in a thread whose file accesses are those of `nobody`, if we are root: root may read everything.
fn as_nobody(body: impl FnOnce() + Send) {
    const NOBODY: u32 = 65_534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: numbers. They hold for this thread alone, which ends here (setfsuid(2)).
            unsafe {
                libc::setfsgid(NOBODY);
                libc::setfsuid(NOBODY);
            }
            body();
        });
        thread.join().unwrap();
    });
}

#[test]
fn what_may_not_be_read_is_one_error() {
    let folder = folder_with(&[
        ("shut/a", &token(1)),
        ("shut/b", &token(2)),
        ("listed/a", &token(3)),
        ("listed/b", &token(4)),
        ("open/a", &token(5)),
        ("open/mine", &token(6)),
    ]);
    let root = folder.path();
    let rights = |name: &str, mode: u32| fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    for (name, mode) in [("", 0o755), ("shut", 0o700), ("listed", 0o744), ("open", 0o755), ("open/mine", 0o600)] {
        rights(name, mode);
    }
    // SAFETY: takes nothing, gives a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root {
        rights("shut", 0);
        rights("listed", 0o400);
        rights("open/mine", 0);
    }
    let mut source = source(root, &["**", "*/b", "shut/a"]);
    as_nobody(|| {
        let wanted =
            ["listed !unreadable", "open/a a=5", "open/mine !unreadable", "shut !unreadable", "shut/a !unreadable"];
        assert_eq!(poll(&mut source, root), wanted);
        assert!(!look(&mut source));
    });
    rights("listed", 0o755);
    rights("open/mine", 0o644);
    rights("open", 0o755);
    as_nobody(|| {
        assert!(look(&mut source));
        let now = shown(&source, root);
        assert_eq!(now[..4], ["listed/a a=3", "listed/b b=4", "open/a a=5", "open/mine mine=6"]);
    });
    // What was readable and is so no more loses its token.
    rights("open/mine", 0o000);
    as_nobody(|| {
        assert!(look(&mut source));
        assert!(shown(&source, root).contains(&"open/mine !unreadable".to_owned()));
    });
    rights("shut", 0o700);
}

/// Runs one test of this binary in a process of its own, where it may do what would harm the others.
fn alone(test: &str) -> bool {
    const MARK: &str = "JWT_EXPORTER_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
    assert!(output.contains("1 passed"), "{output}");
    false
}

fn limit_open_files(most: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a limit that lives through them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = most.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn a_poll_without_the_means_to_look_keeps_what_was_known() {
    if !alone("a_poll_without_the_means_to_look_keeps_what_was_known") {
        return;
    }
    let folder = folder_with(&[("a/t", &token(1)), ("b/t", &token(2))]);
    let root = folder.path();
    for patterns in [&["*/t"][..], &["a/t", "b/t"]] {
        let mut source = source(root, patterns);
        write(root, "a/t", token(1).as_bytes());
        poll(&mut source, root);
        write(root, "a/t", token(3).as_bytes());
        // Standard input, output and error are open, and nothing else will be.
        limit_open_files(3);
        let error = source.poll().unwrap_err();
        assert!(!look(&mut source));
        limit_open_files(1024);
        assert_eq!((error.reason, error.needs_operator), ("exhausted", false));
        assert_eq!(shown(&source, root), ["a/t t=1", "b/t t=2"]);
        assert!(look(&mut source));
        assert_eq!(shown(&source, root), ["a/t t=3", "b/t t=2"]);
    }
}

#[test]
fn only_so_many_unreadable_files_of_patterns_are_told() {
    let folder = folder_with(&[("t", &token(1))]);
    for number in 0..FAULTS_TOLD + 20 {
        symlink("nowhere", folder.path().join(format!("{number:04}"))).unwrap();
    }
    let mut source = source(folder.path(), &["*", "0119"]);
    let found = poll(&mut source, folder.path());
    assert_eq!(found.len(), FAULTS_TOLD + 3, "{found:?}");
    assert_eq!((&*found[0], &*found[FAULTS_TOLD + 1]), ("/ !unreadable", "0119 !not_found"));
}

#[test]
fn paths_that_cannot_be_shown_are_told_apart() {
    use std::os::unix::ffi::OsStringExt as _;
    let folder = tempfile::tempdir().unwrap();
    for end in [0xfe, 0xff] {
        let name = std::ffi::OsString::from_vec(vec![b'x', end]);
        fs::write(folder.path().join(name), token(u32::from(end))).unwrap();
    }
    write(folder.path(), &token(5), token(1).as_bytes());
    let mut source = source(folder.path(), &["*"]);
    let found = poll(&mut source, folder.path());
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!found.concat().contains("eyJ"), "{found:?}");
}
