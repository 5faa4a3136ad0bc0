//! `transom serve` and `transom demo` as processes: they start, they take their variables, they end.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::client::Call;
use crate::support::process::{Process, send};

#[test]
fn serve_listens_answers_and_drains() {
    let example = ["serve", "--config", "examples/booking/transom.yaml"];
    let gateway =
        Process::start(&example, &[("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("WORKERS", "2")]);
    gateway.get("/livez").status(200);
    gateway.get("/nothing").status(404).reason("NO_ROUTE");
    send(Call::new(gateway.admin.expect("an admin port"), "GET", "/metrics")).status(200);
    // No service runs.
    gateway.get("/api/v1/events").status(503).json(&serde_json::json!({ "error": "Service temporarily unavailable" }));

    let down = gateway.logged("cannot be connected to");
    assert!(down.contains("WARN") && down.contains("Connection refused"), "why it is so is told: {down}");

    let (code, log) = gateway.end("TERM");
    assert_eq!(code, Some(0));
    assert!(log.iter().any(|line| line.contains("/api/v1/events")), "{log:#?}");
    assert!(log.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log:#?}");
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let example = ["serve", "--config", "examples/booking/transom.yaml"];
    let gateway =
        Process::start(&example, &[("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("WORKERS", "1")]);
    // A pipe takes 64 KiB; a line, with this path, is more than one.
    let path = format!("/nothing/{}", "x".repeat(1000));
    for _ in 0..300 {
        gateway.get(&path).status(404);
    }
    let (code, log) = gateway.end("TERM");
    assert_eq!(code, Some(0));
    assert!(log.len() < 300, "the pipe took all: {}", log.len());
}

#[test]
fn serve_tells_what_it_cannot() {
    let run = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["serve", "--config", "examples/booking/transom.yaml"])
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the command runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, lines) = run(&[("PORT", "http")]);
    assert_eq!(code, Some(1));
    assert!(lines.starts_with("examples/booking/transom.yaml:6: listen: `0.0.0.0:http` is not an address"), "{lines}");

    let (code, lines) = run(&[("RUST_LOG", "info,=x=")]);
    assert_eq!((code, lines.starts_with("RUST_LOG: ")), (Some(1), true), "{lines}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let (code, lines) = run(&[("HOST", "127.0.0.1"), ("PORT", &port), ("ADMIN_PORT", "0")]);
    assert_eq!(code, Some(1));
    assert!(lines.contains(&format!("127.0.0.1:{port}: ")) && lines.contains("another port for `listen`"), "{lines}");
    let (code, lines) = run(&[("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", &port)]);
    assert_eq!((code, lines.contains("another port for `admin.listen`")), (Some(1), true), "{lines}");
}

#[cfg(feature = "demo")]
mod demo {
    use super::*;

    #[test]
    fn the_demo_serves_the_booking_system() {
        let demo = Process::start(&["demo", "--port", "0", "--admin-port", "0", "--instances", "1"], &[]);
        let events = demo.get("/api/v1/events?page_size=1");
        assert_eq!(events.status(200).value()["events"].as_array().map(Vec::len), Some(1));
        let account = json!({ "email": "grace@example.com", "password": "compiler-1952", "firstName": "Grace" });
        demo.post("/api/v1/auth/register", &account).status(201);
        // From a page that may call, as its browser would: with cookies, if there were any.
        let said = json!({ "email": "grace@example.com", "password": "compiler-1952" });
        let login = |origin| {
            let call = Call::new(demo.address, "POST", "/api/v1/auth/login").json(&said);
            send(call.header("origin", origin).header("sec-fetch-site", "cross-site"))
        };
        let let_in = login("http://localhost:5173");
        let_in.status(200).header("access-control-allow-credentials", "true");
        assert!(let_in.headers.contains_key("set-cookie"));
        login("http://elsewhere.example").status(403).reason("CROSS_ORIGIN");
        let (code, _) = demo.end("INT");
        assert_eq!(code, Some(0));
    }

    #[test]
    fn the_demos_ports_come_from_their_variables() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port().to_string();
        let demo =
            Process::start(&["demo", "--instances", "1", "--port", "0"], &[("PORT", &port), ("ADMIN_PORT", "0")]);
        send(Call::new(demo.admin.expect("an admin port"), "GET", "/livez")).status(200);
        let refused = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["demo", "--instances", "1"])
            .env_clear()
            .envs([("PORT", &*port), ("ADMIN_PORT", "0")])
            .output()
            .expect("the command runs");
        let lines = String::from_utf8(refused.stderr).expect("UTF-8");
        assert!(lines.contains(&port) && lines.contains("or PORT and ADMIN_PORT"), "{lines}");
        assert_eq!(refused.status.code(), Some(1));
    }

    #[test]
    fn message_sizes_come_from_their_variables() {
        let sizes = [("GRPC_MAX_RECEIVE_MESSAGE_LENGTH", "64"), ("GRPC_MAX_SEND_MESSAGE_LENGTH", "256")];
        let demo = Process::start(&["demo", "--port", "0", "--admin-port", "0", "--instances", "1"], &sizes);
        demo.get("/api/v1/events").status(502).reason("RESPONSE_TOO_LARGE");
        let account = json!({ "email": "grace@example.com", "password": "x".repeat(300), "firstName": "Grace" });
        demo.post("/api/v1/auth/register", &account).status(413).reason("TOO_LARGE");
        demo.post("/api/v1/auth/login", &json!({ "email": "a@example.com", "password": "b" })).status(401);
    }

    const SECRET: &str = "the secret of these tests, 32 bytes";

    #[test]
    fn services_are_found_by_their_variables() {
        let service = |name: &str| Process::start(&["demo", "--service", name, "--port", "0"], &[]);
        let (auth, ticket) = (service("auth"), service("ticket"));
        let url = |process: &Process| format!("127.0.0.1:{}", process.address.port());
        let gateway = Process::start(
            &["serve", "--config", "examples/booking/transom.yaml"],
            &[
                ("HOST", "127.0.0.1"),
                ("PORT", "0"),
                ("ADMIN_PORT", "0"),
                ("JWT_SECRET", SECRET),
                ("GRPC_AUTH_SERVICE_URL", &url(&auth)),
                ("GRPC_TICKET_SERVICE_URL", &format!("{},127.0.0.1:1", url(&ticket))),
            ],
        );
        gateway.get("/api/v1/categories").status(200);
        gateway.post("/api/v1/auth/login", &json!({ "email": "nobody@example.com", "password": "x" })).status(401);
        gateway.get("/api/v1/payments/p1").status(401).reason("TOKEN_MISSING");
        let token = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(["token", "--config", "examples/booking/transom.yaml", "--sub", "u1", "--claim", "type=access"])
            .args(["--claim", "scope=booking payment"])
            .env_clear()
            .env("JWT_SECRET", SECRET)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the command runs");
        let bearer = format!("Bearer {}", String::from_utf8(token.stdout).expect("text").trim());
        let payment = |bearer: &str| {
            send(Call::new(gateway.address, "GET", "/api/v1/payments/p1").header("authorization", bearer))
        };
        payment(&bearer).status(503).json(&json!({ "error": "Service temporarily unavailable" }));
        payment(&format!("{bearer}A")).status(401).reason("TOKEN_INVALID");
    }
}
