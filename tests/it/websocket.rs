//! WebSocket: streaming methods from a browser, a message a frame.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use transom::server::Limits;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{fail, ok, stream};
use crate::support::socket::Socket;
use crate::support::upstream::{self, Upstream};
use crate::websocket_frames::{client_frame, close_code, until_close, upgraded};

pub(crate) async fn service() -> Upstream {
    upstream::grpc("rules.v1.Rules")
        .bidi("Chat", |message| vec![message.clone()])
        .client_stream("Collect", |messages| ok(json!({ "numbers": [messages.len()] })))
        .server_stream("Watch", |request| match request["text"].as_str() {
            Some("fails") => fail(Code::NotFound, "no such thing"),
            Some("breaks") => ok(json!({ "text": "a" })).then_fail(Code::Aborted, "enough"),
            Some("hangs") => ok(json!({ "text": "a" })).then_hang(),
            _ => stream([json!({ "id": request["id"], "text": "a" }), json!({ "color": "RED" })]),
        })
        .unary("Thing", |request| ok(request.clone()))
        .start()
        .await
}

pub(crate) async fn start() -> (Upstream, Running) {
    start_with("", Limits::default()).await
}

async fn start_with(config: &str, limits: Limits) -> (Upstream, Running) {
    let service = service().await;
    let builder = gateway().descriptors("rules").upstream("rules", &service).limits(limits);
    let gateway = builder.config(config).start().await;
    (service, gateway)
}

async fn open(gateway: &Running, path: &str) -> Socket {
    Socket::open(gateway.address(), path, &[]).await
}

#[tokio::test]
async fn both_sides_talk_in_text() {
    let (service, gateway) = start().await;
    for path in ["/v1/chat/7", "/rules.v1.Rules/Chat?id=7"] {
        let before = service.saw("Chat").calls().len();
        let mut socket = open(&gateway, path).await;
        socket.json(&json!({ "text": "a" })).await;
        // What path and query say goes with the first message.
        assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
        socket.json(&json!({ "color": "RED" })).await;
        assert_eq!(socket.value().await, json!({ "color": "RED" }));
        socket.end().await;
        assert_eq!(socket.closed().await, (1000, String::new()));
        let saw = service.saw("Chat");
        saw.times(before + 1).messages(&[json!({ "id": "7", "text": "a" }), json!({ "color": "RED" })]);
        assert!(saw.last().finished);
    }
    let line = &gateway.logged(2).await[1];
    assert_eq!((&line["status"], &line["dialect"], &line["code"]), (&json!(101), &json!("websocket"), &json!("OK")));
    assert_eq!(line["bytes_in"], 12 + 15);
}

#[tokio::test]
async fn binary_frames_are_protobuf() {
    let (_service, gateway) = start().await;
    let mut socket = open(&gateway, "/rules.v1.Rules/Chat").await;
    socket.send(Message::binary(b"\x22\x01a".to_vec())).await;
    assert_eq!(socket.frame().await, Some(Message::binary(b"\x22\x01a".to_vec())));
    // An empty one is a message, unlike an empty text.
    socket.send(Message::binary(Vec::new())).await;
    assert_eq!(socket.frame().await, Some(Message::binary(Vec::new())));
    // Each frame is read by its kind; answers stay with the first one's.
    socket.json(&json!({ "text": "b" })).await;
    assert_eq!(socket.frame().await, Some(Message::binary(b"\x22\x01b".to_vec())));
    // Path and query have no place in it.
    let mut socket = open(&gateway, "/v1/chat/7").await;
    socket.send(Message::binary(b"\x22\x01a".to_vec())).await;
    assert_eq!(socket.closed().await.0, 4003);
}

#[tokio::test]
async fn a_binary_frame_does_not_change_what_the_path_binds() {
    let (service, gateway) = start().await;
    for path in ["/v1/chat/7", "/rules.v1.Rules/Chat?id=7"] {
        let mut socket = open(&gateway, path).await;
        socket.json(&json!({ "text": "a" })).await;
        assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
        socket.send(Message::binary(b"\x0a\x018".to_vec())).await;
        assert_eq!(socket.value().await["error"]["code"], 3);
        assert_eq!(socket.closed().await.0, 4003);
        service.saw("Chat").messages(&[json!({ "id": "7", "text": "a" })]);
    }
}

#[tokio::test]
async fn a_subprotocol_says_how_answers_are_written() {
    let (_service, gateway) = start().await;
    let path = "/v1/things/7:watch";
    let mut socket = Socket::open(gateway.address(), path, &[("sec-websocket-protocol", "other, proto")]).await;
    assert_eq!(socket.protocol.as_deref(), Some("proto"));
    assert_eq!(socket.frame().await, Some(Message::binary(b"\x0a\x017\x22\x01a".to_vec())));
    let mut socket = Socket::open(gateway.address(), path, &[("sec-websocket-protocol", "json")]).await;
    assert_eq!(socket.protocol.as_deref(), Some("json"));
    assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
    let unknown = Socket::try_open(gateway.address(), path, &[("sec-websocket-protocol", "other")]).await;
    assert_eq!(unknown.err().unwrap(), 400);
}

#[tokio::test]
async fn a_server_stream_is_asked_by_its_path_or_by_one_message() {
    let (service, gateway) = start().await;
    let mut socket = open(&gateway, "/v1/things/7:watch?text=x&$alt=json;enum-encoding=int").await;
    assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
    assert_eq!(socket.value().await, json!({ "color": 1 }));
    assert_eq!(socket.closed().await.0, 1000);
    service.saw("Watch").message(&json!({ "id": "7", "text": "x" }));

    let mut socket = open(&gateway, "/rules.v1.Rules/Watch").await;
    socket.json(&json!({ "id": "8" })).await;
    assert_eq!(socket.value().await, json!({ "id": "8", "text": "a" }));
    assert_eq!(socket.value().await, json!({ "color": "RED" }));
    assert_eq!(socket.closed().await.0, 1000);

    // What is asked already takes no messages.
    let mut socket = open(&gateway, "/v1/things/7:watch?text=hangs").await;
    socket.value().await;
    socket.json(&json!({})).await;
    assert_eq!(socket.value().await["error"]["code"], 3);
    assert_eq!(socket.closed().await.0, 4003);
    service.cancelled("Watch", 1).await;
}

#[tokio::test]
async fn a_client_stream_ends_with_an_empty_text() {
    let (service, gateway) = start().await;
    let mut socket = open(&gateway, "/rules.v1.Rules/Collect").await;
    for number in 0..3 {
        socket.json(&json!({ "numbers": [number] })).await;
    }
    socket.end().await;
    assert_eq!(socket.value().await, json!({ "numbers": [3] }));
    assert_eq!(socket.closed().await.0, 1000);
    service.saw("Collect").times(1);
    // Nothing comes after the end.
    let mut socket = open(&gateway, "/rules.v1.Rules/Watch").await;
    socket.json(&json!({ "text": "hangs" })).await;
    socket.value().await;
    socket.json(&json!({})).await;
    socket.value().await;
    assert_eq!(socket.closed().await, (4003, "this method takes one message".to_owned()));
}

#[tokio::test]
async fn a_status_is_a_close_code_with_its_details_before() {
    let (_service, gateway) = start().await;
    let mut socket = open(&gateway, "/v1/things/7:watch?text=fails").await;
    let error = socket.value().await;
    assert_eq!(error["error"], json!({ "code": 5, "message": "no such thing" }));
    assert_eq!(socket.closed().await, (4005, "no such thing".to_owned()));
    let mut socket = open(&gateway, "/v1/things/7:watch?text=breaks").await;
    socket.value().await;
    socket.value().await;
    assert_eq!(socket.closed().await, (4010, "enough".to_owned()));
    // A client of protobuf has the code alone.
    let mut socket = Socket::open(
        gateway.address(),
        "/v1/things/7:watch?text=fails",
        &[("sec-websocket-protocol", "proto"), ("x-request-id", "mine")],
    )
    .await;
    assert_eq!(socket.request_id, "mine");
    assert_eq!(socket.closed().await.0, 4005);
    let lines = gateway.logged(3).await;
    assert_eq!((&lines[2]["code"], &lines[2]["request_id"]), (&json!("NOT_FOUND"), &json!("mine")));
}

#[tokio::test]
async fn a_wrong_message_is_an_invalid_argument() {
    let (service, gateway) = start().await;
    for text in ["{\"nope\": 1}", "{", "[]", "{\"id\": \"8\"}"] {
        let mut socket = open(&gateway, "/v1/chat/7").await;
        socket.send(Message::text(text)).await;
        assert_eq!(socket.value().await["error"]["code"], 3, "{text}");
        assert_eq!(socket.closed().await.0, 4003);
    }
    assert!(service.saw("Chat").calls().iter().all(|call| call.messages.is_empty() && !call.finished));
}

#[tokio::test]
async fn what_is_wrong_with_the_handshake_is_an_http_error() {
    let (service, gateway) = start().await;
    let upgrade = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n{headers}\r\n")
    };
    const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "sec-websocket-version: 13\r\n";
    for (path, headers, status) in [
        ("/v1/chat/7", KEY.to_owned(), "400"),
        ("/v1/chat/7", format!("{KEY}sec-websocket-version: 8\r\n"), "400"),
        ("/v1/chat/7", VERSION.to_owned(), "400"),
        ("/v1/chat/7", format!("{VERSION}sec-websocket-key: abc\r\n"), "400"),
        ("/v1/chat/7", format!("{VERSION}{KEY}{KEY}"), "400"),
        ("/v1/things/7:watch?nope=1", format!("{VERSION}{KEY}"), "400"),
        ("/v1/nowhere", format!("{VERSION}{KEY}"), "404"),
        ("/rules.v1.Rules/Thing", format!("{VERSION}{KEY}"), "405"),
        // One message each way: an answer, and no socket.
        ("/v1/things/7", format!("{VERSION}{KEY}"), "200"),
        ("/livez", format!("{VERSION}{KEY}"), "200"),
    ] {
        let mut raw = gateway.raw().await;
        let answer = raw.write(upgrade(path, &headers)).await.read_to_end().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {headers:?}: {answer}");
        assert_eq!(answer.contains("\r\nsec-websocket-version: 13\r\n"), status == "400", "{answer}");
    }
    service.saw("Chat").times(0);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_at_once() {
    let (service, gateway) = start().await;
    let mut closing = open(&gateway, "/v1/things/7:watch?text=hangs").await;
    closing.value().await;
    let goodbye = CloseFrame { code: 1000.into(), reason: "enough".into() };
    closing.send(Message::Close(Some(goodbye))).await;
    service.cancelled("Watch", 1).await;
    assert_eq!(closing.closed().await.0, 1000, "its close is answered");
    let mut vanishing = open(&gateway, "/v1/things/7:watch?text=hangs").await;
    vanishing.value().await;
    drop(vanishing);
    service.cancelled("Watch", 2).await;
    let mut talking = open(&gateway, "/v1/chat/7").await;
    talking.json(&json!({})).await;
    talking.value().await;
    drop(talking);
    service.cancelled("Chat", 1).await;
    for line in gateway.logged(3).await {
        assert_eq!((&line["reason"], &line["status"]), (&json!("CLIENT_GONE"), &json!(499)), "{line}");
    }
    assert_eq!(gateway.metric("transom_in_flight"), 0.0);
}

#[tokio::test]
async fn a_call_of_a_socket_has_its_deadline() {
    let service = upstream::grpc("rules.v1.Rules").bidi("Chat", |_| vec![]).start().await;
    let config = "methods: { rules.v1.Rules/Chat: { timeout: 100ms } }";
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
    let mut socket = open(&gateway, "/v1/chat/7").await;
    assert_eq!(socket.value().await["error"]["code"], 4);
    assert_eq!(socket.closed().await.0, 4004);
}

#[tokio::test]
async fn metadata_crosses_with_the_handshake() {
    let (service, gateway) = start_with("headers: { request: [x-tenant] }", Limits::default()).await;
    let headers = [("authorization", "Bearer t"), ("x-tenant", "a"), ("x-user-id", "7"), ("cookie", "a=b")];
    let mut socket = Socket::open(gateway.address(), "/v1/chat/7", &headers).await;
    socket.json(&json!({})).await;
    socket.value().await;
    let saw = service.saw("Chat");
    saw.header("authorization", "Bearer t").header("x-tenant", "a").header("x-forwarded-for", "127.0.0.1");
    for name in ["x-user-id", "cookie", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
        saw.no_header(name);
    }
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_let_go() {
    let limits = Limits { heartbeat: Duration::from_millis(30), ..Limits::default() };
    let (service, gateway) = start_with("", limits).await;
    // One that answers stays.
    let mut socket = open(&gateway, "/v1/chat/7").await;
    for _ in 0..6 {
        assert!(matches!(socket.any().await, Message::Ping(_)));
    }
    socket.json(&json!({ "text": "a" })).await;
    assert_eq!(socket.value().await["text"], "a");
    // One that reads nothing and answers nothing.
    let mut raw = upgraded(&gateway, "/v1/chat/8").await;
    raw.write(&client_frame(0x81, b"{}")).await;
    service.cancelled("Chat", 1).await;
    assert!(close_code(&until_close(&mut raw).await) == Some(1001));
}

#[tokio::test]
async fn a_stopping_gateway_says_that_it_goes_away() {
    let config = "drain_timeout: 200ms";
    let limits = Limits { lame_duck: Duration::ZERO, ..Limits::default() };
    let (_service, mut gateway) = start_with(config, limits).await;
    let mut socket = open(&gateway, "/v1/chat/7").await;
    socket.json(&json!({ "text": "a" })).await;
    socket.value().await;
    gateway.shut_down();
    // It is a call in flight until the time is over.
    socket.json(&json!({ "text": "b" })).await;
    assert_eq!(socket.value().await, json!({ "text": "b" }));
    assert_eq!(socket.value().await["error"]["code"], 14);
    assert_eq!(socket.closed().await.0, 1001);
    gateway.ended().await.unwrap();
}

#[tokio::test]
async fn a_draining_gateway_waits_for_its_sockets() {
    let (_service, mut gateway) = start().await;
    let mut socket = open(&gateway, "/v1/chat/7").await;
    socket.json(&json!({ "text": "a" })).await;
    socket.value().await;
    gateway.shut_down();
    socket.json(&json!({ "text": "b" })).await;
    socket.value().await;
    socket.end().await;
    assert_eq!(socket.closed().await.0, 1000);
    gateway.ended().await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for() {
    let service = upstream::grpc("rules.v1.Rules").server_stream("Watch", |_| {
        let book = json!({ "text": "x".repeat(1000) });
        stream(std::iter::repeat_n(book, 20_000))
    });
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    let mut socket = open(&gateway, "/v1/things/7:watch").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gateway.lines().len(), 0, "the call is still open");
    for _ in 0..20_000 {
        assert_eq!(socket.value().await["text"].as_str().unwrap().len(), 1000);
    }
    assert_eq!(socket.closed().await.0, 1000);
}

#[tokio::test]
async fn a_socket_opens_over_http2_too() {
    let (service, gateway) = start().await;
    let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    crate::support::until("the server's settings", async || client.is_extended_connect_protocol_enabled()).await;
    let request = http::Request::builder()
        .method("CONNECT")
        .uri(format!("http://{}/v1/chat/7", gateway.address()))
        .version(http::Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    let response = crate::support::soon("the head", response).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    send.send_data(client_frame(0x81, b"{\"text\":\"a\"}").into(), false).unwrap();
    let data = crate::support::soon("the answer", body.data()).await.unwrap().unwrap();
    assert_eq!(&data[2..], b"{\"id\":\"7\",\"text\":\"a\"}");
    send.send_data(client_frame(0x81, b"").into(), false).unwrap();
    let mut rest = Vec::new();
    while let Some(Ok(data)) = crate::support::soon("the close", body.data()).await {
        rest.extend_from_slice(&data);
        if close_code(&rest).is_some() {
            break;
        }
    }
    assert_eq!(close_code(&rest), Some(1000));
    service.saw("Chat").times(1);
    // What is no WebSocket is no tunnel either.
    let other = http::Request::builder().method("CONNECT").uri("http://a/v1/chat/7").version(http::Version::HTTP_2);
    let other = other.extension(h2::ext::Protocol::from_static("connect-udp")).body(()).unwrap();
    let (response, _) = client.send_request(other, true).unwrap();
    assert_eq!(crate::support::soon("the refusal", response).await.unwrap().status(), 400);
}

#[tokio::test]
async fn limits_hold_for_sockets_too() {
    let config = "rate_limits: { text: { by: { field: text }, rate: 1/h } }\n\
        methods: { rules.v1.Rules/Chat: { limits: { messages: 2/h } }, rules.v1.Rules/Watch: { rate_limits: [text] } }";
    let (service, gateway) = start_with(config, Limits::default()).await;

    let mut socket = open(&gateway, "/v1/chat/7").await;
    for _ in 0..2 {
        socket.json(&json!({ "text": "a" })).await;
        socket.value().await;
    }
    socket.json(&json!({ "text": "a" })).await;
    assert_eq!(socket.value().await["error"]["code"], 8);
    assert_eq!(socket.closed().await.0, 4008);

    // A limit by a field: once where path and query are the message, not at all where a frame would be.
    let mut socket = open(&gateway, "/v1/things/7:watch?text=x").await;
    assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
    for path in ["/v1/things/7:watch?text=x", "/rules.v1.Rules/Watch"] {
        assert!(Socket::try_open(gateway.address(), path, &[]).await.is_err(), "{path}");
    }
    assert_eq!(service.saw("Watch").calls().len(), 1);
}
