//! What the fuzz targets hold, held for their seeds: so they still compile, and mean something, on a machine that never fuzzes.
//!
//! A seed that begins with `bad_` has to be refused, every other one accepted.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/bodies/answers.rs"]
mod answers;
#[path = "../../fuzz/bodies/configuration.rs"]
mod configuration;
#[path = "../../fuzz/bodies/keys.rs"]
mod keys;
#[path = "../../fuzz/bodies/kubeconfig.rs"]
mod kubeconfig;
#[path = "../../fuzz/bodies/login.rs"]
mod login;
#[path = "../../fuzz/bodies/observation.rs"]
mod observation;
#[path = "../../fuzz/bodies/secret_list.rs"]
mod secret_list;
#[path = "../../fuzz/bodies/status_page.rs"]
mod status_page;
#[path = "../../fuzz/bodies/template.rs"]
mod template;
#[path = "../../fuzz/bodies/token.rs"]
mod token;

/// Whether a target accepts an input.
type Run = fn(&[u8]) -> bool;

/// Every target, by its name in `fuzz/`.
const TARGETS: [(&str, Run); 10] = [
    ("answers", answers::run),
    ("configuration", configuration::run),
    ("keys", keys::run),
    ("kubeconfig", kubeconfig::run),
    ("login", login::run),
    ("observation", observation::run),
    ("secret_list", secret_list::run),
    ("status_page", status_page::run),
    ("template", template::run),
    ("token", token::run),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn every_seed_is_accepted_or_refused_as_its_name_says() {
    for (target, run) in TARGETS {
        let seeds = files(&fuzz().join("seeds").join(target));
        for seed in &seeds {
            let input = fs::read(seed).unwrap();
            println!("{}", seed.display()); // shown if a target panics
            assert_eq!(run(&input), !name(seed).starts_with("bad_"), "{}", seed.display());
        }
        let bad = seeds.iter().filter(|seed| name(seed).starts_with("bad_")).count();
        assert!(bad > 0 && bad < seeds.len(), "{target}: seeds of one kind only");
    }
}

#[test]
fn every_target_is_registered_everywhere() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let names: Vec<String> = TARGETS.iter().map(|(target, _)| format!("{target}.rs")).collect();
    for folder in ["bodies", "fuzz_targets"] {
        let found: Vec<String> = files(&fuzz().join(folder)).iter().map(|file| name(file)).collect();
        assert_eq!(found, names, "{folder}");
    }
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("\nname = \"{target}\"\n")), "{target} is not in fuzz/Cargo.toml");
        let text = fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{target}.rs"))).unwrap();
        assert!(text.contains(&format!("\"../bodies/{target}.rs\"")), "{target} runs another body");
    }
}

#[test]
fn the_golden_configurations_are_seeds_too() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let cases: Vec<PathBuf> =
        files(&golden).into_iter().filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    assert!(cases.len() > 50, "{}", cases.len());
    for case in cases {
        configuration::run(&fs::read(&case).unwrap());
    }
}
