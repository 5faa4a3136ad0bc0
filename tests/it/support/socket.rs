//! A WebSocket client.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

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
