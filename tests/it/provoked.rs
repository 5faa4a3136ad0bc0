//! Services that answer INTERNAL to a client's own bytes: their endpoints are in good order.

use bytes::Bytes;
use h2::Reason;
use transom::demo::{DESCRIPTORS, Service};

use crate::demo_client::system;
use crate::support::bare::{Bare, read};
use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;

const BREAKER: &str = "circuit_breaker: { failures: 2, open_for: 60s }";
const EVENTS: &str = "/ticket.TicketService/GetEvents";
const SEATS: &str = "/ticket.TicketService/GetAvailableTickets";
const WATCH: &str = "/ticket.TicketService/WatchEvent";

/// Well-formed to the last byte, but for a service that knows the fields.
const OF_OTHER_TYPES: &[u8] = b"\x0a\x02\xff\xfe\x12\x02\xff\xfe\x1a\x02\xff\xfe";

async fn ask(gateway: &Running, path: &str, content_type: &str, body: Bytes) -> String {
    let call = gateway.request("POST", path).http2().header("content-type", content_type).body(body);
    let call = match content_type {
        "application/proto" => call.header("connect-protocol-version", "1"),
        _ => call.header("te", "trailers"),
    };
    let reply = call.await;
    let status = reply.headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    status.unwrap_or_else(|| reply.text())
}

async fn circuit(gateway: &Running) -> String {
    let upstreams = gateway.admin("/upstreams").await.value();
    upstreams["upstreams"][0]["circuit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bytes_that_are_no_message_open_no_breaker() {
    let system = system().await;
    let endpoints: Vec<_> = system.running.addresses(Service::Ticket).iter().map(ToString::to_string).collect();
    let builder = gateway().descriptor_set(DESCRIPTORS.to_vec());
    let gateway = builder.upstream_at("ticket", "ticket.TicketService", &endpoints[..1], BREAKER).start().await;
    let asked = [
        (SEATS, "application/grpc", frame(b"\xff\xff\xff\xff\xff"), "13"),
        (EVENTS, "application/grpc", frame(OF_OTHER_TYPES), "13"),
        (EVENTS, "application/grpc-web+proto", frame(OF_OTHER_TYPES), "13"),
        (EVENTS, "application/proto", Bytes::from_static(OF_OTHER_TYPES), "internal"),
        (WATCH, "application/grpc", frame(OF_OTHER_TYPES), "13"),
    ];
    for (path, content_type, body, said) in asked {
        for _ in 0..3 {
            let answer = ask(&gateway, path, content_type, body.clone()).await;
            assert!(answer.contains(said), "{path} {content_type} {body:x?}: {answer}");
        }
        assert_eq!(circuit(&gateway).await, "closed", "{path} {content_type} {body:x?}");
    }
    gateway.get("/api/v1/events").await.status(200);
}

/// grpc-java's way to say that it cannot read a message.
#[tokio::test]
async fn a_stream_that_is_cancelled_for_what_it_brought_opens_no_breaker() {
    let builder = h2::server::Builder::new();
    let service = Bare::start(builder, async |request, mut respond| {
        read(request).await;
        respond.send_reset(Reason::CANCEL);
    })
    .await;
    let gateway = gateway().descriptors("library").expose_all();
    let gateway = gateway.upstream_at("library", "library.v1.Library", &[service.address()], BREAKER).start().await;
    // Compressed, it says, and not in which way.
    let flagged = Bytes::from_static(b"\x01\0\0\0\x03\x0a\x01x");
    for path in ["/library.v1.Library/GetBook", "/library.v1.Library/WatchBooks", "/library.v1.Library/Discuss"] {
        for content_type in ["application/grpc", "application/grpc-web+proto"] {
            for _ in 0..3 {
                let answer = ask(&gateway, path, content_type, flagged.clone()).await;
                assert!(answer.contains("14"), "{path} {content_type}: {answer}");
            }
            assert_eq!(circuit(&gateway).await, "closed", "{path} {content_type}");
        }
    }
    // Of what is well it speaks against who does so.
    for _ in 0..2 {
        ask(&gateway, "/library.v1.Library/GetBook", "application/grpc", frame(b"\x0a\x01x")).await;
    }
    assert_eq!(circuit(&gateway).await, "open");
}
