//! `transom check`, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the command in the package's folder, without this process's variables.
fn transom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(arguments)
        .env_clear()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the command runs")
}

fn check(file: &Path) -> (Option<i32>, Vec<String>) {
    let output = transom(&["check", "--config", file.to_str().expect("UTF-8")]);
    let prefix = format!("{}:", file.display());
    let lines = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code(), lines.lines().map(|line| line.replacen(&prefix, "FILE:", 1)).collect())
}

#[test]
fn a_right_file_has_no_problems() {
    let output = transom(&["check", "--config", "examples/booking/transom.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"examples/booking/transom.yaml: no problems\n");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_wrong_file_has_a_line_for_every_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    fs::write(&file, "listen: :3000\nschema: { protos: [] }\nupstreams:\n  a: { service: [a.A], endpoints: [h] }\n")
        .expect("written");
    let (code, lines) = check(&file);
    assert_eq!(code, Some(1));
    assert_eq!(
        lines,
        [
            "FILE:1: listen: `:3000` is not an address to listen on; write `0.0.0.0:3000`",
            "FILE:4: upstreams.a.services: is missing; write a list, each item a service's full name such as `pkg.Service`",
            "FILE:4: upstreams.a.endpoints[0]: `h` is not an endpoint; its port is missing; write `host:port`",
            "FILE:4: upstreams.a.service: unknown key; did you mean `services`?",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, lines) = check(&folder.path().join("none.yaml"));
    assert_eq!((code, lines.len()), (Some(1), 1));
    assert!(lines[0].starts_with("FILE: cannot be read: "), "{lines:?}");

    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("written");
    assert_eq!(check(&binary), (Some(1), vec!["FILE: cannot be read: it is not UTF-8".to_owned()]));

    let endless = Path::new("/dev/zero");
    assert_eq!(check(endless).0, Some(1));
}

#[test]
fn the_schema_is_json() {
    let output = transom(&["check", "--schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["properties"]["upstreams"]["additionalProperties"]["required"][0], "services");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [&[][..], &["check"], &["chekc"], &["check", "--config"], &["check", "--config", "a", "--schema"]]
    {
        assert_eq!(transom(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
