//! A WebSocket client.

use std::net::SocketAddr;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client::{Http2, send_http1};
use super::heard::Sent;
use super::soon;

/// An open WebSocket.
pub(crate) struct Socket {
    inner: WebSocketStream<TcpStream>,
    pub(crate) protocol: Option<String>,
    pub(crate) request_id: String,
}

impl Socket {
    /// Opens one, with these headers beside the usual.
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(address, path, headers).await.unwrap_or_else(|status| panic!("{status} for {path}"))
    }

    /// The same; an error is the answer's status.
    pub(crate) async fn try_open(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, StatusCode> {
        let mut request = Request::get(format!("ws://{address}{path}"))
            .header("host", address.to_string())
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let stream = TcpStream::connect(address).await.expect("a connection");
        match soon("the handshake", client_async(request.body(()).unwrap(), stream)).await {
            Ok((inner, response)) => {
                let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(response.status(), 101);
                let request_id = header("x-request-id").expect("every answer names its request");
                Ok(Self { inner, protocol: header("sec-websocket-protocol"), request_id })
            }
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a message as JSON.
    pub(crate) async fn json(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// Says that this was all.
    pub(crate) async fn end(&mut self) {
        self.send(Message::text("")).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        soon("a message's turn", self.inner.send(message)).await.expect("an open socket");
    }

    /// The next frame that is no ping.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        loop {
            match soon("the next frame", self.inner.next()).await? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(Error::Protocol(_) | Error::Io(_)) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next message's JSON.
    pub(crate) async fn value(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// Its close: the code and the reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.frame().await {
            Some(Message::Close(Some(CloseFrame { code, reason }))) => (code.into(), reason.to_string()),
            other => panic!("{other:?} is no close"),
        }
    }

    /// The next frame, pings too.
    pub(crate) async fn any(&mut self) -> Message {
        soon("the next frame", self.inner.next()).await.expect("a frame").expect("an open socket")
    }
}

/// What comes from a WebSocket.
pub(super) type Frames = SplitStream<WebSocketStream<TokioIo<Upgraded>>>;

/// An open WebSocket in two halves. It is closed without a word when both are dropped.
pub(super) struct Talk {
    /// The head of the answer that opened it.
    pub(super) headers: HeaderMap,
    pub(super) sender: UnboundedSender<Sent>,
    pub(super) frames: Frames,
}

/// Opens one over either version of HTTP; one that is refused before it is open is an HTTP answer.
pub(super) async fn talk(
    address: SocketAddr,
    version: u8,
    path: &str,
    binary: bool,
    headers: HeaderMap,
) -> Result<Talk, Response<Incoming>> {
    let request = |method: &str, uri: http::Uri| {
        let mut request = Request::builder().method(method).uri(uri).header("sec-websocket-version", "13");
        request.headers_mut().unwrap().extend(headers.clone());
        request
    };
    let empty = || Empty::new().boxed_unsync();
    let response = if version == 2 {
        let mut connection = Http2::open(address).await;
        loop {
            let request = request("CONNECT", connection.uri(path)).extension(Protocol::from_static("websocket"));
            match soon("the handshake", connection.send(request.body(empty()).unwrap())).await {
                // The server's settings, which allow it, have yet to come.
                Err(error) if error.is_user() => tokio::task::yield_now().await,
                response => break response,
            }
        }
    } else {
        let request = request("GET", path.parse().unwrap()).header("upgrade", "websocket");
        let request = request.header("connection", "Upgrade").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        soon("the handshake", send_http1(address, request.body(empty()).unwrap()).await).await
    };
    let response = response.expect("an answer");
    if response.status() != if version == 2 { 200 } else { 101 } {
        return Err(response);
    }
    let headers = response.headers().clone();
    let upgraded = soon("the upgrade", hyper::upgrade::on(response)).await.expect("an open socket");
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let (mut sink, frames) = socket.split();
    let (sender, mut receiver) = unbounded_channel::<Sent>();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = receiver.recv().await {
            let message = match frame.into_data() {
                Ok(bytes) if binary => Message::binary(bytes),
                Ok(bytes) => Message::text(String::from_utf8(bytes.into()).unwrap()),
                Err(_) => Message::text(""),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(Talk { headers, sender, frames })
}
