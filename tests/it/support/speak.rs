//! One client for every dialect: what a test says once, it says in all of them. Written apart from the gateway's code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::client::{Http2, send_http1};
use super::gateway::Running;
use super::heard::{Outcome, Stream};
use super::{protos, socket};

/// How a test's client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Rest,
    RestLines,
    RestEvents,
    Grpc,
    GrpcJson,
    Web,
    WebJson,
    WebText,
    WebTextJson,
    Connect,
    ConnectJson,
    ConnectGet,
    ConnectGetJson,
    ConnectStream,
    ConnectStreamJson,
    Socket,
    SocketBinary,
}

use Speech::*;

impl Speech {
    /// All in which a unary method can be called, and over which HTTP versions.
    pub(crate) const UNARY: [Self; 11] =
        [Rest, Grpc, GrpcJson, Web, WebJson, WebText, WebTextJson, Connect, ConnectJson, ConnectGet, ConnectGetJson];
    /// All in which a server stream can be.
    pub(crate) const SERVER_STREAM: [Self; 13] = [
        Rest,
        RestLines,
        RestEvents,
        Grpc,
        GrpcJson,
        Web,
        WebJson,
        WebText,
        WebTextJson,
        ConnectStream,
        ConnectStreamJson,
        Socket,
        SocketBinary,
    ];
    /// All in which a client may stream.
    pub(crate) const CLIENT_STREAM: [Self; 12] = [
        Rest,
        RestLines,
        Grpc,
        GrpcJson,
        Web,
        WebJson,
        WebText,
        WebTextJson,
        ConnectStream,
        ConnectStreamJson,
        Socket,
        SocketBinary,
    ];

    /// The versions of HTTP that it is spoken over.
    pub(crate) fn versions(self) -> &'static [u8] {
        if self.is_grpc() { &[2] } else { &[1, 2] }
    }

    pub(super) fn is_grpc(self) -> bool {
        matches!(self, Grpc | GrpcJson)
    }

    pub(super) fn is_web(self) -> bool {
        matches!(self, Web | WebJson | WebText | WebTextJson)
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, WebText | WebTextJson)
    }

    /// A frame a message, once HTTP has been left.
    pub(crate) fn is_socket(self) -> bool {
        matches!(self, Socket | SocketBinary)
    }

    /// Its metadata is the upstream's.
    pub(crate) fn is_rpc(self) -> bool {
        !self.is_socket() && !matches!(self, Rest | RestLines | RestEvents)
    }

    /// Its answer has begun before the upstream has said anything.
    pub(crate) fn is_begun(self) -> bool {
        self.is_rpc() || self.is_socket()
    }

    /// HTTP's own status says how a unary call went.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Rest | Connect | ConnectJson | ConnectGet | ConnectGetJson)
    }

    pub(crate) fn is_get(self) -> bool {
        matches!(self, ConnectGet | ConnectGetJson)
    }

    pub(super) fn is_json(self) -> bool {
        !matches!(self, Grpc | Web | WebText | Connect | ConnectGet | ConnectStream | SocketBinary)
    }

    /// What the access log calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Rest | RestLines | RestEvents => "rest",
            Grpc | GrpcJson => "grpc",
            Web | WebJson | WebText | WebTextJson => "grpc_web",
            Socket | SocketBinary => "websocket",
            _ => "connect",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Socket | SocketBinary => unreachable!("frames have no type"),
            Rest | RestLines | RestEvents | ConnectJson | ConnectGetJson => "application/json",
            Grpc => "application/grpc",
            GrpcJson => "application/grpc+json",
            Web => "application/grpc-web+proto",
            WebJson => "application/grpc-web+json",
            WebText => "application/grpc-web-text+proto",
            WebTextJson => "application/grpc-web-text+json",
            Connect | ConnectGet => "application/proto",
            ConnectStream => "application/connect+proto",
            ConnectStreamJson => "application/connect+json",
        }
    }

    /// How it says that a call may take so many milliseconds.
    pub(crate) fn timeout(self, millis: u64) -> (&'static str, String) {
        match self.name() {
            "rest" | "websocket" => ("x-request-timeout", format!("0.{millis:03}")),
            "connect" => ("connect-timeout-ms", millis.to_string()),
            _ => ("grpc-timeout", format!("{millis}m")),
        }
    }

    /// A call of a method of the library.
    pub(crate) fn call(self, version: u8, method: &str) -> Call {
        let method = protos::method(&format!("library.v1.Library/{method}"));
        Call { speech: self, version, method, path: None, headers: HeaderMap::new() }
    }
}

/// A call about to be opened.
pub(crate) struct Call {
    speech: Speech,
    version: u8,
    method: MethodDescriptor,
    path: Option<&'static str>,
    headers: HeaderMap,
}

impl Call {
    /// Looks for the method on another path than its own.
    pub(crate) fn path(mut self, path: &'static str) -> Self {
        self.path = Some(path);
        self
    }

    /// Sends a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Sends these messages and reads all of the answer.
    pub(crate) async fn send(self, gateway: &Running, messages: &[Value]) -> Outcome {
        let mut stream = self.open(gateway, messages.first()).await;
        messages.iter().for_each(|message| stream.send(message));
        stream.close();
        stream.outcome().await
    }

    /// Opens it. What REST's path and a GET's query say of the message has to be known by then.
    pub(crate) async fn open(self, gateway: &Running, first: Option<&Value>) -> Stream {
        let Self { speech, version, method, path, headers } = self;
        let own = || format!("/{}/{}", method.parent_service().full_name(), method.name());
        let rpc = path.map_or_else(own, str::to_owned);
        if speech.is_socket() {
            return match socket::talk(gateway.address(), version, &rpc, speech == SocketBinary, headers).await {
                Ok(socket) => Stream::of_socket(speech, method, socket),
                Err(refusal) => Stream::new(Rest, method, None, Box::pin(std::future::ready(Ok(refusal)))),
            };
        }
        let (verb, path, bodyless) = match (speech, first) {
            (Rest | RestLines | RestEvents, message) => rest_path(method.name(), message.unwrap_or(&Value::Null)),
            (speech, Some(message)) if speech.is_get() => {
                ("GET", format!("{rpc}?{}", query(speech, &method, message)), true)
            }
            _ => ("POST", rpc, false),
        };
        let (sender, receiver) = unbounded_channel();
        let body = match bodyless {
            true => Empty::new().boxed_unsync(),
            false => StreamBody::new(UnboundedReceiverStream::new(receiver)).boxed_unsync(),
        };
        let mut request = Request::builder().method(verb).uri(&path).body(body).unwrap();
        if !bodyless {
            let lines = speech == RestLines && method.is_client_streaming();
            let content_type = if lines { "application/x-ndjson" } else { speech.content_type() };
            request.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        }
        match speech {
            Grpc | GrpcJson => drop(request.headers_mut().insert("te", HeaderValue::from_static("trailers"))),
            ConnectJson => {
                drop(request.headers_mut().insert("connect-protocol-version", HeaderValue::from_static("1")));
            }
            RestLines => drop(request.headers_mut().insert("accept", HeaderValue::from_static("application/x-ndjson"))),
            RestEvents => drop(request.headers_mut().insert("accept", HeaderValue::from_static("text/event-stream"))),
            _ => {}
        }
        request.headers_mut().extend(headers);
        let sender = (!bodyless).then_some(sender);
        let response = if version == 2 {
            let mut connection = Http2::open(gateway.address()).await;
            *request.uri_mut() = connection.uri(&path);
            connection.send(request)
        } else {
            send_http1(gateway.address(), request).await
        };
        Stream::new(speech, method, sender, response)
    }
}

/// Where REST finds a method, with what of the message is in the path.
fn rest_path(method: &str, message: &Value) -> (&'static str, String, bool) {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    match method {
        "GetBook" => ("GET", format!("/v1/{}", text("name")), true),
        // By the rules that a test configures.
        "ImportBooks" => ("POST", "/v1/books:import".to_owned(), false),
        "Discuss" => ("POST", "/v1/discuss".to_owned(), false),
        "WatchBooks" => ("GET", format!("/v1/{}/books:watch", text("parent")), true),
        "DeleteBook" => ("DELETE", format!("/v1/{}", text("name")), true),
        "Echo" => ("POST", "/v1/echo".to_owned(), false),
        other => panic!("REST has no {other}"),
    }
}

fn query(speech: Speech, method: &MethodDescriptor, message: &Value) -> String {
    match speech {
        ConnectGet => {
            let message = URL_SAFE_NO_PAD.encode(protos::encode(&method.input(), message));
            format!("connect=v1&encoding=proto&base64=1&message={message}")
        }
        _ => {
            let coded: String = message.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("encoding=json&message={coded}")
        }
    }
}
