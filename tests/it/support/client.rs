//! Plain HTTP clients: one request on a connection of its own, or many on one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::soon;

/// An answer that is on its way.
pub(super) type Pending = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request about to be sent; awaiting it sends it.
pub(crate) struct Call {
    to: To,
    request: http::request::Builder,
    body: AnyBody,
}

enum To {
    /// A new HTTP/1.1 connection.
    Http1(SocketAddr),
    /// A new HTTP/2 connection.
    Http2(SocketAddr),
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            to: To::Http1(address),
            request: Request::builder().method(method).uri(path),
            body: Full::default().boxed_unsync(),
        }
    }

    /// Over HTTP/2, with prior knowledge.
    pub(crate) fn http2(mut self) -> Self {
        if let To::Http1(address) = self.to {
            self.to = To::Http2(address);
        }
        self
    }

    /// Sends a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends JSON.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends bytes.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Full::new(body.into()).boxed_unsync();
        self
    }

    /// Sends what comes through a channel; dropping that ends the body.
    pub(crate) fn streamed(mut self) -> (Self, UnboundedSender<Bytes>) {
        let (sender, receiver) = unbounded_channel();
        let frames = UnboundedReceiverStream::new(receiver).map(|bytes| Ok(Frame::data(bytes)));
        self.body = StreamBody::new(frames).boxed_unsync();
        (self, sender)
    }

    /// Sends a chunk so often; how often it has been taken is counted.
    pub(crate) fn pulled(mut self, chunk: Bytes, times: usize) -> (Self, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let frames = tokio_stream::iter(std::iter::repeat_n(chunk, times)).map(move |chunk| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(chunk))
        });
        self.body = StreamBody::new(frames).boxed_unsync();
        (self, taken)
    }

    /// Sends it; the head is here, the body is not.
    pub(crate) async fn open(self) -> Response<Incoming> {
        soon("the answer's head", self.start()).await.expect("an answer")
    }

    /// Sends it; an error is a connection that broke.
    pub(crate) async fn try_send(self) -> hyper::Result<Reply> {
        let (head, body) = soon("the answer's head", self.start()).await?.into_parts();
        let body = soon("the answer's body", body.collect()).await?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    async fn start(self) -> hyper::Result<Response<Incoming>> {
        match self.to {
            To::Http1(address) => {
                let mut request = self.request.body(self.body).unwrap();
                request.headers_mut().entry("host").or_insert(address.to_string().parse().unwrap());
                connect_http1(address).await.expect("a connection").send_request(request).await
            }
            To::Http2(address) => {
                let mut connection = Http2::open(address).await;
                let mut request = self.request.body(self.body).unwrap();
                *request.uri_mut() = connection.uri(request.uri().path_and_query().unwrap().as_str());
                connection.send(request).await
            }
        }
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.try_send().await.expect("a whole answer") })
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// It has this status.
    #[track_caller]
    pub(crate) fn status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// It is exactly this JSON.
    #[track_caller]
    pub(crate) fn json(&self, json: &Value) -> &Self {
        assert_eq!(&self.value(), json);
        self.header("content-type", "application/json")
    }

    /// It has this one header value.
    #[track_caller]
    pub(crate) fn header(&self, name: &str, value: &str) -> &Self {
        let values: Vec<_> = self.headers.get_all(name).iter().map(|found| found.to_str().unwrap()).collect();
        assert_eq!(values, [value], "{name}");
        self
    }

    /// It has no such header.
    #[track_caller]
    pub(crate) fn no_header(&self, name: &str) -> &Self {
        assert_eq!(self.headers.get(name), None, "{name}");
        self
    }

    /// It is an error of the gateway's own with this reason.
    #[track_caller]
    pub(crate) fn reason(&self, reason: &str) -> &Self {
        let body = self.value();
        assert_eq!(body["details"][0]["reason"], reason, "{body}");
        assert_eq!(body["details"][0]["domain"], "transom", "{body}");
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An HTTP/1.1 connection that is kept.
pub(crate) struct Connection {
    sender: http1::SendRequest<AnyBody>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("a connection")
    }

    /// An error if nobody listens.
    pub(crate) async fn try_open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { sender: connect_http1(address).await?, address })
    }

    /// One request after the other on this connection; an error is a connection that broke.
    pub(crate) async fn send(&mut self, method: &str, path: &str) -> hyper::Result<Reply> {
        soon("the connection's turn", self.sender.ready()).await?;
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        let response = self.sender.send_request(request.body(Full::default().boxed_unsync()).unwrap());
        let (head, body) = soon("the answer's head", response).await?.into_parts();
        let body = soon("the answer's body", body.collect()).await?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// An HTTP/2 connection that is kept; clones share it.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<AnyBody>,
    address: SocketAddr,
}

/// What a request sends.
pub(super) type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

impl Http2 {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("a connection")
    }

    /// An error if nobody listens.
    pub(crate) async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let io = TokioIo::new(soon("a connection", TcpStream::connect(address)).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    /// The absolute URI of a path.
    pub(super) fn uri(&self, path: &str) -> http::Uri {
        let uri = http::Uri::builder().scheme("http").authority(self.address.to_string()).path_and_query(path);
        uri.build().unwrap()
    }

    /// Sends; the answer is on its way when this returns.
    pub(super) fn send(&mut self, request: Request<AnyBody>) -> Pending {
        let (sender, response) = (self.sender.clone(), self.sender.send_request(request));
        Box::pin(async move {
            let response = response.await;
            // The connection lives as long as a sender.
            drop(sender);
            response
        })
    }

    /// A whole request and its whole answer.
    pub(crate) async fn get(&self, path: &str) -> hyper::Result<Reply> {
        let request = Request::get(self.uri(path)).body(Full::default().boxed_unsync()).unwrap();
        let response = self.clone().send(request);
        let (head, body) = soon("the answer's head", response).await?.into_parts();
        let body = soon("the answer's body", body.collect()).await?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    /// Whether the server has closed it, or said that it will.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Sends on a new HTTP/1.1 connection; the answer is on its way when this returns.
pub(super) async fn send_http1(address: SocketAddr, mut request: Request<AnyBody>) -> Pending {
    request.headers_mut().entry("host").or_insert(address.to_string().parse().unwrap());
    let mut sender = connect_http1(address).await.expect("a connection");
    let response = sender.send_request(request);
    Box::pin(async move {
        let response = response.await;
        // The connection lives as long as a sender.
        drop(sender);
        response
    })
}

async fn connect_http1(address: SocketAddr) -> io::Result<http1::SendRequest<AnyBody>> {
    let io = TokioIo::new(soon("a connection", TcpStream::connect(address)).await?);
    let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}
