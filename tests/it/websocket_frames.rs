//! WebSocket, frame by frame: what a library would not send.

use serde_json::json;

use crate::support::gateway::{Running, gateway};
use crate::support::raw::Raw;
use crate::websocket::{service, start};

/// A connection after its handshake, frame by frame.
pub(crate) async fn upgraded(gateway: &Running, path: &str) -> Raw {
    let mut raw = gateway.raw().await;
    raw.write(format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // RFC 6455 §1.3 has this example.
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    raw
}

/// A masked frame, its first byte given.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0xfe);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0xff);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    frame
}

/// The code of the first close frame in bytes that are whole frames up to it.
pub(crate) fn close_code(mut bytes: &[u8]) -> Option<u16> {
    loop {
        let (length, start) = match *bytes.get(1)? {
            126 => (usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])), 4),
            length => (usize::from(length), 2),
        };
        let payload = bytes.get(start..start + length)?;
        if bytes[0] == 0x88 {
            return Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
        }
        bytes = &bytes[start + length..];
    }
}

/// Reads until a close frame has come, or the connection's end.
pub(crate) async fn until_close(raw: &mut Raw) -> Vec<u8> {
    while close_code(raw.received()).is_none() && raw.more().await {}
    raw.received().to_vec()
}

#[tokio::test]
async fn hostile_frames_are_closed_with_the_protocols_codes() {
    let config = "methods: { rules.v1.Rules/Chat: { limits: { body: 1KiB } } }";
    let service = service().await;
    let keys = "limits: { send: 1KiB }";
    let builder = gateway().descriptors("rules").upstream_with("rules", &[&service], keys).config(config);
    let gateway = builder.start().await;
    let mut unmasked = vec![0x81, 2];
    unmasked.extend_from_slice(b"{}");
    let mut announced = vec![0x81, 0xff];
    announced.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    announced.extend_from_slice(&[0; 4]);
    let long = vec![b' '; 1025];
    let halves = [client_frame(0x01, &[b' '; 600]), client_frame(0x80, &[b' '; 600])].concat();
    for (what, frames, code) in [
        ("an unmasked frame", unmasked, 1002),
        ("a reserved bit", client_frame(0xc1, b"{}"), 1002),
        ("an opcode that does not exist", client_frame(0x83, b"{}"), 1002),
        ("a continuation of nothing", client_frame(0x80, b"{}"), 1002),
        ("a message within a message", [client_frame(0x01, b"{"), client_frame(0x81, b"{}")].concat(), 1002),
        ("a ping in parts", client_frame(0x09, b"x"), 1002),
        ("a ping too long", client_frame(0x89, &[b'x'; 126]), 1002),
        ("a close of one byte", client_frame(0x88, b"x"), 1002),
        ("no UTF-8", client_frame(0x81, b"\"\xff\""), 1007),
        ("half a character at the end", client_frame(0x81, b"\"\xc3"), 1007),
        ("a frame that announces too much", announced, 1009),
        ("a message too long", client_frame(0x81, &long), 1009),
        ("a message too long, in parts", halves, 1009),
    ] {
        let mut raw = upgraded(&gateway, "/v1/chat/7").await;
        raw.write(&frames).await;
        let answer = until_close(&mut raw).await;
        assert_eq!(close_code(&answer), Some(code), "{what}: {answer:x?}");
    }
    assert!(service.saw("Chat").calls().iter().all(|call| call.messages.is_empty() && !call.finished));
}

#[tokio::test]
async fn messages_in_parts_with_pings_between_are_whole() {
    let (service, gateway) = start().await;
    let mut raw = upgraded(&gateway, "/v1/chat/7").await;
    let frames = [
        client_frame(0x01, b"{\"te"),
        client_frame(0x89, b"are you there"),
        client_frame(0x00, b"xt\": \"\xc3"),
        client_frame(0x80, b"\xa9\"}"),
        client_frame(0x81, b""),
    ];
    // A byte at a time.
    for byte in frames.concat() {
        raw.write(&[byte]).await;
    }
    let answer = until_close(&mut raw).await;
    assert!(answer.windows(13).any(|window| window == b"are you there"), "{answer:x?}");
    assert_eq!(close_code(&answer), Some(1000));
    service.saw("Chat").message(&json!({ "id": "7", "text": "é" }));
}
