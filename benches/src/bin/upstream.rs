//! The upstream of the comparison: a gRPC server of one thread that answers three RPCs with canned replies, and one with a short stream.
//!
//! `upstream ADDRESS DESCRIPTORS REPLIES`. It costs as little as it can, so that the gateway in front is what is measured.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use transom_benches::{CALLS, Canned, canned, frame};

/// The RPC that answers with a stream, of so many small messages.
const STREAM: (&str, usize) = ("/ticket.TicketService/WatchEvent", 1000);
/// `ticket.EventAvailability { event_id: "evt-001", available_seats: 500, reserved_seats: 10, sold_seats: 100 }`
const MESSAGE: &[u8] = b"\x0a\x07evt-001\x10\xf4\x03\x18\x0a\x20\x64";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, descriptors, replies] = arguments.as_slice() else {
        return Err(io::Error::other("usage: upstream ADDRESS DESCRIPTORS REPLIES"));
    };
    let mut replies = canned(&PathBuf::from(descriptors), &PathBuf::from(replies), &CALLS)?;
    replies.push(Canned { path: STREAM.0.to_owned(), frame: Bytes::from(frame(MESSAGE).repeat(STREAM.1)) });
    let replies: &'static [Canned] = replies.leak();
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(socket, replies));
    }
}

async fn serve(socket: TcpStream, replies: &'static [Canned]) {
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(1_000)
        .initial_connection_window_size(1 << 24)
        .initial_window_size(1 << 20)
        // When a load ends, its clients leave together; the floor resets every call of theirs at once.
        .max_pending_accept_reset_streams(10_000)
        .handshake(socket)
        .await;
    let Ok(mut connection) = handshake else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, replies));
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>, replies: &'static [Canned]) {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut trailers = HeaderMap::with_capacity(1);
    let Some(reply) = replies.iter().find(|reply| reply.path == head.uri.path()) else {
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
        let _ = respond.send_response(response, true);
        return;
    };
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(reply.frame.clone(), false);
        let _ = stream.send_trailers(trailers);
    }
}
