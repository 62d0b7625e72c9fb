//! The rules over made-up texts: each finds what it is for, and nothing else.

use super::*;

const LIBRARY: &str = "//! | floor | rooms |\n//! | --- | --- |\n//! | 2 up | `main`, [`top`], [`mid`] | x |\n//! | 1 down | [`low`] | y `z` |\n";

fn named(violations: &[String], words: &[&str]) -> bool {
    violations.len() == words.len() && violations.iter().zip(words).all(|(violation, word)| violation.contains(word))
}

#[test]
fn the_table_is_read() {
    let floors = Floors::of(LIBRARY);
    assert_eq!(floors.0.iter().map(|(_, room)| &**room).collect::<Vec<_>>(), ["main", "top", "mid", "low"]);
    assert_eq!((floors.floor("mid"), floors.floor("low"), floors.floor("z")), (Some(2), Some(1), None));
}

#[test]
fn a_room_above_is_found_however_it_is_named() {
    let floors = Floors::of(LIBRARY);
    let check = |path: &str, text: &str| wrong_floors(&SourceText::new(path, text), &floors);
    for text in [
        "use crate::top::X;",
        "pub use crate::top;",
        "fn f() { crate::top::g() }",
        "use crate::{low::{a, b}, top::{c, d}};",
        "use super::super::top;",
        "impl From<crate::top::E> for X {}",
        "use crate::low::a;\nuse crate::{\n    low,\n    top::X,\n};",
    ] {
        assert!(named(&check("src/mid/inner.rs", text), &["must not use top"]), "{text}");
    }
    assert!(named(&check("src/mid/mod.rs", "use super::top::X;"), &["src/mid/mod.rs:1: mid must not use top"]));
    assert!(named(&check("src/low.rs", "\nuse crate::{mid, low};"), &["src/low.rs:2: low must not use mid"]));
    assert!(named(&check("src/mid.rs", "use crate::nowhere::X;"), &["nowhere is no room"]));
    assert!(named(&check("src/stranger.rs", ""), &["no room stranger"]));
    for good in [
        "use crate::mid::X; use crate::low::{top, mid};",
        "use super::top;",
        "/// [`crate::top`]\nfn f() { \"crate::top\"; }",
        "#[cfg(test)]\nmod tests { use crate::top; }",
        "use super::super::low;",
    ] {
        assert_eq!(check("src/mid/inner.rs", good), [""; 0], "{good}");
    }
    assert_eq!(check("src/main.rs", "fn main() { jwt_exporter::top::main() }"), [""; 0]);
}

#[test]
fn a_crate_outside_of_its_door_is_found() {
    let check = |path: &str, text: &str| wrong_doors(&SourceText::new(path, text));
    for text in [
        "use ureq::Agent;",
        "use ::ureq::Agent;",
        "use ureq;",
        "use ureq as u;",
        "use {ureq::Agent};",
        "fn f(a: &ureq::Agent) {}",
        "fn f() { ureq::get() }",
        "impl From<ureq::Error> for E {}",
    ] {
        assert!(named(&check("src/jwt/claims.rs", text), &["ureq has its door in http_client, not in jwt"]), "{text}");
        assert_eq!(check("src/http_client/agent.rs", text), [""; 0], "{text}");
    }
    for good in ["use crate::ureq::X;", "let ureq = 1;", "a.ureq::<X>()", "use x::ureq;", "// ureq::Agent"] {
        assert_eq!(check("src/jwt/claims.rs", good), [""; 0], "{good}");
    }
}

#[test]
fn dependencies_are_read_as_code_spells_them() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# a = b\nserde = \"1\"\npico-args = { version = \"1\" } # y = z\n\n[dev-dependencies]\nrcgen = \"1\"\n";
    assert_eq!(dependencies(manifest).iter().collect::<Vec<_>>(), ["# a", "pico_args", "serde"]);
}

#[test]
fn a_clock_on_the_pure_floor_is_found() {
    let check = |text: &str| impurities(&SourceText::new("src/jwt/claims.rs", text));
    for (text, words) in [
        ("use std::time::SystemTime;", &["SystemTime"][..]),
        ("let start = std::time::Instant::now();", &["Instant", "now()"]),
        ("let now = UnixSeconds::now();", &["now()"]),
        ("std::thread::spawn(f);", &["std::thread"]),
        ("use std::{fmt, fs, net::IpAddr};", &["std::fs", "std::net"]),
    ] {
        assert!(named(&check(text), words), "{text}: {:?}", check(text));
    }
    for good in ["fn f(now: UnixSeconds) { g(now) }", "use std::{fmt, io};", "use std::fmt; mod fs {}", "self.now()"] {
        assert_eq!(check(good), [""; 0], "{good}");
    }
}

#[test]
fn a_date_where_time_is_kept_is_found() {
    let check = |path: &str, text: &str| dates(&SourceText::new(path, text), &[("src/source/dated.rs", "why")]);
    for text in [
        "self.due = UnixSeconds::now() + interval;",
        "let clock = &UnixSeconds::now;",
        "use std::time::SystemTime;",
        "self.last_success = UnixSeconds::now();",
        "UnixSeconds::now()",
    ] {
        for path in ["src/poller/polled.rs", "src/source/secrets/stream.rs"] {
            assert!(named(&check(path, text), &["a date where time has to be kept by Instant"]), "{path}: {text}");
        }
        for path in ["src/server/mod.rs", "src/source/dated.rs"] {
            assert_eq!(check(path, text), [""; 0], "{path}: {text}");
        }
    }
    for good in ["self.status.last_success = Some(UnixSeconds::now());", "Instant::now()", "fn f(at: UnixSeconds) {}"] {
        assert_eq!(check("src/poller/polled.rs", good), [""; 0], "{good}");
    }
}

#[test]
fn a_file_that_is_opened_in_another_way_is_found() {
    let check = |text: &str| openings(&SourceText::new("src/vault/fetch.rs", text), &[("src/log/", "x")]);
    for text in ["File::open(p)", "std::fs::File::open(p)", "fs::read(p)", "std::fs::read_to_string(p)"] {
        assert!(named(&check(text), &["src/vault/fetch.rs:1: a file"]), "{text}");
    }
    for good in ["whole_file::open(p)", "fs::read_dir(p)", "#[cfg(test)]\nmod tests { fn f() { fs::read(p) } }"] {
        assert_eq!(check(good), [""; 0], "{good}");
    }
    assert_eq!(openings(&SourceText::new("src/whole_file.rs", "fs::read(p)"), OPENERS), [""; 0]);
}

#[test]
fn a_panic_on_purpose_is_found() {
    let check = |text: &str| panics(&SourceText::new("src/jwt/claims.rs", text));
    for text in ["x.unwrap();", "x\n    .expect(\"so\")", "x.map(Result::unwrap_err)(y)", "panic!(\"{x}\")", "todo!()"]
    {
        let wanted = usize::from(!text.contains("unwrap_err"));
        assert_eq!(check(text).len(), wanted, "{text}");
    }
    assert_eq!(check("Result::unwrap(x)").len(), 1);
    for good in
        ["x.unwrap_or(1)", "fn expecting() {}", "#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }", "// x.unwrap()"]
    {
        assert_eq!(check(good), [""; 0], "{good}");
    }
}

#[test]
fn a_long_file_is_found_and_a_stale_exception_too() {
    let file = |lines: usize| SourceText::new("src/a.rs", &"fn f() {}\n".repeat(lines));
    assert_eq!(too_long(&file(MOST_LINES), &[]).len(), 0);
    assert_eq!(too_long(&file(MOST_LINES + 1), &[]).len(), 1);
    assert_eq!(too_long(&file(MOST_LINES + 1), &[("src/a.rs", "why")]).len(), 0);
    assert_eq!(too_long(&file(MOST_LINES), &[("src/a.rs", "why")]).len(), 1);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(500));
    assert_eq!(too_long(&SourceText::new("src/a.rs", &tests), &[]).len(), 0);
}
