//! How a line is written. By hand: a serializer would cost more than the rest of the call's bookkeeping.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Entry;

/// Text of a client is cut to this many bytes.
const LONGEST_TEXT: usize = 1024;

/// The wall clock is read again after so long; between, calls are placed by the clock that timed them.
const READ: Duration = Duration::from_secs(1);

/// The time as text: the date is formatted once a second, each call writes six digits. And each has read one clock already, when
/// it ended, which is read here by what it said when the wall clock was read last: a second reading would be 35 ns of a call.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the wall clock was read, and what it said.
    read: Option<(Instant, Duration)>,
    second: u64,
    /// `2026-11-22T00:48:15.000000Z`
    text: [u8; 27],
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { read: None, second: u64::MAX, text: *b"1970-01-01T00:00:00.000000Z" }
    }

    /// RFC 3339 in UTC, with microseconds; `now` reads the wall clock, as time since the epoch.
    pub(super) fn at(&mut self, instant: Instant, now: impl FnOnce() -> Duration) -> &[u8] {
        let since = match self.read {
            Some((read, said)) if instant.saturating_duration_since(read) < READ => said + (instant - read),
            _ => self.read.insert((instant, now())).1,
        };
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).unwrap_or_default();
            let date = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
            if let Some(date) = date.as_bytes().get(..19) {
                self.text[..19].copy_from_slice(date);
            }
        }
        let mut micros = since.subsec_micros();
        for place in self.text[20..26].iter_mut().rev() {
            *place = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        &self.text
    }
}

/// What lines say of a route: written at load, so that a call copies it.
#[derive(Debug)]
pub struct Logged {
    json: Box<[u8]>,
    rpc: Box<str>,
}

impl Logged {
    /// A route by its template and its RPC, `pkg.Service/Method`; both are empty for what has none.
    pub fn new(template: &str, rpc: &str) -> Self {
        let mut json = Vec::new();
        string(&mut json, br#"","route":""#, template);
        string(&mut json, br#"","rpc":""#, rpc);
        Self { json: json.into(), rpc: rpc.into() }
    }
}

/// One JSON object and a line feed. A key comes with all that surrounds it, which halves the number of writes.
pub(super) fn json(out: &mut Vec<u8>, time: &[u8], entry: &Entry<'_>) {
    out.extend_from_slice(br#"{"timestamp":""#);
    out.extend_from_slice(time);
    // As the process's own lines have them. What a client did wrong is no warning.
    plain(out, br#"","level":""#, if entry.status >= 500 { "WARN" } else { "INFO" });
    plain(out, br#"","log":"access","request_id":""#, entry.request_id);
    out.extend_from_slice(br#"","client":""#);
    address(out, entry.client);
    plain(out, br#"","method":""#, entry.method);
    string(out, br#"","path":""#, entry.path);
    out.extend_from_slice(&entry.route.json);
    plain(out, br#"","dialect":""#, entry.dialect.name());
    number(out, br#"","status":"#, u64::from(entry.status));
    plain(out, br#","code":""#, entry.code.name());
    number(out, br#"","duration_us":"#, u64::try_from(entry.elapsed.as_micros()).unwrap_or(u64::MAX));
    number(out, br#","bytes_in":"#, entry.bytes_in);
    number(out, br#","bytes_out":"#, entry.bytes_out);
    for (key, value) in [(&br#","endpoint":""#[..], entry.endpoint), (br#","reason":""#, entry.reason)] {
        if let Some(value) = value {
            plain(out, key, value);
            out.push(b'"');
        }
    }
    if let Some(cause) = entry.cause {
        string(out, br#","cause":""#, cause);
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

/// `00:48:15.123 GET /v1/books/7 200 OK 1.2ms library.v1.Library/GetBook 127.0.0.1:50051 01h…`
pub(super) fn text(out: &mut Vec<u8>, time: &[u8], entry: &Entry<'_>) {
    out.extend_from_slice(time.get(11..23).unwrap_or(time));
    for part in [entry.method, entry.path] {
        out.push(b' ');
        escaped(out, part);
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, " {} {} {:.1?}", entry.status, entry.code.name(), entry.elapsed);
    for part in [Some(&*entry.route.rpc), entry.endpoint, entry.reason, entry.cause, Some(entry.request_id)] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            out.push(b' ');
            escaped(out, part);
        }
    }
    out.push(b'\n');
}

fn string(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    escaped(out, value);
}

/// Words of our own, ids and methods need no escapes.
fn plain(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => {
            let _ = write!(out, "{v6}");
        }
    }
}

/// JSON's escapes, and with them no line feed and no terminal sequence gets through, C1 controls included.
fn escaped(out: &mut Vec<u8>, value: &str) {
    let value = &value[..value.floor_char_boundary(LONGEST_TEXT)];
    // Every byte is looked at, without a branch, which the compiler turns into vector code.
    let special = |byte: &u8| *byte < 0x20 || *byte >= 0x7f || *byte == b'"' || *byte == b'\\';
    if !value.as_bytes().iter().fold(false, |found, byte| found | special(byte)) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for character in value.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
