//! The rules of metadata: which headers cross the gateway because configuration lists them, and which never do.
//! (`rest_metadata` has the rules that need no configuration.)

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use transom::gateway::Problem;
use transom::telemetry::Metrics;
use transom_transcode::status::Code;

use crate::support::gateway::gateway;
use crate::support::reply::{fail, ok};
use crate::support::rules::rules_with;
use crate::support::upstream;

const THING: &str = "/v1/things/7";

#[tokio::test]
async fn listed_request_headers_become_metadata() {
    let config = "headers: { request: [x-tenant, User-Agent, x-blob-bin] }
methods: { rules.v1.Rules/Inspect: { headers: { request: [x-other] } } }
";
    let (service, gateway) = rules_with(config).await;
    let blob = STANDARD.encode([0, 255, 7]);
    let call = |path: &str| {
        let call = gateway.get(path).header("x-tenant", "a").header("x-tenant", "b").header("user-agent", "me");
        call.header("x-other", "o").header("x-blob-bin", &blob)
    };
    call(THING).await.status(200);
    let saw = service.saw("Thing");
    let values: Vec<_> = saw.last().headers.get_all("x-tenant").iter().collect();
    assert_eq!(values, ["a", "b"]);
    saw.header("user-agent", "me").header("x-blob-bin", &blob).no_header("x-other");
    // The method's own list takes the place of the general one.
    call("/v1/things/7:inspect").await.status(200);
    service.saw("Inspect").header("x-other", "o").no_header("x-tenant");
}

#[tokio::test]
async fn binary_metadata_is_base64() {
    let (service, gateway) = rules_with("headers: { request: [x-blob-bin] }").await;
    for good in ["AP8H", "AP8", "AP8=", "AP8H, AAAA", ""] {
        gateway.get(THING).header("x-blob-bin", good).await.status(200);
    }
    for bad in ["?", "AP8H;", "A"] {
        gateway.get(THING).header("x-blob-bin", bad).await.status(400).reason("BAD_REQUEST");
    }
    service.saw("Thing").times(5);
}

#[tokio::test]
async fn a_listed_header_that_connection_names_stays_behind() {
    let (service, gateway) = rules_with("headers: { request: [x-tenant] }").await;
    gateway.get(THING).header("x-tenant", "a").header("connection", "X-Tenant").await.status(200);
    service.saw("Thing").no_header("x-tenant");
}

#[test]
fn what_says_who_the_client_is_or_frames_cannot_be_listed() {
    let config = "headers: { request: [cookie, X_User_Id, x-forwarded-for, grpc-timeout, content-length, x-ok], response: [content-type, x-http-code, set-cookie] }
methods: { library.v1.Library/GetBook: { headers: { request: [host] } } }
";
    let builder = gateway().descriptors("library").config(config);
    let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
    let problems = builder.compile(&Metrics::new()).err().unwrap();
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    let places = ["request[0]", "request[1]", "request[2]", "request[3]", "request[4]", "response[0]", "response[1]"];
    for (place, told) in places.iter().zip(&problems) {
        assert!(told.starts_with(&format!("1: headers.{place}: this header never crosses")), "{told}");
    }
    assert!(problems[7].contains("methods[\"library.v1.Library/GetBook\"].headers.request[0]"), "{problems:#?}");
    assert_eq!(problems.len(), 8, "{problems:#?}");
}

#[tokio::test]
async fn headers_for_browsers_cross_where_they_are_listed() {
    let service = upstream::grpc("rules.v1.Rules")
        .unary("Thing", |_| {
            let reply = ok(json!({})).header("set-cookie", "a=1").header("set-cookie", "b=2").trailer("location", "/x");
            reply.header("access-control-allow-origin", "*").header("strict-transport-security", "max-age=1")
        })
        .unary("Inspect", |_| fail(Code::Unauthenticated, "log in").trailer("set-cookie", "a=; max-age=0"))
        .start()
        .await;
    let plain = gateway().descriptors("rules").upstream("rules", &service).start().await;
    plain.get(THING).await.status(200).no_header("set-cookie").no_header("location");
    let listed = "headers: { response: [set-cookie, access-control-allow-origin, strict-transport-security] }
methods: { rules.v1.Rules/Thing: { headers: { response: [set-cookie, location] } } }
";
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(listed).start().await;
    let reply = gateway.get(THING).await;
    let cookies: Vec<_> = reply.status(200).headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    reply.header("location", "/x").no_header("access-control-allow-origin").no_header("strict-transport-security");
    // Beside an error too.
    gateway.get("/v1/things/7:inspect").await.status(401).header("set-cookie", "a=; max-age=0");
}

#[tokio::test]
async fn x_http_code_redirects_where_the_method_may() {
    let service = upstream::grpc("rules.v1.Rules")
        .unary("Thing", |request| {
            let code = request["text"].as_str().unwrap().to_owned();
            ok(json!({ "id": "7" })).header("x-http-code", &code).header("location", "/elsewhere")
        })
        .start()
        .await;
    let config = "methods: { rules.v1.Rules/Thing: { redirects: true } }";
    let may = gateway().descriptors("rules").upstream("rules", &service).config(config).start().await;
    let may_not = gateway().descriptors("rules").upstream("rules", &service).start().await;
    for code in [301, 302, 303, 307, 308] {
        let path = format!("{THING}?text={code}");
        may.get(&path).await.status(code).header("location", "/elsewhere").no_header("x-http-code");
        may_not.get(&path).await.status(200).no_header("location");
    }
    assert!(may.get(&format!("{THING}?text=304")).await.status(304).body.is_empty());
    for code in ["199", "400", "500", "3", "30x"] {
        may.get(&format!("{THING}?text={code}")).await.status(200);
    }
}
