//! `transom descriptors`: a folder of .proto files in, a descriptor set out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn descriptors(protos: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transom"))
        .arg("descriptors")
        .arg(protos)
        .arg("-o")
        .arg(output)
        .output()
        .expect("the command runs")
}

#[test]
fn the_set_can_be_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let protos = folder.path().join("proto");
    fs::create_dir(&protos).expect("a folder");
    let proto = "
        syntax = \"proto3\";
        package a;
        import \"google/api/annotations.proto\";
        message M { string id = 1; }
        service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1/{id}\" }; } }
    ";
    fs::write(protos.join("a.proto"), proto).expect("written");
    let set = folder.path().join("a.binpb");
    let done = descriptors(&protos, &set);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));

    let config = folder.path().join("transom.yaml");
    fs::write(&config, "schema: { descriptor_sets: a.binpb }\nupstreams: { a: { services: a.S, endpoints: 'h:1' } }\n")
        .expect("written");
    let checked = Command::new(env!("CARGO_BIN_EXE_transom")).arg("check").arg("--config").arg(&config).output();
    let checked = checked.expect("the command runs");
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));

    let first = fs::read(&set).expect("the set");
    assert!(descriptors(&protos, &set).status.success());
    assert!(first == fs::read(&set).expect("the set"), "the same files give the same bytes");
}

#[test]
fn the_shipped_descriptors_are_those_of_the_protos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("booking.binpb");
    assert!(descriptors(&root.join("proto"), &set).status.success());
    let shipped = fs::read(root.join("descriptors/booking.binpb")).expect("the shipped set");
    let same = fs::read(set).expect("the set") == shipped;
    assert!(same, "proto/ has changed: cargo run -- descriptors proto -o descriptors/booking.binpb");
}

#[test]
fn every_problem_is_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.proto"), "syntax = \"proto3\";\nmessage M { Missing m = 1; }\n").expect("written");
    fs::write(folder.path().join("b.proto"), "syntax = \"proto3\";\nmessage {}\n").expect("written");
    let done = descriptors(folder.path(), &folder.path().join("out.binpb"));
    assert_eq!(done.status.code(), Some(1));
    let lines = String::from_utf8(done.stderr).expect("UTF-8");
    assert!(lines.lines().count() >= 2, "{lines}");
    assert!(lines.contains("a.proto:2:") && lines.contains("b.proto:2:"), "{lines}");
    assert!(!folder.path().join("out.binpb").exists());
}

#[test]
fn the_options_can_be_had_for_other_compilers() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = || Command::new(env!("CARGO_BIN_EXE_transom"));
    let printed = command().args(["descriptors", "--options"]).output().expect("the command runs");
    assert_eq!(printed.status.code(), Some(0), "{}", String::from_utf8_lossy(&printed.stderr));
    let protos = folder.path().join("proto");
    fs::create_dir_all(protos.join("transom")).expect("a folder");
    fs::write(protos.join("transom/options.proto"), &printed.stdout).expect("written");
    // What the reference shows of them.
    let reference = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIG.md")).expect("it");
    let shown = reference.split("```proto\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let proto = format!("syntax = \"proto3\";\n{shown}\nmessage ExportRequest {{}}\nmessage Export {{}}\n");
    fs::write(protos.join("a.proto"), proto).expect("written");
    // A compiler that has nothing built in, and this one, which then takes the folder's.
    protox::Compiler::new([&protos]).expect("a folder").open_file("a.proto").expect("the options are whole");
    let done = descriptors(&protos, &folder.path().join("a.binpb"));
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));

    let both = command().args(["descriptors", "--options", "proto"]).output().expect("the command runs");
    assert_eq!(both.status.code(), Some(2));
}
