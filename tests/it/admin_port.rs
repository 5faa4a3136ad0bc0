//! The admin port: what it shows, and to whom.

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::client::Reply;
use crate::support::gateway::gateway;
use crate::support::reply::ok;
use crate::support::{until, upstream};

#[tokio::test]
async fn everything_is_json() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;

    gateway.admin("/livez").await.status(200).json(&json!({ "status": "ok" }));
    gateway.admin("/startupz").await.status(200).json(&json!({ "status": "ok" }));
    until("ready", async || gateway.admin("/readyz").await.status == 200).await;
    gateway.admin("/readyz").await.status(200).json(&json!({ "status": "ready" }));

    let upstreams = gateway.admin("/upstreams").await.status(200).value();
    assert_eq!(upstreams["upstreams"][0]["name"], "library");
    assert_eq!(upstreams["upstreams"][0]["endpoints"][0]["address"], library.address().to_string());
    assert_eq!(upstreams["upstreams"][0]["endpoints"][0]["usable"], true);

    let metrics = gateway.admin("/metrics").await;
    metrics.status(200).header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.text().contains("\ntransom_build_info{version="), "{}", metrics.text());
}

#[tokio::test]
async fn the_configuration_is_shown_as_written() {
    let gateway = gateway()
        .config("admin: { listen: \"127.0.0.1:0\", token: \"${ADMIN_TOKEN:-hunter2}\" }\n# why 7s\ndrain_timeout: 7s")
        .start()
        .await;
    let shown = gateway.admin("/config").await.status(200).value();
    let source = shown["source"].as_str().unwrap();
    assert!(source.contains("# why 7s\ndrain_timeout: 7s"), "{source}");
    assert!(!source.contains("hunter2"), "{source}");
}

#[tokio::test]
async fn the_port_lists_what_it_has_and_so_does_the_page() {
    let gateway = gateway().start().await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let index = gateway.admin("/").await.status(200).value();
    let paths = index["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 11);
    for listed in paths {
        let [method, path, who, what] = ["method", "path", "for", "what"].map(|key| listed[key].as_str().unwrap());
        let row = format!("| `{method} {path}` | {who} | {what} |");
        assert!(page.contains(&row), "docs/OPERATIONS.md lacks: {row}");
        let other = gateway.admin_request("DELETE", path).await;
        let allowed = other.status(405).headers["allow"].to_str().unwrap();
        assert!(allowed.split(',').any(|allowed| allowed == method), "{path}: {allowed}");
        // From a page that is not this machine's.
        let elsewhere = gateway.admin_request(method, path).header("host", "evil.example").await;
        assert_eq!(elsewhere.status == 403, who != "everyone", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_json_error() {
    let gateway = gateway().start().await;
    gateway.admin("/nowhere").await.status(404).reason("NO_ROUTE");
    let reply = gateway.admin_request("POST", "/routes").await;
    reply.status(405).reason("METHOD_NOT_ALLOWED").header("allow", "GET,HEAD");
    gateway.admin_request("DELETE", "/metrics").await.status(405).reason("METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn errors_are_those_of_the_other_port() {
    let gateway = gateway().config("public_endpoints: []").start().await;
    let (here, there) = (gateway.admin("/nowhere").await, gateway.get("/nowhere").await);
    here.status(404).json(&there.status(404).value());
    let denied = gateway.admin("/routes").header("host", "evil.example").await;
    assert_eq!(denied.value()["message"], "only for clients on this machine: no admin.token is configured");
    assert_eq!(denied.value()["code"], Code::PermissionDenied.number());
}

#[tokio::test]
async fn every_answer_is_named() {
    let gateway = gateway().start().await;
    for path in ["/livez", "/metrics", "/routes", "/nowhere"] {
        gateway.admin(path).header("x-request-id", "mine").await.header("x-request-id", "mine");
        let given = |reply: &Reply| reply.headers["x-request-id"].to_str().unwrap().to_owned();
        let reply = gateway.admin(path).header("x-request-id", "not \"mine\"").await;
        assert_eq!(given(&reply).len(), 18, "{path}");
        assert_ne!(given(&reply), given(&gateway.admin(path).await), "{path}");
    }
    let refused = gateway.admin("/routes").header("host", "evil.example").header("x-request-id", "mine").await;
    refused.status(403).header("x-request-id", "mine");
    gateway.admin_request("DELETE", "/metrics").header("x-request-id", "mine").await.header("x-request-id", "mine");
}

#[tokio::test]
async fn who_may_look() {
    let open = ["/livez", "/readyz", "/startupz", "/metrics"];
    let guarded = ["/health", "/health/detailed", "/config", "/routes", "/upstreams", "/reload", "/nowhere"];
    let gateway = gateway().config("admin: { listen: \"127.0.0.1:0\", token: s3cret }").start().await;
    let rebound = ("host", "evil.example");
    let foreign = ("origin", "http://evil.example");
    for (name, value) in [rebound, foreign] {
        for path in open {
            let reply = gateway.admin(path).header(name, value).await;
            assert_ne!(reply.status, 401, "{path} {name}: {value}");
        }
        for path in guarded {
            let reply = gateway.admin(path).header(name, value).await;
            reply.status(401).reason("TOKEN_INVALID").header("www-authenticate", "Bearer");
            assert_eq!(reply.value()["code"], Code::Unauthenticated.number());
            let reply = gateway.admin(path).header(name, value).header("authorization", "Bearer wrong").await;
            reply.status(401);
            let reply = gateway.admin(path).header(name, value).header("authorization", "Bearer s3cret").await;
            assert_ne!(reply.status, 401, "{path}");
        }
    }
    for path in guarded {
        assert_ne!(gateway.admin(path).await.status, 401, "{path} from loopback");
    }
}

#[tokio::test]
async fn without_a_token_only_loopback_looks() {
    let gateway = gateway().start().await;
    gateway.admin("/routes").await.status(200);
    gateway.admin("/routes").header("host", "evil.example").await.status(403).reason("FORBIDDEN");
    let reply = gateway.admin("/routes").header("host", "evil.example").header("authorization", "Bearer ").await;
    reply.status(403);
}
