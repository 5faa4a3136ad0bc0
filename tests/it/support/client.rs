//! Plain HTTP clients: one request on a connection of its own, or many on one.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use super::soon;

/// An answer that is on its way.
pub(super) type Pending = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request about to be sent; awaiting it sends it.
pub(crate) struct Call {
    to: To,
    request: http::request::Builder,
    body: Bytes,
}

enum To {
    /// A new HTTP/1.1 connection.
    Http1(SocketAddr),
    /// A new HTTP/2 connection.
    Http2(SocketAddr),
    /// A connection that is there.
    Open(Sender),
}

enum Sender {
    Http1(Box<http1::SendRequest<Full<Bytes>>>, SocketAddr),
    Http2(http2::SendRequest<Full<Bytes>>, SocketAddr),
}

impl Call {
    pub(super) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self { to: To::Http1(address), request: Request::builder().method(method).uri(path), body: Bytes::new() }
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
        self.body = body.into();
        self
    }

    /// Sends it; the head is here, the body is not.
    pub(crate) async fn open(self) -> Response<Incoming> {
        soon("the answer's head", self.start()).await.expect("an answer")
    }

    /// Sends it; an error is a connection that broke.
    pub(crate) async fn try_send(self) -> hyper::Result<Reply> {
        let (head, body) = soon("the answer's head", self.start()).await?.into_parts();
        let body = soon("the answer's body", body.collect()).await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }

    async fn start(self) -> hyper::Result<Response<Incoming>> {
        let mut sender = match self.to {
            To::Http1(address) => connect_http1(address).await,
            To::Http2(address) => connect_http2(address).await,
            To::Open(sender) => sender,
        };
        let mut request = self.request.body(Full::new(self.body)).unwrap();
        match &mut sender {
            Sender::Http1(sender, address) => {
                let host = address.to_string().parse().unwrap();
                request.headers_mut().entry("host").or_insert(host);
                sender.send_request(request).await
            }
            Sender::Http2(sender, address) => {
                let path = request.uri().path_and_query().unwrap().clone();
                let uri = http::Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path);
                *request.uri_mut() = uri.build().unwrap();
                sender.send_request(request).await
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
    pub(crate) trailers: HeaderMap,
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
    sender: Option<Box<http1::SendRequest<Full<Bytes>>>>,
    address: SocketAddr,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Self {
        match connect_http1(address).await {
            Sender::Http1(sender, address) => Self { sender: Some(sender), address },
            Sender::Http2(..) => unreachable!("HTTP/1.1 was asked for"),
        }
    }

    /// One request after the other on this connection; an error is a connection that broke.
    pub(crate) async fn send(&mut self, method: &str, path: &str) -> hyper::Result<Reply> {
        let sender = self.sender.as_mut().expect("open");
        soon("the connection's turn", sender.ready()).await?;
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        let response = sender.send_request(request.body(Full::default()).unwrap());
        let (head, body) = soon("the answer's head", response).await?.into_parts();
        let body = soon("the answer's body", body.collect()).await?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes(), trailers: HeaderMap::new() })
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.is_closed())
    }
}

/// An HTTP/2 connection for bodies of any kind.
pub(crate) struct Http2 {
    address: SocketAddr,
}

impl Http2 {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Sends on a new connection; the answer is on its way when this returns.
    pub(super) async fn send<B>(self, request: Request<B>) -> Pending
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let io = TokioIo::new(soon("a connection", TcpStream::connect(self.address)).await.expect("a connection"));
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request);
        Box::pin(async move {
            // The connection lives as long as its sender.
            let _sender = sender;
            response.await
        })
    }
}

async fn connect_http1(address: SocketAddr) -> Sender {
    let io = TokioIo::new(soon("a connection", TcpStream::connect(address)).await.expect("a connection"));
    let (sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    Sender::Http1(Box::new(sender), address)
}

async fn connect_http2(address: SocketAddr) -> Sender {
    let io = TokioIo::new(soon("a connection", TcpStream::connect(address)).await.expect("a connection"));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    Sender::Http2(sender, address)
}
