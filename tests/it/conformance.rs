//! `transom conformance`: protobuf's own suite with it as the testee, and what a runner could do wrong.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Every case of release 33.2 up to edition 2023, required and recommended. None is expected to fail, and the counts are
/// those of the release: a run of fewer cases is no success.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn protobufs_own_suite_passes() {
    let installed = |name: &str| -> PathBuf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance").join(name);
        assert!(path.exists(), "the conformance runner is not installed: .ci/install test");
        path
    };
    let failures = tempfile::tempdir().expect("a folder");
    let runner = Command::new(installed("runner"))
        .args(["--enforce_recommended", "--maximum_edition", "2023", "--output_dir"])
        .arg(failures.path())
        .arg(env!("CARGO_BIN_EXE_transom"))
        .args(["conformance", "--descriptors"])
        .arg(installed("messages.binpb"))
        .output()
        .expect("the runner starts");

    let said = String::from_utf8_lossy(&runner.stderr);
    let suites: Vec<&str> = said.lines().filter(|line| line.starts_with("CONFORMANCE SUITE")).collect();
    let expected = [
        "CONFORMANCE SUITE PASSED: 5567 successes, 0 skipped, 0 expected failures, 0 unexpected failures.",
        // The text format.
        "CONFORMANCE SUITE PASSED: 0 successes, 883 skipped, 0 expected failures, 0 unexpected failures.",
    ];
    assert!(runner.status.success() && suites == expected, "{said}");
}

/// The command on these bytes, with google's types as its descriptors.
fn testee(stdin: &[u8]) -> Output {
    let descriptors = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/booking.binpb");
    let mut testee = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["conformance", "--descriptors"])
        .arg(descriptors)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    testee.stdin.take().expect("its stdin").write_all(stdin).expect("written");
    testee.wait_with_output().expect("it ends")
}

/// A request: its payload's field and bytes, the output format, the message's type.
fn request(payload: u8, content: &[u8], format: u8, message_type: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let message = [field(payload, content), vec![3 << 3, format], field(4, message_type.as_bytes())].concat();
    [&(message.len() as u32).to_le_bytes()[..], &message].concat()
}

/// Which member of the response's `result` is set, and its content.
fn answers(mut stdout: &[u8]) -> Vec<(u8, String)> {
    let mut answers = Vec::new();
    while let [a, b, c, d, tag, len, rest @ ..] = stdout {
        assert_eq!(u32::from_le_bytes([*a, *b, *c, *d]), u32::from(*len) + 2);
        let (content, rest) = rest.split_at(usize::from(*len));
        answers.push((tag >> 3, String::from_utf8_lossy(content).into_owned()));
        stdout = rest;
    }
    answers
}

#[test]
fn a_testee_says_what_it_cannot_do() {
    const PROTOBUF: u8 = 1;
    const JSON: u8 = 2;
    const DURATION: &str = "google.protobuf.Duration";
    let stdin = [
        request(1, b"", PROTOBUF, "conformance.FailureSet"),
        request(2, b"\"1.5s\"", JSON, DURATION),
        request(1, b"\x08\x01", JSON, DURATION),
        request(1, b"\x10\x02\x08\x01", PROTOBUF, DURATION),
        request(1, b"\x08\x01", 3, DURATION),
        request(1, b"\x08\x01", 4, DURATION),
        request(7, b"[]", JSON, DURATION),
        request(8, b"", JSON, DURATION),
        request(1, b"", PROTOBUF, "no.Such"),
        request(1, b"", 0, DURATION),
        request(2, b"", JSON, DURATION),
        request(1, b"\x08", JSON, DURATION),
        request(1, b"\x10\xff\xff\xff\xff\x07", JSON, DURATION),
    ];
    let output = testee(&stdin.concat());

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = answers(&output.stdout);
    let (parse_error, runtime_error, protobuf, json, skipped, serialize_error) = (1, 2, 3, 4, 5, 6);
    let kinds: Vec<u8> = answers.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [
            protobuf,
            json,
            json,
            protobuf,
            skipped,
            skipped,
            skipped,
            skipped,
            runtime_error,
            runtime_error,
            parse_error,
            parse_error,
            serialize_error
        ],
        "{answers:?}"
    );
    assert_eq!(answers[0].1, "");
    assert_eq!(answers[1].1, "\"1.500s\"");
    assert_eq!(answers[2].1, "\"1s\"");
    assert_eq!(answers[3].1, "\x08\x01\x10\x02");
}

#[test]
fn what_is_no_request_ends_the_testee() {
    for (stdin, why) in [
        (&b"\x05\0\0"[..], "stdin ends inside a request"),
        (b"\x05\0\0\0\x0a", "stdin ends inside a request"),
        (b"\xff\xff\xff\xff", "a request of 4294967295 bytes"),
        (b"\x01\0\0\0\xff", "not a ConformanceRequest"),
    ] {
        let output = testee(stdin);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_transom")).args(["conformance", "--descriptors", "no.binpb"]).output();
    assert_eq!(output.expect("the command runs").status.code(), Some(1));
}
