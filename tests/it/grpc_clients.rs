//! Clients that are not ours, against the booking system through the gateway.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::Ends;

/// `tests/clients/grpc.mjs` names what it checks: unary calls, a stream and its cancellation, a deadline, status details,
/// methods that are not exposed, calls without a token, the gateway's own health.
#[test]
fn grpc_js_finds_every_service_as_it_is() {
    runs("grpc.mjs", 7);
}

/// `tests/clients/websocket.mjs`: npm `ws` and Node's own WebSocket watch an event.
#[test]
fn browsers_sockets_watch_an_event() {
    runs("websocket.mjs", 5);
}

/// Runs a script of clients against a booking system of its own: so many checks hold.
fn runs(script: &str, checks: usize) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(clients.join("node_modules").is_dir(), "the clients are not installed: .ci/install test");
    let demo = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["demo", "--port", "0", "--admin-port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut demo = Ends(demo);
    let mut lines = BufReader::new(demo.0.stdout.take().expect("its stdout")).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let at = line.find("http://")? + "http://".len();
        Some(line[at..].split_whitespace().next()?.trim_end_matches('.').to_owned())
    });
    let address = address.expect("where it listens");

    let output = Command::new("node").arg(script).arg(&address).current_dir(&clients).output().expect("node");

    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.matches("ok - ").count(), checks, "{out}");
}
