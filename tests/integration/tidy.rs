//! House rules, held over the sources as text: which room may use which, which foreign crate enters by which door, what the
//! pure floor must not do, and what no code outside of tests does. Each rule is a function from one file to its violations,
//! and each is shown to find some.

mod made_up_texts;
mod source_text;

use source_text::{SourceText, sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A file with more lines than this has a seam somewhere. Test code is not counted.
const MOST_LINES: usize = 400;

/// Files that are longer for now, and why.
const LONGER: &[(&str, &str)] = &[];

/// The rooms that may name a foreign crate. A crate of Cargo.toml stands here or in [`ANYWHERE`].
const DOORS: &[(&str, &[&str])] = &[
    ("ureq", &["http_client"]),
    ("rustls", &["http_client"]),
    ("rustls_pki_types", &["http_client"]),
    ("ring", &["jwt"]),
    ("tiny_http", &["server"]),
    ("flate2", &["server"]),
    ("serde_yaml", &["yaml"]),
    ("simplelog", &["log"]),
    ("pico_args", &["cli"]),
    ("prometheus", &["metrics"]),
    ("glob", &["source"]),
    ("signal_hook", &["command"]),
    ("home", &["config"]),
    ("itoa", &["metrics"]),
    ("libc", &["http_client", "kubernetes", "source", "server", "command", "renewal", "whole_file"]), // the system itself: signals, flags of open, locks, poll, limits, keep-alive
];

/// What opens files for reading in a way of its own, and why. All else asks `whole_file`, whom no pipe keeps waiting.
const OPENERS: &[(&str, &str)] = &[
    ("src/whole_file.rs", "the way itself"),
    ("src/config/load.rs", "a configuration may come from a pipe"),
    ("src/command/inspect/mod.rs", "so may a token that somebody looks at"),
    ("src/config/expansion.rs", "the kernel's"),
    ("src/renewal/errand.rs", "the system's own"),
];

/// Vocabulary that every room may use.
const ANYWHERE: &[&str] = &["serde", "serde_json", "base64", "log", "memchr", "zeroize"];

/// What reads a clock, or the world, or starts a thread.
const IMPURE_WORDS: &[&str] = &["SystemTime", "Instant"];
const IMPURE_MODULES: &[&str] = &["fs", "net", "thread", "process", "env", "os"];

/// What polls and watches hang on has to be a clock that nobody sets: `Instant`.
const SCHEDULED_ROOMS: &[&str] = &["poller", "source"];

/// Files of those rooms that may look at the date all the same, and why.
const DATED: &[(&str, &str)] = &[
    ("src/source/files/known.rs", "the date of a file is compared with that of the look"),
    ("src/source/files/mod.rs", "the same"),
];

const PANICKING_METHODS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err"];
const PANICKING_MACROS: &[&str] = &["panic", "todo", "unimplemented", "dbg"];

/// The rooms in the order of the tour in `lib.rs`: from the wiring down, and within a floor from left to right.
struct Floors(Vec<(u32, String)>);

impl Floors {
    /// Reads the table: `//! | 2 pure | [`metrics`], [`snapshot`] | … |`.
    fn of(library: &str) -> Self {
        let rows = library.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("//! | ")?.split('|');
            let floor = cells.next()?.split_whitespace().next()?.parse().ok()?;
            let rooms = cells.next()?.split('`').skip(1).step_by(2);
            Some(rooms.map(move |room| (floor, room.to_owned())).collect::<Vec<_>>())
        });
        Self(rows.flatten().collect())
    }

    fn position(&self, room: &str) -> Option<usize> {
        self.0.iter().position(|(_, known)| known == room)
    }

    fn floor(&self, room: &str) -> Option<u32> {
        self.0.iter().find(|(_, known)| known == room).map(|(floor, _)| *floor)
    }
}

/// Names of rooms in paths from the crate's root (`crate::`, `super::` that leads there, `jwt_exporter::` of the program)
/// that do not stand below the file's own room.
fn wrong_floors(file: &SourceText, floors: &Floors) -> Vec<String> {
    let modules = file.modules();
    let own = modules[0];
    let Some(position) = floors.position(own) else {
        return vec![file.violation(0, &format!("the tour in lib.rs has no room {own}"))];
    };
    let mut wrong = Vec::new();
    for place in rooms_named(file, modules.len()) {
        let named = file.at(place);
        match floors.position(named) {
            Some(below) if below >= position => {}
            Some(_) => wrong.push(file.violation(place, &format!("{own} must not use {named}, which stands above it"))),
            None => wrong.push(file.violation(place, &format!("{named} is no room of the tour in lib.rs"))),
        }
    }
    wrong
}

/// The places of the names behind a path to the crate's root, groups in braces included.
fn rooms_named(file: &SourceText, depth: usize) -> Vec<usize> {
    let mut places = Vec::new();
    for place in 0..file.tokens.len() {
        let supers =
            (0..).take_while(|n| file.at(place + 2 * n) == "super" && file.at(place + 2 * n + 1) == "::").count();
        let behind = match file.at(place) {
            "crate" | "jwt_exporter" if file.at(place + 1) == "::" => place + 2,
            "super" if supers == depth && file.before(place, 1) != "::" => place + 2 * supers,
            _ => continue,
        };
        if file.at(behind) != "{" {
            places.push(behind);
            continue;
        }
        let mut open = 0;
        for at in behind.. {
            match file.at(at) {
                "{" => open += 1,
                "}" if open == 1 => break,
                "}" => open -= 1,
                "" => break,
                "," | "::" | "*" => continue,
                _ if open == 1 && matches!(file.before(at, 1), "{" | ",") => places.push(at),
                _ => {}
            }
        }
    }
    places
}

/// Foreign crates that are named outside of their rooms.
fn wrong_doors(file: &SourceText) -> Vec<String> {
    let room = file.modules()[0];
    (0..file.tokens.len())
        .filter(|place| is_crate_name(file, *place))
        .filter_map(|place| {
            let (name, rooms) = DOORS.iter().find(|(name, _)| *name == file.at(place))?;
            let wrong =
                || file.violation(place, &format!("{name} has its door in {}, not in {room}", rooms.join(" and ")));
            (!rooms.contains(&room)).then(wrong)
        })
        .collect()
}

/// Whether a word begins a path, or is imported whole.
fn is_crate_name(file: &SourceText, place: usize) -> bool {
    let leads = file.at(place + 1) == "::";
    match file.before(place, 1) {
        "use" | "crate" => leads || matches!(file.at(place + 1), ";" | "as"),
        // `::name::…` begins at the root; `a::name::…` and `x.name` do not.
        "::" => leads && !ends_a_path(file.before(place, 2)),
        "." => false,
        _ => leads,
    }
}

/// Whether a word before `::` is a part of the path.
fn ends_a_path(word: &str) -> bool {
    word != "use" && word.starts_with(|first: char| first.is_alphanumeric() || first == '_' || first == '>')
}

/// What a room of the pure floor must not do: look at the clock or the world, start threads.
fn impurities(file: &SourceText) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut report =
        |place, what: &str| wrong.push(file.violation(place, &format!("{what} on the floor without a clock")));
    for place in 0..file.tokens.len() {
        let word = file.at(place);
        if IMPURE_WORDS.contains(&word) {
            report(place, word);
        } else if word == "now" && file.before(place, 1) == "::" && file.at(place + 1) == "(" {
            report(place, "a call of now()");
        } else if word == "std" && file.at(place + 1) == "::" {
            let end = if file.at(place + 2) == "{" {
                (place + 2..).find(|at| matches!(file.at(*at), ";" | ""))
            } else {
                None
            };
            for at in place + 2..end.unwrap_or(place + 3) {
                if IMPURE_MODULES.contains(&file.at(at)) && (end.is_none() || matches!(file.before(at, 1), "{" | ",")) {
                    report(at, &format!("std::{}", file.at(at)));
                }
            }
        }
    }
    wrong
}

/// Looks at the date in a room that keeps time, but to write down when something was. A clock that is set must move no poll.
fn dates(file: &SourceText, dated: &[(&str, &str)]) -> Vec<String> {
    let allowed = dated.iter().any(|(path, _)| *path == file.path);
    if !SCHEDULED_ROOMS.contains(&file.modules()[0]) || allowed {
        return Vec::new();
    }
    let is_date = |place: usize| match file.at(place) {
        "SystemTime" => true,
        "UnixSeconds" => file.at(place + 1) == "::" && file.at(place + 2) == "now",
        _ => false,
    };
    let is_written_down = |place: usize| {
        let before = [4, 3, 2, 1].map(|back| file.before(place, back));
        before == ["last_success", "=", "Some", "("]
    };
    let places = (0..file.tokens.len()).filter(|place| is_date(*place) && !is_written_down(*place));
    places.map(|place| file.violation(place, "a date where time has to be kept by Instant")).collect()
}

/// Files that are opened without `whole_file`.
fn openings(file: &SourceText, openers: &[(&str, &str)]) -> Vec<String> {
    if openers.iter().any(|(path, _)| file.path.starts_with(path)) {
        return Vec::new();
    }
    let opens = |place: &usize| {
        let words = (file.at(*place), file.at(place + 1), file.at(place + 2));
        matches!(words, ("File", "::", "open") | ("fs", "::", "read" | "read_to_string"))
    };
    let places = (0..file.tokens.len()).filter(opens);
    places.map(|place| file.violation(place, "a file that is not opened by whole_file")).collect()
}

/// Calls that end the thread instead of an error.
fn panics(file: &SourceText) -> Vec<String> {
    let calls = |place: usize| {
        let (before, word, behind) = (file.before(place, 1), file.at(place), file.at(place + 1));
        PANICKING_METHODS.contains(&word) && matches!(before, "." | "::") && behind == "("
            || PANICKING_MACROS.contains(&word) && behind == "!"
    };
    let places = (0..file.tokens.len()).filter(|place| calls(*place));
    places.map(|place| file.violation(place, &format!("{} outside of tests", file.at(place)))).collect()
}

fn too_long(file: &SourceText, longer: &[(&str, &str)]) -> Vec<String> {
    let allowed = longer.iter().any(|(path, _)| *path == file.path);
    match (file.lines > MOST_LINES, allowed) {
        (true, false) => vec![format!("{}: {} lines without tests, at most {MOST_LINES}", file.path, file.lines)],
        (false, true) => vec![format!("{}: no longer too long; take it off the list", file.path)],
        _ => Vec::new(),
    }
}

/// The names under `[dependencies]`, as code spells them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().replace('-', "_")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that the rules are for: all but the build script and the root itself.
fn files() -> &'static [SourceText] {
    static FILES: LazyLock<Vec<SourceText>> = LazyLock::new(|| {
        let files = sources(root());
        files.into_iter().filter(|file| !matches!(&*file.path, "src/build.rs" | "src/lib.rs")).collect()
    });
    assert!(FILES.len() > 40, "{} files", FILES.len());
    &FILES
}

fn floors() -> Floors {
    Floors::of(&fs::read_to_string(root().join("src/lib.rs")).unwrap())
}

fn assert_none(violations: impl Iterator<Item = String>) {
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn a_file_uses_its_own_room_and_those_below() {
    let floors = floors();
    assert_none(files().iter().flat_map(|file| wrong_floors(file, &floors)));
}

#[test]
fn the_tour_has_every_room_and_no_other() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod "));
    let declared: BTreeSet<&str> = modules.filter_map(|rest| rest.strip_suffix(';')).collect();
    let floors = Floors::of(&library);
    let shown: BTreeSet<&str> = floors.0.iter().map(|(_, room)| &**room).filter(|room| *room != "main").collect();
    assert_eq!(declared, shown);
    assert_eq!(floors.0.len(), shown.len() + 1, "a room stands there twice");
}

#[test]
fn a_foreign_crate_enters_by_its_door() {
    assert_none(files().iter().flat_map(wrong_doors));
}

#[test]
fn every_dependency_has_a_door_or_is_vocabulary() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let known: BTreeSet<&str> = DOORS.iter().map(|(name, _)| *name).chain(ANYWHERE.iter().copied()).collect();
    let dependencies = dependencies(&manifest);
    assert!(dependencies.contains("ureq") && dependencies.contains("pico_args"));
    let unknown: Vec<&String> = dependencies.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "give them a door: {unknown:?}");
}

#[test]
fn the_pure_floor_has_no_clock_no_files_no_threads() {
    let floors = floors();
    let pure: Vec<_> = files().iter().filter(|file| floors.floor(file.modules()[0]) == Some(2)).collect();
    assert!(pure.len() > 10, "{} files", pure.len());
    assert_none(pure.into_iter().flat_map(impurities));
}

#[test]
fn no_poll_and_no_watch_hangs_on_a_clock_that_can_be_set() {
    assert_none(files().iter().flat_map(|file| dates(file, DATED)));
    let needs_it = |path: &str| files().iter().any(|file| file.path == path && !dates(file, &[]).is_empty());
    assert!(DATED.iter().all(|(path, _)| needs_it(path)), "take it off the list");
}

#[test]
fn files_are_opened_in_one_way() {
    assert_none(files().iter().flat_map(|file| openings(file, OPENERS)));
    for (path, _) in OPENERS {
        let opens = |file: &SourceText| file.path.starts_with(path) && !openings(file, &[]).is_empty();
        assert!(files().iter().any(opens), "take {path} off the list");
    }
}

#[test]
fn nothing_panics_on_purpose() {
    assert_none(files().iter().flat_map(panics));
}

#[test]
fn no_file_is_too_long() {
    assert_none(files().iter().flat_map(|file| too_long(file, LONGER)));
    assert!(LONGER.iter().all(|(path, reason)| root().join(path).exists() && !reason.is_empty()));
}
