//! Frames that HTTP/2 forbids (RFC 9113), sent by hand: each ends its stream or its connection with the right reason, and nobody
//! else feels it.

use crate::support::frames::{ACK, END_HEADERS, END_STREAM, Head, PADDED, PREFACE, frame, kind};
use crate::support::gateway::{Running, gateway};
use crate::support::raw::Raw;
use crate::support::until;

const NO_ERROR: u32 = 0;
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nothing: it answers a PING that comes after.
    None,
    /// GOAWAY with this reason.
    Connection(u32),
    /// RST_STREAM with this reason, and the connection goes on.
    Stream(u32),
    /// The request was answered, with the status that HPACK's table has at this place or says itself.
    Answered(Vec<u8>),
    /// It was closed without a word.
    Closed,
}

const PROBE: &[u8; 8] = b"probe me";

/// Says `frames` after a proper beginning, then asks whether anybody is there.
async fn said(gateway: &Running, frames: &[u8]) -> End {
    requested(gateway, &[frames, &frame(kind::PING, 0, 0, PROBE)].concat()).await
}

/// Says `frames` after a proper beginning, and waits for what comes of them.
async fn requested(gateway: &Running, frames: &[u8]) -> End {
    let mut raw = gateway.raw().await;
    raw.write([&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[]), frames].concat()).await;
    end(&mut raw).await
}

async fn end(raw: &mut Raw) -> End {
    loop {
        while raw.received().len() < Head::LENGTH {
            if !raw.more().await {
                return End::Closed;
            }
        }
        let head = Head::read(&raw.read(Head::LENGTH).await);
        while raw.received().len() < head.length {
            if !raw.more().await {
                return End::Closed;
            }
        }
        let payload = raw.read(head.length).await;
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head.kind {
            kind::GOAWAY => return End::Connection(number(4)),
            kind::RST_STREAM => return End::Stream(number(0)),
            kind::HEADERS => return End::Answered(payload),
            kind::PING if head.flags == ACK && payload == PROBE => return End::None,
            _ => {}
        }
    }
}

/// `GET /livez` in HPACK's static table and literals.
const GET: &[u8] = b"\x82\x86\x04\x06/livez\x01\x01a";

fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, block)
}

/// A request whose body is to come; the gateway waits for it.
fn open(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, b"\x83\x86\x04\x08/nowhere\x01\x01a")
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

#[tokio::test]
async fn what_is_forbidden_to_a_connection_ends_it_with_the_reason() {
    let gateway = gateway().start().await;
    let bystander = gateway.connect_http2().await;
    bystander.get("/livez").await.unwrap().status(200);
    let split = |next: &[u8]| [&frame(kind::HEADERS, END_STREAM, 1, &GET[..4]), next].concat();
    let cases: Vec<(&str, Vec<u8>, u32)> = vec![
        ("DATA on an idle stream", frame(kind::DATA, END_STREAM, 1, b"x"), PROTOCOL),
        ("DATA on stream 0", frame(kind::DATA, 0, 0, b"x"), PROTOCOL),
        ("DATA with more padding than there is", [open(1), frame(kind::DATA, PADDED, 1, b"\x09x")].concat(), PROTOCOL),
        ("a frame longer than allowed", b"\x00\x40\x01\x00\x00\x00\x00\x00\x01".to_vec(), FRAME_SIZE),
        ("a frame of 16 MiB", b"\xff\xff\xff\x01\x04\x00\x00\x00\x01".to_vec(), FRAME_SIZE),
        ("HEADERS on stream 0", request(0, GET), PROTOCOL),
        ("HEADERS on a stream of the server's", request(2, GET), PROTOCOL),
        ("HEADERS on a stream below the last", [open(5), open(3)].concat(), PROTOCOL),
        (
            "HEADERS with more padding than there is",
            frame(kind::HEADERS, END_HEADERS | PADDED, 1, b"\xff\x82"),
            PROTOCOL,
        ),
        ("HEADERS broken up by DATA", split(&frame(kind::DATA, 0, 1, b"x")), PROTOCOL),
        ("HEADERS broken up by PING", split(&frame(kind::PING, 0, 0, PROBE)), PROTOCOL),
        ("HEADERS broken up by another stream's", split(&request(3, GET)), PROTOCOL),
        ("HEADERS broken up by a frame of no kind", split(&frame(0xbe, 0, 1, b"x")), PROTOCOL),
        ("CONTINUATION of another stream", split(&frame(kind::CONTINUATION, END_HEADERS, 3, &GET[4..])), PROTOCOL),
        ("CONTINUATION of nothing", frame(kind::CONTINUATION, END_HEADERS, 1, GET), PROTOCOL),
        ("HPACK: an index of 0", request(1, b"\x80"), COMPRESSION),
        ("HPACK: an index of nothing", request(1, b"\xff\x20"), COMPRESSION),
        ("HPACK: a number without end", request(1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION),
        ("HPACK: a string that is cut short", request(1, b"\x82\x86\x04\x7f/livez"), COMPRESSION),
        ("HPACK: Huffman's EOS", request(1, b"\x82\x86\x04\x84\xff\xff\xff\xff"), COMPRESSION),
        ("HPACK: a table larger than allowed", request(1, b"\x3f\xe1\xff\x03\x82"), COMPRESSION),
        ("PRIORITY on stream 0", frame(kind::PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
        ("RST_STREAM on stream 0", frame(kind::RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
        ("RST_STREAM on an idle stream", frame(kind::RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
        ("RST_STREAM of 3 bytes", [open(1), frame(kind::RST_STREAM, 0, 1, &[0; 3])].concat(), FRAME_SIZE),
        ("SETTINGS on a stream", frame(kind::SETTINGS, 0, 1, &[]), PROTOCOL),
        ("SETTINGS of 5 bytes", frame(kind::SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE),
        ("SETTINGS ACK that says something", frame(kind::SETTINGS, ACK, 0, &[0; 6]), FRAME_SIZE),
        ("SETTINGS: ENABLE_PUSH of 2", setting(2, 2), PROTOCOL),
        ("SETTINGS: a window over 2^31", setting(4, 1 << 31), FLOW_CONTROL),
        ("SETTINGS: frames of 1 byte", setting(5, 1), PROTOCOL),
        ("SETTINGS: frames of 16 MiB", setting(5, 1 << 24), PROTOCOL),
        (
            "PUSH_PROMISE",
            frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[&2_u32.to_be_bytes()[..], GET].concat()),
            PROTOCOL,
        ),
        ("PING on a stream", frame(kind::PING, 0, 1, PROBE), PROTOCOL),
        ("PING of 7 bytes", frame(kind::PING, 0, 0, &PROBE[..7]), FRAME_SIZE),
        ("GOAWAY on a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("WINDOW_UPDATE of 0", window(0, 0), PROTOCOL),
        ("WINDOW_UPDATE of 3 bytes", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE),
        ("WINDOW_UPDATE over 2^31", window(0, (1 << 31) - 1), FLOW_CONTROL),
        ("WINDOW_UPDATE on an idle stream", window(1, 1), PROTOCOL),
    ];
    let mut wrong = Vec::new();
    for (what, frames, reason) in cases {
        let end = said(&gateway, &frames).await;
        // Some say no more than that the protocol is broken.
        if end != End::Connection(reason) && end != End::Connection(PROTOCOL) {
            wrong.push(format!("{what}: {end:?}, not {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unharmed(&gateway).await;
    bystander.get("/livez").await.unwrap().status(200);
}

#[tokio::test]
async fn what_is_forbidden_to_a_request_costs_it_alone() {
    let gateway = gateway().start().await;
    let bad = |rest: &[u8]| request(1, &[GET, rest].concat());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a name in capitals", bad(b"\x00\x01A\x01b")),
        ("connection", bad(b"\x00\x0aconnection\x05close")),
        ("te other than trailers", bad(b"\x00\x02te\x04gzip")),
        ("transfer-encoding", bad(b"\x00\x11transfer-encoding\x07chunked")),
        ("a pseudo-header of no kind", bad(b"\x00\x05:test\x01b")),
        ("a pseudo-header of answers", bad(b"\x88")),
        ("a pseudo-header after others", request(1, b"\x82\x86\x00\x01x\x01y\x04\x06/livez")),
        (":method twice", bad(b"\x82")),
        (":path twice", bad(b"\x84")),
        (":scheme twice", bad(b"\x86")),
        ("no :method", request(1, b"\x86\x04\x06/livez")),
        ("no :scheme", request(1, b"\x82\x04\x06/livez")),
        ("no :path", request(1, b"\x82\x86")),
        ("an empty :path", request(1, b"\x82\x86\x04\x00")),
        ("a line break in a value", bad(b"\x00\x01x\x03a\r\n")),
        ("a NUL in a value", bad(b"\x00\x01x\x01\x00")),
        ("WINDOW_UPDATE of 0", [open(1), window(1, 0)].concat()),
        ("WINDOW_UPDATE over 2^31", [open(1), window(1, (1 << 31) - 1)].concat()),
        ("DATA after its end", [request(1, GET), frame(kind::DATA, END_STREAM, 1, b"x")].concat()),
        ("HEADERS after its end", [request(1, GET), request(1, GET)].concat()),
        ("a body longer than it says", {
            let head = frame(kind::HEADERS, END_HEADERS, 1, &[GET, b"\x0f\x0d\x011"].concat());
            [head, frame(kind::DATA, END_STREAM, 1, b"xyz")].concat()
        }),
        ("a stream that depends on itself", [open(1), frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 9])].concat()),
    ];
    let late = ["WINDOW_UPDATE of 0", "WINDOW_UPDATE over 2^31", "DATA after its end", "HEADERS after its end"];
    let late = [&late[..], &["a body longer than it says", "a stream that depends on itself"]].concat();
    let mut wrong = Vec::new();
    for (what, frames) in cases {
        match requested(&gateway, &frames).await {
            End::Stream(PROTOCOL | STREAM_CLOSED | FLOW_CONTROL | NO_ERROR) => {}
            End::Connection(PROTOCOL | STREAM_CLOSED | FLOW_CONTROL) => {}
            // The answer may be first where the request's head was in order.
            End::Answered(_) if late.contains(&what) => {}
            // 400, as HPACK's table has it or in letters.
            End::Answered(head) if head[0] == 0x8c || head.windows(3).any(|text| text == b"400") => {}
            other => wrong.push(format!("{what}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unharmed(&gateway).await;
}

/// libcurl before 8.0 forgets an answer that it reads together with a reset.
#[tokio::test]
async fn a_refusal_is_followed_by_no_reset_while_little_of_the_body_is_left() {
    let gateway = gateway().start().await;
    let mut raw = gateway.raw().await;
    let ping = frame(kind::PING, 0, 0, PROBE);
    raw.write([&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[]), &open(1)].concat()).await;
    assert!(matches!(end(&mut raw).await, End::Answered(_)));
    let (data, last) = (frame(kind::DATA, 0, 1, &[0; 10_000]), frame(kind::DATA, END_STREAM, 1, &[0; 10_000]));
    for (what, frames) in [("nothing", vec![]), ("some of it", data), ("the rest", last)] {
        raw.write([frames, ping.clone()].concat()).await;
        assert_eq!(end(&mut raw).await, End::None, "{what}");
    }
    // One that never ends is not waited for.
    raw.write(open(3)).await;
    assert!(matches!(end(&mut raw).await, End::Answered(_)));
    assert_eq!(end(&mut raw).await, End::Stream(NO_ERROR));
    unharmed(&gateway).await;
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let gateway = gateway().start().await;
    for (what, frames) in [
        ("a frame of no kind", frame(0xbe, 0xff, 0, b"anything")),
        ("a frame of no kind on a stream", frame(0xbe, 0xff, 7, b"anything")),
        ("a setting of no kind", setting(0xbeef, 1)),
        ("PRIORITY of an idle stream", frame(kind::PRIORITY, 0, 9, &[0, 0, 0, 1, 9])),
        ("flags that mean nothing", frame(kind::PING, 0xfe, 0, b"whatever")),
    ] {
        assert_eq!(said(&gateway, &frames).await, End::None, "{what}");
    }
}

#[tokio::test]
async fn a_beginning_that_is_none_is_not_http2() {
    let gateway = gateway().start().await;
    for beginning in
        [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n", b"PRI / HTTP/2.0\r\n\r\n"]
    {
        let mut raw = gateway.raw().await;
        raw.write(beginning).await;
        let answer = raw.read_to_end().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"),
            "{answer}"
        );
    }
    // After the preface SETTINGS come first.
    let mut raw = gateway.raw().await;
    raw.write([&PREFACE[..], &request(1, b"\x80")].concat()).await;
    assert!(matches!(end(&mut raw).await, End::Connection(PROTOCOL | COMPRESSION) | End::Closed));
    unharmed(&gateway).await;
}

#[tokio::test]
async fn floods_of_frames_that_cost_more_than_they_say_end_their_connection() {
    let gateway = gateway().start().await;
    let bystander = gateway.connect_http2().await;
    let empty = [open(1), frame(kind::DATA, 0, 1, &[]).repeat(200_000)].concat();
    let continuation =
        [frame(kind::HEADERS, END_STREAM, 1, GET), frame(kind::CONTINUATION, 0, 1, &[]).repeat(100_000)].concat();
    for (what, frames) in [("empty DATA", empty), ("empty CONTINUATION", continuation)] {
        match said(&gateway, &frames).await {
            End::Connection(CALM | PROTOCOL) | End::Closed => {}
            // A machine that keeps up has read them all, and kept nothing.
            End::None | End::Answered(_) => {}
            other => panic!("{what}: {other:?}"),
        }
        bystander.get("/livez").await.unwrap().status(200);
    }
    unharmed(&gateway).await;
}

/// It serves, nothing is left in flight, and nothing panicked.
async fn unharmed(gateway: &Running) {
    gateway.get("/livez").http2().await.status(200);
    until("nothing is in flight", async || gateway.metric("transom_in_flight") == 0.0).await;
    assert!(gateway.lines().iter().all(|line| line["reason"] != "INTERNAL"), "{:?}", gateway.lines());
}
