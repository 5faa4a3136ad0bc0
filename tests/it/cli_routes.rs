//! `transom routes` and `transom explain`: what is served and what would become of a request.

use std::process::{Command, Output};

use serde_json::{Value, json};

const CONFIG: &str = "examples/booking/transom.yaml";

fn transom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(arguments)
        .env_clear()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the command runs")
}

/// What is printed, each run of spaces as one.
fn printed(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn explain(arguments: &[&str]) -> Vec<String> {
    printed(&transom(&[&["explain", "--config", CONFIG], arguments].concat()))
}

fn refused(arguments: &[&str]) -> String {
    let output = transom(&[&["explain", "--config", CONFIG], arguments].concat());
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn routes_say_where_each_policy_comes_from() {
    let lines = printed(&transom(&["routes", "--config", CONFIG]));
    assert_eq!(lines[0], "METHOD PATH RPC UPSTREAM TIMEOUT AUTH LIMITS POLICY");
    let has = |line: &str| assert!(lines.iter().any(|other| other.starts_with(line)), "{line} is not in {lines:#?}");
    has("GET /api/v1/events ticket.TicketService/GetEvents ticket 5s (transom.yaml:");
    has("POST /api/v1/bookings/{booking_id}:cancel booking.BookingService/CancelBooking booking 5s (transom.yaml:");
    has("gRPC /auth.AuthService/ValidateToken auth.AuthService/ValidateToken auth 5s (transom.yaml:");
    has(
        "GET /api/v1/queue/{entry_id}:watch booking.BookingWorker/WatchQueueEntry queue none (default) required scopes=booking connect_token=ws-connect (transom.yaml:",
    );
    assert!(!lines.iter().any(|line| line.contains("BookingLedger")), "{lines:#?}");
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CONFIG)).expect("a file");
    let line =
        |part: &str| format!("(transom.yaml:{})", 1 + text.lines().position(|line| line.contains(part)).expect(part));
    let login = line("\"auth.AuthService/Login\": {");
    let little = line("&little");
    has(&format!(
        "POST /api/v1/auth/login auth.AuthService/Login auth 5s {} public {login} limits.body: 4KiB {little}, limits.depth: 8 {little}, rate_limits: login account {login} priority: high {}",
        line("    timeout: 5s"),
        line("\"auth.AuthService/*\": {"),
    ));
    // What holds of all methods of an upstream, or of all, is told once.
    let (table, below) = lines.split_at(lines.iter().position(String::is_empty).expect("an empty line"));
    assert_eq!(below[1], "ALL OF POLICY");
    let once = format!("booking limits.body: 4MiB {}", line("      send: "));
    assert_eq!(below.iter().filter(|line| **line == once).count(), 1, "{below:#?}");
    assert!(below.contains(&format!("* cors.origins: http://localhost:5173 {}", line("cors: {"))), "{below:#?}");
    for everywhere in ["limits.body: 4MiB", "retry: 4 tries", "cors.origins"] {
        assert!(!table.iter().any(|line| line.contains(everywhere)), "{table:#?}");
    }
}

#[test]
fn explain_shows_what_the_rpc_gets() {
    let lines = explain(&["GET", "/api/v1/events/e%207/tickets?page_size=3"]);
    assert_eq!(lines[0], "route GET /api/v1/events/{event_id}/tickets → ticket.TicketService/GetAvailableTickets");
    assert!(lines.contains(&"path event_id = e%207".to_owned()), "{lines:#?}");
    let message = lines.iter().find(|line| line.starts_with("message ")).expect("a message");
    assert!(message.contains("\"eventId\":\"e 7\"") && message.contains("\"pageSize\":3"), "{message}");
    assert!(lines.iter().any(|line| line.starts_with("policy timeout: 5s (transom.yaml:")), "{lines:#?}");
    assert!(lines.contains(&"endpoint 127.0.0.1:50052".to_owned()), "{lines:#?}");
}

#[test]
fn explain_shows_the_candidates_that_lose() {
    let lines = explain(&["PATCH", "https://api.example.com/api/v1/bookings/b1", "-d", "{}"]);
    assert_eq!(lines[0], "route PATCH /api/v1/bookings/{booking_id} → booking.BookingService/UpdateBooking");
    let other = "not GET /api/v1/bookings/{booking_id} → booking.BookingService/GetBooking: another method";
    assert!(lines.contains(&other.to_owned()), "{lines:#?}");
}

#[test]
fn explain_knows_rpcs_and_built_in_endpoints() {
    let lines = explain(&["POST", "/auth.AuthService/ValidateToken", "-d", "{}"]);
    assert!(lines[0].ends_with("auth.AuthService/ValidateToken"), "{lines:#?}");
    assert!(lines.contains(&"message auth.ValidateTokenRequest {}".to_owned()), "{lines:#?}");
    // By GET, as Connect has it, and as only some may be called.
    let event = "/ticket.TicketService/GetEventById?connect=v1&encoding=json&message=%7B%22eventId%22%3A%22e%22%7D";
    let lines = explain(&["GET", event]);
    assert!(lines.contains(&"message ticket.GetEventByIdRequest {\"eventId\":\"e\"}".to_owned()), "{lines:#?}");
    let login = "/auth.AuthService/Login?connect=v1&encoding=json&message=%7B%7D";
    assert!(refused(&["GET", login]).contains("405 METHOD_NOT_ALLOWED"));
    assert!(refused(&["GET", "/auth.AuthService/Login"]).contains("405 METHOD_NOT_ALLOWED"));
    assert_eq!(explain(&["get", "/health"]), ["route GET /health", "answer by the gateway itself"]);
}

#[test]
fn explain_tells_why_not() {
    let lines = refused(&["GET", "/api/v1/nothing"]);
    assert!(lines.starts_with("GET /api/v1/nothing: 404 NO_ROUTE: "), "{lines}");
    let lines = refused(&["DELETE", "/api/v1/events"]);
    assert!(lines.starts_with("DELETE /api/v1/events: 405 METHOD_NOT_ALLOWED: "), "{lines}");
    assert!(lines.contains("the path is that of GET /api/v1/events → ticket.TicketService/GetEvents"), "{lines}");
    let lines = refused(&["POST", "/api/v1/auth/login", "-d", "{\"emial\": 1}"]);
    assert!(lines.contains("400 BAD_REQUEST: ") && lines.contains("emial"), "{lines}");
    let lines = refused(&["GET", "not a path"]);
    assert!(lines.contains("write a path such as `/v1/books`"), "{lines}");
}

const STREAMS: &str = r#"syntax = "proto3";
package s;
import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";
service S {
  rpc Collect(stream M) returns (M) { option (google.api.http) = { post: "/collect/{id}" body: "*" }; }
  rpc Update(U) returns (M) { option (google.api.http) = { patch: "/m/{m.id}" body: "m" }; }
}
message M { string id = 1; int32 number = 2; string foo_1 = 3; string Bar = 4; }
message U { M m = 1; google.protobuf.FieldMask update_mask = 2; }
"#;

#[test]
fn explain_shows_each_message_of_a_stream_and_any_mask() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("transom.yaml");
    std::fs::create_dir(folder.path().join("protos")).expect("a folder");
    std::fs::write(folder.path().join("protos/s.proto"), STREAMS).expect("written");
    let config = "schema: { protos: protos }\nupstreams: { s: { services: [s.S], endpoints: ['h:1'] } }\n";
    std::fs::write(&file, config).expect("written");
    let explain = |method: &str, path: &str, body: &str| {
        transom(&["explain", "--config", file.to_str().expect("UTF-8"), method, path, "-d", body])
    };
    let messages = |output: &Output| {
        let messages = printed(output).into_iter().filter_map(|line| {
            let (_, json) = line.strip_prefix("message ")?.split_once(' ')?;
            Some(serde_json::from_str::<Value>(json).expect("JSON"))
        });
        messages.collect::<Vec<_>>()
    };
    let two = explain("POST", "/collect/7", "[{\"number\": 1}, {}]");
    assert_eq!(messages(&two), [json!({ "id": "7", "number": 1 }), json!({})]);
    // Without one, what the path says is one.
    assert_eq!(messages(&explain("POST", "/collect/7", "[]")), [json!({ "id": "7" })]);
    for (body, told) in [
        ("{}", "400 BAD_REQUEST: a stream of messages is a JSON array of them (at byte 0)"),
        ("[{}, {\"number\": \"x\"}]", "400 BAD_REQUEST: [1].number: message 2: expected an integer"),
    ] {
        let output = explain("POST", "/collect/7", body);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && error.contains(told), "{error}");
    }

    // A mask that JSON cannot say is a line of its own.
    let odd = explain("PATCH", "/m/7", "{\"number\": 1, \"foo1\": \"a\", \"Bar\": \"b\"}");
    assert!(printed(&odd).contains(&"mask number, foo_1, Bar".to_owned()), "{odd:?}");
    assert_eq!(messages(&odd), [json!({ "m": { "id": "7", "number": 1, "foo1": "a", "Bar": "b" } })]);
    let plain = explain("PATCH", "/m/7", "{\"number\": 1}");
    assert_eq!(messages(&plain), [json!({ "m": { "id": "7", "number": 1 }, "updateMask": "number" })]);
}
