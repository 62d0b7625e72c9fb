//! The program's command line from outside: golden cases under `tests/golden/cli/`, one per line of [`CASES`].
//!
//! `GOLDEN=rewrite cargo test cli` writes them anew; look at the difference before you keep it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Names of the golden files, and the arguments.
const CASES: &[(&str, &[&str])] = &[
    ("help", &["-help"]),
    ("h", &["--h"]),
    ("unknown_flag", &["-colour"]),
    ("unknown_flag_with_value", &["--port=80"]),
    ("help_check", &["check", "-help"]),
    ("help_inspect", &["-level", "info", "inspect", "-h"]),
    ("help_explain", &["explain", "--help"]),
    ("unknown_command", &["chekc"]),
    ("flag_of_another_command", &["check", "-once", "-"]),
    ("flag_of_a_command", &["-output", "json"]),
    ("explain_without_a_secret", &["explain"]),
    ("inspect_missing_file", &["inspect", "tests/golden/cli/none.jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."]),
    ("explain_manifest", &["explain", "-config", "manifests/demo/config.yaml", "jwt-exporter-demo/missing-key"]),
    ("explain_no_manifest", &["explain", "-config", "manifests/demo/config.yaml", "jwt-exporter-demo/nowhere"]),
    ("check_nothing", &["check", "-config", "tests/golden/cli/nothing.yaml"]),
    ("once_nothing", &["-once", "-", "-level", "off", "-config", "tests/golden/cli/nothing.yaml"]),
    ("missing_argument", &["-config"]),
    ("empty_config", &["-config="]),
    ("bad_level", &["-level", "loud\n\u{1b}[2J"]),
    ("bad_log_format", &["-log-format", "xml"]),
    ("bad_switch", &["-version=maybe"]),
    ("triple_dash", &["---config"]),
    ("lone_dash", &["-"]),
    ("dash_equals", &["-=x"]),
    ("unexpected_argument", &["-level", "info", "config.yaml"]),
    ("after_the_end_of_flags", &["--", "-version"]),
    ("check_config", &["-check-config", "-config", "tests/golden/cli/good.yaml"]),
    ("check_config_cluster", &["-check-config", "-config", "tests/golden/cli/cluster.yaml"]),
    ("check_config_selected", &["-check-config", "-config", "tests/golden/cli/selected.yaml"]),
    ("check_config_labels_by_name", &["-check-config", "-config", "tests/golden/cli/labels_by_name.yaml"]),
    ("check_config_named", &["-check-config", "-config", "tests/golden/cli/named.yaml"]),
    ("check_config_contexts", &["-check-config", "-config", "tests/golden/cli/contexts.yaml"]),
    ("check_config_files", &["-check-config", "-config", "tests/golden/cli/files.yaml"]),
    ("check_config_files_anywhere", &["-check-config", "-config", "tests/golden/cli/files_anywhere.yaml"]),
    ("check_config_renewals", &["-check-config", "-config", "tests/golden/cli/renewals.yaml"]),
    ("renew", &["renew"]),
    ("dry_run_alone", &["-dry-run"]),
    ("renew_dry_run_files", &["renew", "-dry-run", "-config", "tests/golden/cli/renewals.yaml"]),
    ("renew_dry_run_nothing", &["renew", "-dry-run", "-config", "tests/golden/cli/empty.yaml"]),
    ("renew_with_wrong_config", &["renew", "-dry-run", "-config", "tests/golden/config/duration_word.yaml"]),
    ("check_config_empty", &["-check-config", "-config", "tests/golden/cli/empty.yaml"]),
    ("check_config_wrong", &["-check-config", "-config", "tests/golden/config/duration_word.yaml"]),
    ("run_with_wrong_config", &["-config=tests/golden/config/duration_word.yaml", "-level", "off"]),
    ("run_with_missing_config", &["-config", "tests/golden/cli/none.yaml"]),
    ("undefined_variable", &["-config", "$NO_SUCH_VARIABLE/config.yaml"]),
];

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jwt-exporter"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("NO_SUCH_VARIABLE");
    command.output().unwrap()
}

fn shown(arguments: &[&str], output: &Output) -> String {
    format!(
        "arguments: {arguments:?}\nexit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap()
    )
}

#[test]
fn every_way_to_call_it_is_answered_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli");
    let rewrite = std::env::var("GOLDEN").is_ok_and(|value| value == "rewrite");
    let mut wrong = Vec::new();
    for (name, arguments) in CASES {
        let found = shown(arguments, &program(arguments));
        let file = folder.join(format!("{name}.txt"));
        if rewrite {
            fs::write(&file, &found).unwrap();
        } else if fs::read_to_string(&file).ok().as_deref() != Some(&found) {
            wrong.push(format!("{name}\n{found}\n"));
        }
    }
    assert!(wrong.is_empty(), "not as in the .txt files (GOLDEN=rewrite writes them anew):\n{}", wrong.concat());
}

#[test]
fn version_names_version_commit_and_compiler() {
    for arguments in [&["-version"][..], &["--version=true"], &["-config", "/nowhere", "-version"]] {
        let output = program(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert!(text.starts_with(concat!("jwt-exporter ", env!("CARGO_PKG_VERSION"), " (commit ")), "{text}");
        assert!(text.ends_with(")\n") && text.lines().count() == 1 && text.contains("rustc"), "{text}");
    }
}

#[test]
fn a_missing_default_file_means_the_defaults() {
    if Path::new(jwt_exporter::config::DEFAULT_PATH).exists() {
        return;
    }
    let output = program(&["-check-config"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("There is no /config/config.yaml: the defaults hold.\n"), "{text}");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let output = Command::new(env!("CARGO_BIN_EXE_jwt-exporter"))
        .arg(std::ffi::OsStr::from_bytes(b"-conf\xff"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("argument 1 is not UTF-8 text\nUsage:"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_jwt-exporter")).arg("-help").stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
