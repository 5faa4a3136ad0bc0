use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use transom_transcode::status::Code;

use super::line::{self, Clock};
use super::{AccessLog, Entry, Format, Logged};
use crate::telemetry::DialectName;

static ROUTE: LazyLock<Logged> = LazyLock::new(|| Logged::new("/v1/books/{id}", "library.v1.Library/GetBook"));

fn entry() -> Entry<'static> {
    Entry {
        request_id: "01h",
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        method: "GET",
        path: "/v1/books/7",
        route: &ROUTE,
        dialect: DialectName::Rest,
        status: 503,
        code: Code::Unavailable,
        ended: Instant::now(),
        elapsed: Duration::from_micros(1234),
        bytes_in: 0,
        bytes_out: 120,
        endpoint: Some("127.0.0.1:50051"),
        reason: Some("CONNECT_FAILED"),
        cause: None,
    }
}

/// Collects what is written; each write says so on the channel.
#[derive(Clone)]
struct Page(Arc<Mutex<Vec<u8>>>, mpsc::Sender<()>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        let _ = self.1.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn page() -> (Page, mpsc::Receiver<()>) {
    let (written, seen) = mpsc::channel();
    (Page(Arc::default(), written), seen)
}

fn as_json(entry: &Entry<'_>) -> Value {
    let mut line = Vec::new();
    line::json(&mut line, Clock::new().at(entry.ended, || Duration::from_micros(1_800_000_000_000_042)), entry);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_call_is_one_json_object() {
    assert_eq!(
        as_json(&entry()),
        json!({
            "timestamp": "2027-01-15T08:00:00.000042Z", "level": "WARN", "log": "access", "request_id": "01h",
            "client": "192.0.2.7",
            "method": "GET", "path": "/v1/books/7", "route": "/v1/books/{id}", "rpc": "library.v1.Library/GetBook",
            "dialect": "rest", "status": 503, "code": "UNAVAILABLE", "duration_us": 1234, "bytes_in": 0,
            "bytes_out": 120, "endpoint": "127.0.0.1:50051", "reason": "CONNECT_FAILED",
        })
    );
    assert_eq!(as_json(&Entry { status: 429, ..entry() })["level"], "INFO");
}

#[test]
fn lines_are_placed_by_one_reading_of_the_wall_clock_for_a_second() {
    let (mut clock, start) = (Clock::new(), Instant::now());
    let mut at = |after, says| String::from_utf8(clock.at(start + after, || says).to_vec()).unwrap();
    let (second, micros) = (Duration::from_secs, Duration::from_micros);
    assert_eq!(at(second(0), second(100) + micros(999_000)), "1970-01-01T00:01:40.999000Z");
    assert_eq!(at(micros(1_001), second(500)), "1970-01-01T00:01:41.000001Z", "not read again");
    assert_eq!(at(second(1), second(200)), "1970-01-01T00:03:20.000000Z", "somebody has set it");
}

#[test]
fn hostile_text_stays_inside_its_string() {
    let hostile = "/\",\"status\":200\n\r\t\\\u{1b}[2J\u{9b}1m\u{7f}é";
    assert_eq!(as_json(&Entry { path: hostile, ..entry() })["path"], hostile);

    let mut line = Vec::new();
    line::text(&mut line, Clock::new().at(Instant::now(), Duration::default), &Entry { path: hostile, ..entry() });
    let text = String::from_utf8(line).unwrap();
    assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{text:?}");
}

#[test]
fn a_route_is_escaped_once() {
    let route = Logged::new("/v1/\"/{id}", "library.v1.Library/GetBook");
    assert_eq!(as_json(&Entry { route: &route, ..entry() })["route"], "/v1/\"/{id}");
}

#[test]
fn long_text_is_cut_between_characters() {
    let long = "é".repeat(5000);
    assert_eq!(as_json(&Entry { path: &long, ..entry() })["path"].as_str().unwrap().len(), 1024);
}

#[test]
fn a_terminal_gets_a_short_line() {
    let mut line = Vec::new();
    line::text(&mut line, Clock::new().at(Instant::now(), Duration::default), &entry());
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "00:00:00.000 GET /v1/books/7 503 UNAVAILABLE 1.2ms library.v1.Library/GetBook 127.0.0.1:50051 CONNECT_FAILED 01h\n"
    );
}

#[test]
fn a_line_is_written_without_a_next_one() {
    let (page, seen) = page();
    let log = AccessLog::to(page.clone(), Format::Json, Arc::default()).unwrap();
    let buffer = log.buffer();
    buffer.write(&entry());
    seen.recv_timeout(Duration::from_secs(10)).expect("written by time");
    assert!(page.0.lock().ends_with(b"}\n"));
}

#[test]
fn a_flush_waits_for_every_worker() {
    let (page, _seen) = page();
    let log = AccessLog::to(page.clone(), Format::Json, Arc::default()).unwrap();
    let buffers = [log.buffer(), log.buffer()];
    for _ in 0..500 {
        buffers.iter().for_each(|buffer| buffer.write(&entry()));
    }
    drop(buffers);
    log.flush();
    assert_eq!(page.0.lock().iter().filter(|byte| **byte == b'\n').count(), 1000);
}

#[test]
fn a_stuck_writer_costs_lines_not_memory() {
    struct Stuck(mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (release, stuck) = mpsc::channel();
    let lost = Arc::new(AtomicU64::new(0));
    let log = AccessLog::to(Stuck(stuck), Format::Json, lost.clone()).unwrap();
    let buffer = log.buffer();
    for _ in 0..10_000 {
        buffer.write(&entry());
    }
    let lost = lost.load(Ordering::Relaxed);
    assert!((1..10_000).contains(&lost), "{lost}");
    drop(release);
}
