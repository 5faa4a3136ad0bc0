//! Tokens and WebSockets: one in the query opens a socket and goes no further, and what it says is set in every message.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{ok, stream};
use crate::support::socket::Socket;
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

async fn start(go_on: &Arc<Notify>) -> (Upstream, Running) {
    let go_on = go_on.clone();
    let service = upstream::grpc("rules.v1.Rules")
        .bidi("Chat", |message| vec![message.clone()])
        .server_stream("Watch", move |asked| stream([asked.clone()]).then_wait(&go_on).then(json!({ "text": "more" })))
        .unary("Thing", |asked| ok(asked.clone()))
        .start()
        .await;
    let config = format!(
        "auth: {{ jwt: {{ secret: {SECRET}, leeway: 0s }}, sources: [{{ query: token }}, bearer, {{ cookie: at }}] }}\n\
         methods: {{ rules.v1.Rules/Chat: {{ bind: {{ text: sub }} }} }}"
    );
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(&config).start().await;
    (service, gateway)
}

#[tokio::test]
async fn a_token_in_the_query_opens_a_socket_and_goes_no_further() {
    let (service, gateway) = start(&Arc::default()).await;
    let token = token(&json!({}));
    let path = format!("/v1/things/7:watch?token={token}&text=a");
    let mut socket = Socket::open(gateway.address(), &path, &[]).await;
    assert_eq!(socket.value().await, json!({ "id": "7", "text": "a" }));
    drop(socket);
    let saw = service.saw("Watch");
    saw.message(&json!({ "id": "7", "text": "a" })).header("authorization", &bearer(&token));
    let elsewhere = saw.last().headers.iter().filter(|(name, _)| *name != "authorization");
    assert_eq!(elsewhere.filter(|(_, value)| value.to_str().is_ok_and(|value| value.contains(&token))).count(), 0);

    // Two tokens, one that is none, none at all; and a query's token is for sockets alone.
    for query in ["token=a.b.c".to_owned(), format!("token={token}&token=x"), "text=a".to_owned(), "token=".to_owned()]
    {
        let refused = Socket::try_open(gateway.address(), &format!("/v1/things/7:watch?{query}"), &[]).await;
        assert_eq!(refused.err().unwrap(), 401, "{query}");
    }
    let plain = gateway.get(&format!("/v1/things/7?token={token}")).await;
    plain.status(401).reason("TOKEN_MISSING");
    let streamed = gateway.get(&path).await;
    streamed.status(401).reason("TOKEN_MISSING");
    // A method that streams nothing passes over the wish for a socket, and so over its token.
    // A page of another origin opens none with cookies; its own token is another matter.
    let (cookie, evil) = (format!("at={token}"), ("origin", "https://evil.example"));
    let own = format!("http://{}", gateway.address());
    let watch = "/v1/things/7:watch";
    Socket::open(gateway.address(), watch, &[("cookie", &cookie), ("origin", &own)]).await;
    let refused = Socket::try_open(gateway.address(), watch, &[("cookie", &cookie), evil]).await;
    assert_eq!(refused.err().unwrap(), 403);
    let thing = format!("/v1/things/7?token={token}");
    assert_eq!(Socket::try_open(gateway.address(), &thing, &[]).await.err().unwrap(), 401);
    let lines = format!("{:?}", gateway.logged(10).await);
    assert!(lines.contains("/v1/things/7:watch") && !lines.contains(&token) && !lines.contains("token="), "{lines}");
}

#[tokio::test]
async fn claims_are_set_in_every_message_of_a_socket() {
    let (service, gateway) = start(&Arc::default()).await;
    let path = format!("/rules.v1.Rules/Chat?token={}", token(&json!({})));
    let mut socket = Socket::open(gateway.address(), &path, &[]).await;
    socket.json(&json!({ "color": "RED" })).await;
    socket.json(&json!({ "color": "RED", "text": "u1" })).await;
    socket.json(&json!({})).await;
    socket.send(Message::binary(Vec::new())).await;
    assert_eq!(socket.value().await, json!({ "text": "u1", "color": "RED" }));
    let (set, bare) = (json!({ "text": "u1", "color": "RED" }), json!({ "text": "u1" }));
    assert_eq!((socket.value().await, socket.value().await, socket.value().await), (set, bare.clone(), bare));
    // Another value in a later message, in protobuf: field 4.
    socket.send(Message::binary(b"\x22\x02u2".to_vec())).await;
    assert_eq!(socket.value().await["error"]["code"], 3);
    assert_eq!(socket.closed().await.0, 4003);
    assert!(service.saw("Chat").last().messages.iter().all(|message| message["text"] == "u1"));
}

#[tokio::test]
async fn a_stream_outlives_the_token_that_opened_it() {
    let go_on = Arc::<Notify>::default();
    let (_service, gateway) = start(&go_on).await;
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 2;
    let token = token(&json!({ "exp": soon }));
    let mut socket = Socket::open(gateway.address(), &format!("/v1/things/7:watch?token={token}"), &[]).await;
    assert_eq!(socket.value().await, json!({ "id": "7" }));
    until("the token expires", async || {
        gateway.get("/v1/things/7").header("authorization", &bearer(&token)).await.status == 401
    })
    .await;
    go_on.notify_one();
    assert_eq!(socket.value().await, json!({ "text": "more" }));
    assert_eq!(socket.closed().await.0, 1000);
}
