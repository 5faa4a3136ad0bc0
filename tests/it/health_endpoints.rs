//! Health: on `listen` and on the admin port, over HTTP and gRPC.

use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::gateway::{Running, gateway};
use crate::support::reply::ok;
use crate::support::upstream::Upstream;
use crate::support::{soon, until, upstream};

const DETAILED: &str = "public_endpoints: [health, health_detailed, metrics]";

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await
}

/// A library with a health check, and an auth service that nobody runs.
async fn two_services(library: &Upstream) -> Running {
    let nobody = [closed_port().await];
    gateway()
        .descriptors("library")
        .upstream_with("library", &[library], "health_name: library-service, health_check: { interval: 100ms }")
        .upstream_at("internals", "library.v1.Internals", &nobody, "health_check: { interval: 100ms }")
        .config(DETAILED)
        .start()
        .await
}

async fn closed_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn health_says_healthy_and_when() {
    let gateway = gateway().start().await;
    let body = gateway.get("/health").await.status(200).value();
    assert_eq!(body["status"], "healthy");
    let timestamp: jiff::Timestamp = body["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(timestamp).as_secs() < 10);
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    gateway.get("/livez").await.status(200);
}

#[tokio::test]
async fn only_health_is_public_unless_configured() {
    let gateway = gateway().start().await;
    for path in ["/health/detailed", "/metrics", "/config", "/routes", "/upstreams", "/startupz"] {
        gateway.get(path).await.status(404);
    }
}

#[tokio::test]
async fn detailed_health_tells_names_not_addresses() {
    let library = library().await;
    let gateway = two_services(&library).await;
    let detailed = async || gateway.get("/health/detailed").await;
    until("degraded", async || detailed().await.value()["status"] == "degraded").await;
    let reply = detailed().await;
    let body = reply.status(200).value();
    assert_eq!(body["services"], json!({ "library-service": "healthy", "internals": "unhealthy" }));
    assert_eq!(body["grpc_connections"], json!({ "library-service": "connected", "internals": "disconnected" }));
    assert_eq!(body["dependencies"], json!({}));
    assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());

    library.stop().await;
    until("nobody is up", async || detailed().await.value()["status"] == "unhealthy").await;
    let body = detailed().await.status(503).value();
    assert_eq!(body["services"], json!({ "library-service": "unhealthy", "internals": "unhealthy" }));
    let admin = gateway.admin("/health/detailed").await;
    assert_eq!(admin.status(503).value()["services"], body["services"]);

    library.restart().await;
    until("degraded again", async || detailed().await.value()["status"] == "degraded").await;
}

#[tokio::test]
async fn it_is_said_why_an_endpoint_gets_no_calls() {
    let (library, nobody) = (library().await, closed_port().await);
    let up = "health_check: { interval: 100ms, unhealthy_after: 1 }";
    let gateway = gateway()
        .descriptors("library")
        .upstream_with("library", &[&library], up)
        .upstream_at("internals", "library.v1.Internals", std::slice::from_ref(&nobody), "")
        .start()
        .await;
    let describe = async |upstream: usize| {
        let upstreams = gateway.admin("/upstreams").await.value();
        upstreams["upstreams"][upstream]["endpoints"][0].clone()
    };
    let is_up = |upstream: &str, endpoint: &str| {
        gateway.metric(&format!("transom_upstream_up{{upstream=\"{upstream}\",endpoint=\"{endpoint}\"}}"))
    };
    let (well, address) = (1, library.address().to_string());
    until("both are known", async || describe(well).await["usable"] == true && describe(0).await["down"] == true).await;
    assert_eq!((describe(well).await["last_failure"].clone(), is_up("library", &address)), (Value::Null, 1.0));
    let gone = describe(0).await;
    assert!(gone["last_failure"]["cause"].as_str().unwrap().contains("refused"), "{gone}");
    assert_eq!((&gone["healthy"], is_up("internals", &nobody)), (&json!(false), 0.0), "{gone}");
    library.set_serving(false);
    until("it is ill", async || describe(well).await["healthy"] == false).await;
    let failure = describe(well).await["last_failure"].clone();
    assert_eq!(failure["cause"], "it says that it does not serve");
    let at = failure["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(jiff::Timestamp::now().duration_since(at).as_secs() < 60, "{failure}");
    assert_eq!(is_up("library", &address), 0.0);
    library.set_serving(true);
    until("it is well", async || is_up("library", &address) == 1.0).await;
}

#[tokio::test]
async fn ready_follows_the_upstream() {
    let library = library().await;
    let gateway = gateway()
        .descriptors("library")
        .upstream_with("library", &[&library], "required: true, health_check: { interval: 100ms }")
        .start()
        .await;
    let ready = async || (gateway.get("/readyz").await.status, gateway.admin("/readyz").await.status);
    until("ready", async || ready().await == (http::StatusCode::OK, http::StatusCode::OK)).await;
    library.set_serving(false);
    let not = http::StatusCode::SERVICE_UNAVAILABLE;
    until("not ready", async || ready().await == (not, not)).await;
    gateway.get("/livez").await.status(200);
    library.set_serving(true);
    until("ready again", async || ready().await == (http::StatusCode::OK, http::StatusCode::OK)).await;
}

#[tokio::test]
async fn an_upstream_that_never_answered_is_not_ready_from_the_first_request_on() {
    // The kernel connects, and nobody accepts.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = [silent.local_addr().unwrap().to_string()];
    let gateway = gateway().descriptors("library").upstream_at("library", "library.v1.Library", &address, "");
    let gateway = gateway.config(DETAILED).start().await;
    gateway.get("/readyz").await.status(503);
    gateway.admin("/readyz").await.status(503);
    let body = gateway.get("/health/detailed").await.status(503).value();
    assert_eq!(body["grpc_connections"], json!({ "library": "disconnected" }));
}

#[tokio::test]
async fn a_canary_alone_makes_nobody_ready() {
    let canary = library().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (nobody, next) = (silent.local_addr().unwrap(), canary.address());
    let own = "services: [library.v1.Library], canary: { upstream: next, header: x-canary }";
    let config = format!(
        "upstreams: {{ library: {{ {own}, endpoints: [\"{nobody}\"] }}, next: {{ endpoints: [\"{next}\"] }} }}"
    );
    let gateway = gateway().descriptors("library").config(&config).start().await;
    let services = async || gateway.admin("/health/detailed").await.value()["services"].clone();
    until("the canary is up", async || services().await["next"] == "healthy").await;
    gateway.admin("/readyz").await.status(503);
}

#[tokio::test]
async fn grpc_health_is_of_the_gateway_and_of_services() {
    let library = library().await;
    let gateway = two_services(&library).await;
    let mut client = health_client(&gateway).await;
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        client.check(request).await.map(|response| status(response.get_ref()))
    };
    until("checked", async || gateway.get("/health/detailed").await.value()["status"] == "degraded").await;
    assert_eq!(check("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("library.v1.Library").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("library.v1.Internals").await.unwrap(), ServingStatus::NotServing);
    for (upstream, is) in [
        ("library", ServingStatus::Serving),
        ("library-service", ServingStatus::Serving),
        ("internals", ServingStatus::NotServing),
    ] {
        assert_eq!(check(upstream).await.unwrap(), is, "{upstream}");
    }
    assert_eq!(check("no.Such").await.unwrap_err().code(), tonic::Code::NotFound);
    let asked = |line: &Value| line["route"] == "/grpc.health.v1.Health/Check";
    let codes: Vec<_> = gateway.logged(1).await.into_iter().filter(asked).map(|line| line["code"].clone()).collect();
    assert_eq!(codes.last().unwrap(), "NOT_FOUND", "{codes:?}");
}

#[tokio::test]
async fn grpc_health_watch_tells_changes() {
    let library = library().await;
    let gateway = two_services(&library).await;
    until("checked", async || gateway.get("/health/detailed").await.value()["status"] == "degraded").await;
    let mut client = health_client(&gateway).await;
    let request = HealthCheckRequest { service: "library.v1.Library".to_owned() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || status(&soon("a status", watch.next()).await.unwrap().unwrap());
    assert_eq!(next().await, ServingStatus::Serving);
    library.set_serving(false);
    assert_eq!(next().await, ServingStatus::NotServing);
    library.set_serving(true);
    assert_eq!(next().await, ServingStatus::Serving);
}

async fn health_client(gateway: &Running) -> HealthClient<Channel> {
    let address = format!("http://{}", gateway.address());
    HealthClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

fn status(response: &HealthCheckResponse) -> ServingStatus {
    ServingStatus::try_from(response.status).unwrap()
}

#[tokio::test]
async fn detailed_health_has_these_fields_alone() {
    let library = library().await;
    let gateway = two_services(&library).await;
    let body = gateway.get("/health/detailed").await.value();
    let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "circuit_breakers",
            "dependencies",
            "ejected_endpoints",
            "grpc_connections",
            "services",
            "status",
            "timestamp"
        ]
    );
    assert!(matches!(&body["services"], Value::Object(services) if services.len() == 2));
}
