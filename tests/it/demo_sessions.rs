//! The example in which the gateway issues the tokens, before the booking system's own services.

use serde_json::json;
use transom::demo::proto::auth::ValidateTokenRequest;
use transom::demo::{DESCRIPTORS, Service};

use crate::demo_client::{EVENT, system};
use crate::support::gateway::gateway;
use crate::support::socket::Socket;

#[tokio::test]
async fn the_services_take_the_gateways_own_tokens() {
    let system = system().await;
    let grace = system.person("grace").await;
    let mut text = include_str!("../../examples/sessions/transom.yaml").to_owned();
    let address = |service| system.running.addresses(service)[0].to_string();
    for (variable, value) in [
        ("${HOST:-0.0.0.0}:${PORT:-3000}", "127.0.0.1:0"),
        ("127.0.0.1:${ADMIN_PORT:-9090}", "127.0.0.1:0"),
        ("${JWT_SECRET}", "access"),
        ("${GRPC_AUTH_SERVICE_URL:-127.0.0.1:50051}", &address(Service::Auth)),
        ("${GRPC_TICKET_SERVICE_URL:-127.0.0.1:50052}", &address(Service::Ticket)),
    ] {
        assert!(text.contains(variable), "{variable}");
        text = text.replace(variable, value);
    }
    let gateway = gateway().descriptor_set(DESCRIPTORS.to_vec()).config(&text).start().await;
    let said = json!({ "email": "grace@example.com", "password": "correct horse" });
    let login = gateway.post("/api/v1/auth/login", &said).await;
    login.status(200);
    assert!(login.value().get("accessToken").is_none(), "{login:?}");
    let cookies: Vec<_> = login.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    let pair = |name: &str| cookies.iter().find(|cookie| cookie.starts_with(name)).unwrap().split(';').next().unwrap();
    let (access, refresh) = (pair("accessToken="), pair("refreshToken="));

    let tickets = gateway.get("/api/v1/tickets").header("cookie", access).await;
    tickets.status(200);
    let renewed = gateway.get("/api/v1/tickets").header("cookie", refresh).await;
    assert_eq!(renewed.status(200).headers.get_all("set-cookie").iter().count(), 2);
    // To the auth service, too, such a token is good: it asks its own sessions about its own tokens alone.
    let profile = gateway.get("/api/v1/user/profile").header("cookie", access).await;
    assert_eq!(profile.status(200).value()["email"], "grace@example.com");
    let token = access.split_once('=').unwrap().1;
    let judged = system.auth().validate_token(ValidateTokenRequest { token: token.to_owned() }).await.unwrap();
    assert_eq!((judged.get_ref().valid, &judged.get_ref().user_id), (true, &grace.user_id));
    // The one who watches seats, over a WebSocket.
    let token = gateway.get("/api/v1/auth/ws-token").header("cookie", access).await.status(200).value();
    let path = format!("/api/v1/events/{EVENT}:watch?token={}", token["token"].as_str().unwrap());
    let mut socket = Socket::open(gateway.address(), &path, &[]).await;
    assert_eq!(socket.value().await["eventId"], EVENT);
    assert_eq!(Socket::try_open(gateway.address(), &path, &[]).await.err().unwrap(), 401);

    let left = gateway.post("/api/v1/auth/leave", &json!({})).header("cookie", access).await;
    assert_eq!(left.status(200).value()["message"], "Logged out successfully");
    gateway.get("/api/v1/tickets").header("cookie", access).await.status(401);
    gateway.post("/api/v1/auth/renew", &json!({})).header("cookie", refresh).await.status(401);
}
