//! A service at the level of HTTP/2's streams: what becomes of each is for the test to say.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::grpc::frame;

/// A running one; dropped, it takes no further connections.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Bare {
    /// Each call is answered by a task of its own.
    pub(crate) async fn start<F>(
        builder: Builder,
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (builder, answer) = (builder.clone(), answer.clone());
                tokio::spawn(async move {
                    let Ok(mut connection) = builder.handshake(socket).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                });
            }
        });
        Self { address, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

/// How long the caller waits, as it says.
pub(crate) fn time_told(request: &Request<RecvStream>) -> Duration {
    let told = request.headers()["grpc-timeout"].to_str().unwrap();
    let (count, unit) = told.split_at(told.len() - 1);
    let count: u64 = count.parse().unwrap();
    match unit {
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => panic!("{told}"),
    }
}

/// Reads the request to its end.
pub(crate) async fn read(request: Request<RecvStream>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.data().await {}
}

/// The answer's head, and one empty message.
pub(crate) fn begin(mut respond: SendResponse<Bytes>) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(frame(&[]), false).unwrap();
    stream
}

/// The answer of one empty message.
pub(crate) fn served(respond: SendResponse<Bytes>) {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    begin(respond).send_trailers(trailers).unwrap();
}
