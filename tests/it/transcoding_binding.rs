//! The rules of binding: what path, query and body make of a request message.

use serde_json::json;

use crate::support::client::Reply;
use crate::support::gateway::gateway;
use crate::support::reply::ok;
use crate::support::rules::{rules, rules_with, seen};
use crate::support::upstream;

/// It is refused, and the field that it is about is named.
#[track_caller]
fn refused(reply: &Reply, field: &str) {
    reply.status(400).reason("BAD_REQUEST");
    let body = reply.value();
    let told = body["details"][1]["fieldViolations"][0]["field"].as_str().unwrap_or_default();
    assert_eq!(told, field, "{body}");
}

#[tokio::test]
async fn what_the_path_binds_may_be_said_again_but_not_changed() {
    let (service, gateway) = rules().await;
    gateway.post("/v1/bound/7", &json!({ "id": "7", "text": "a" })).await.status(200);
    assert_eq!(seen(&service, "Bound"), json!({ "id": "7", "text": "a" }));
    refused(&gateway.post("/v1/bound/7", &json!({ "id": "8" })).await, "id");
    gateway.get("/v1/things/7?id=7").await.status(200);
    refused(&gateway.get("/v1/things/7?id=8").await, "id");
    // Null is absent.
    gateway.post("/v1/bound/7", &json!({ "id": null })).await.status(200);
    assert_eq!(seen(&service, "Bound"), json!({ "id": "7" }));
}

#[tokio::test]
async fn a_bound_field_is_woven_into_the_bodys_message() {
    let (service, gateway) = rules().await;
    gateway.post("/v1/nested/7?text=b", &json!({ "text": "a" })).await.status(200);
    assert_eq!(seen(&service, "Nested"), json!({ "inner": { "id": "7", "text": "a" }, "text": "b" }));
    gateway.request("POST", "/v1/nested/7").await.status(200);
    assert_eq!(seen(&service, "Nested"), json!({ "inner": { "id": "7" } }));
}

#[tokio::test]
async fn a_singular_key_twice_must_say_the_same() {
    let (_service, gateway) = rules().await;
    gateway.get("/v1/query?text=a&text=a").await.status(200);
    refused(&gateway.get("/v1/query?text=a&text=b").await, "text");
    refused(&gateway.get("/v1/query?int32Value=1&int32_value=2").await, "int32_value");
}

#[tokio::test]
async fn a_query_key_under_the_bodys_field_is_refused() {
    let (_service, gateway) = rules().await;
    refused(&gateway.post("/v1/nested/7?inner.text=a", &json!({})).await, "inner.text");
    refused(&gateway.post("/v1/nested/7?inner=a", &json!({})).await, "inner");
}

#[tokio::test]
async fn one_member_of_a_oneof_over_all_sources() {
    let (_service, gateway) = rules().await;
    refused(&gateway.get("/v1/query?left=a&right=1").await, "right");
    refused(&gateway.post("/v1/bound/7", &json!({ "left": "a", "right": 1 })).await, "right");
    gateway.post("/v1/bound/7", &json!({ "left": "a", "right": null })).await.status(200);
}

#[tokio::test]
async fn a_whole_body_leaves_nothing_to_the_query() {
    let (_service, gateway) = rules().await;
    refused(&gateway.post("/v1/same?text=a", &json!({})).await, "text");
}

#[tokio::test]
async fn a_body_where_the_rule_has_none_is_refused_unless_empty() {
    let (_service, gateway) = rules().await;
    gateway.post("/v1/nameless", &json!({})).await.status(400).reason("BAD_REQUEST");
    gateway.request("POST", "/v1/nameless").header("content-type", "application/json").await.status(200);
    let get = gateway.get("/v1/query").header("content-type", "application/json").body("{}");
    get.await.status(400).reason("BAD_REQUEST");
}

#[tokio::test]
async fn unknown_keys_and_fields_are_refused_by_name() {
    let (_service, gateway) = rules().await;
    refused(&gateway.get("/v1/query?nope=1").await, "nope");
    refused(&gateway.get("/v1/query?inner.nope=1").await, "inner.nope");
    refused(&gateway.post("/v1/same", &json!({ "inner": { "nope": 1 } })).await, "inner.nope");
}

#[tokio::test]
async fn unknown_keys_and_fields_are_read_over_where_the_method_says_so() {
    let (service, gateway) = rules_with("methods: { rules.v1.Rules/*: { unknown_fields: ignore } }").await;
    gateway.get("/v1/query?nope=1&inner.nope=2&text=a").await.status(200);
    assert_eq!(seen(&service, "Query"), json!({ "text": "a" }));
    gateway.post("/v1/same", &json!({ "nope": { "a": [1] }, "color": "PINK", "text": "a" })).await.status(200);
    assert_eq!(seen(&service, "Same"), json!({ "text": "a" }));
}

#[tokio::test]
async fn system_parameters_are_no_fields() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/query?$key=k&%24fields=a&%24prettyPrint=1&text=a").await.status(200);
    assert_eq!(seen(&service, "Query"), json!({ "text": "a" }));
    let as_numbers = ["$alt=json;enum-encoding=int", "%24alt=json%3Benum-encoding%3Dint"];
    for query in as_numbers {
        gateway.get(&format!("/v1/query?color=RED&{query}")).await.status(200).json(&json!({ "color": 1 }));
        // Beside a whole body too.
        let reply = gateway.post(&format!("/v1/same?{query}"), &json!({ "color": "RED" })).await;
        reply.status(200).json(&json!({ "color": 1 }));
    }
    gateway.get("/v1/query?color=RED&$alt=json").await.status(200).json(&json!({ "color": "RED" }));
    refused(&gateway.get("/v1/query?alt=json").await, "alt");
}

#[tokio::test]
async fn query_keys_take_either_name_and_dotted_paths() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/query?int32Value=1&inner.int64_value=2&inner.inner.otherName=x&inner.renamed=y").await.status(200);
    let inner = json!({ "int64_value": "2", "inner": { "renamed": "x" }, "renamed": "y" });
    assert_eq!(seen(&service, "Query"), json!({ "int32_value": 1, "inner": inner }));
}

#[tokio::test]
async fn repeated_scalars_are_repeated_keys() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/query?numbers=3&text=a&numbers=1&numbers=3").await.status(200);
    assert_eq!(seen(&service, "Query"), json!({ "numbers": [3, 1, 3], "text": "a" }));
    refused(&gateway.get("/v1/query?items=1").await, "items");
    refused(&gateway.get("/v1/query?items.text=1").await, "items.text");
}

#[tokio::test]
async fn maps_are_keys_in_brackets() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/query?labels[a]=1&labels%5Bb.c%5D=x+y&colors[7]=RED&inner.labels[]=e").await.status(200);
    assert_eq!(
        seen(&service, "Query"),
        json!({ "labels": { "a": "1", "b.c": "x y" }, "colors": { "7": "RED" }, "inner": { "labels": { "": "e" } } })
    );
    refused(&gateway.get("/v1/query?labels=a").await, "labels");
    refused(&gateway.get("/v1/query?text[a]=1").await, "text[a]");
    refused(&gateway.get("/v1/query?colors[x]=RED").await, "colors[x]");
    gateway.get("/v1/query?labels[a]=1&labels[a]=2").await.status(400);
}

#[tokio::test]
async fn enums_are_names_or_numbers() {
    let (service, gateway) = rules().await;
    for (value, seen_as) in [("RED", json!("RED")), ("2", json!("BLUE")), ("77", json!(77))] {
        gateway.get(&format!("/v1/query?color={value}")).await.status(200);
        assert_eq!(seen(&service, "Query"), json!({ "color": seen_as }));
    }
    refused(&gateway.get("/v1/query?color=PINK").await, "color");
}

#[tokio::test]
async fn well_known_types_are_their_json_strings() {
    let (service, gateway) = rules().await;
    gateway
        .get("/v1/query?at=2026-01-31T23:59:59Z&lasts=1.5s&mask=a,bC&box=x&bytesValue=-_8&maybe=0")
        .await
        .status(200);
    assert_eq!(
        seen(&service, "Query"),
        json!({ "at": "2026-01-31T23:59:59Z", "lasts": "1.500s", "mask": "a,bC", "box": "x", "bytes_value": "+/8=",
                "maybe": 0 })
    );
    refused(&gateway.get("/v1/query?structure=%7B%7D").await, "structure");
    refused(&gateway.get("/v1/query?at=now").await, "at");
}

#[tokio::test]
async fn plus_is_a_space_in_a_query_and_itself_in_a_path() {
    let (service, gateway) = rules().await;
    gateway.get("/v1/things/a+b?text=c+d%2B").await.status(200);
    assert_eq!(seen(&service, "Thing"), json!({ "id": "a+b", "text": "c d+" }));
}

#[tokio::test]
async fn a_body_may_be_a_scalar_or_a_list() {
    let (service, gateway) = rules().await;
    gateway.request("PUT", "/v1/scalar?id=7").json(&json!("text")).await.status(200);
    assert_eq!(seen(&service, "Scalar"), json!({ "id": "7", "text": "text" }));
    let numbers = gateway.request("PUT", "/v1/numbers").json(&json!([1, 2])).await;
    numbers.status(200).json(&json!([1, 2]));
    assert_eq!(seen(&service, "Numbers"), json!({ "numbers": [1, 2] }));
}

#[tokio::test]
async fn a_response_body_is_one_field() {
    let (_service, gateway) = rules().await;
    gateway.request("POST", "/v1/nameless?inner.id=7&text=a").await.status(200).json(&json!({ "id": "7" }));
    // An absent message has no fields, an absent list no elements.
    gateway.request("POST", "/v1/nameless").await.status(200).json(&json!({}));
    gateway.request("PUT", "/v1/numbers").json(&json!([])).await.status(200).json(&json!([]));
}

#[tokio::test]
async fn patch_makes_its_mask_from_the_bodys_fields() {
    let (service, gateway) = rules().await;
    let patch = async |query: &str, body: serde_json::Value| {
        gateway.request("PATCH", &format!("/v1/its/7{query}")).json(&body).await.status(200);
        seen(&service, "Update")["update_mask"].clone()
    };
    let body = json!({ "text": "a", "inner": { "int32Value": 1, "items": [{}] }, "labels": { "a": "b" }, "box": null });
    assert_eq!(patch("", body).await, "box,inner.int32Value,inner.items,labels,text");
    assert_eq!(patch("", json!({})).await, "");
    // The path says which one is meant: that is no change to it.
    assert_eq!(patch("", json!({ "id": "its/7", "flag": false })).await, "flag");
    // The client's own stands, whatever it says.
    assert_eq!(patch("?updateMask=text", json!({ "flag": true })).await, "text");
}

#[tokio::test]
async fn a_form_binds_like_a_query() {
    let (service, gateway) = rules().await;
    let form = |method: &str, path: &str, body: &'static str| {
        gateway.request(method, path).header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    form("POST", "/v1/bound/7", "text=a+b&numbers=1&numbers=2&labels[k]=v&inner.flag=true").await.status(200);
    assert_eq!(
        seen(&service, "Bound"),
        json!({ "id": "7", "text": "a b", "numbers": [1, 2], "labels": { "k": "v" }, "inner": { "flag": true } })
    );
    form("POST", "/v1/nested/7?text=q", "text=b").await.status(200);
    assert_eq!(seen(&service, "Nested"), json!({ "text": "q", "inner": { "id": "7", "text": "b" } }));
    form("PATCH", "/v1/its/7", "text=a&inner.flag=false").await.status(200);
    assert_eq!(seen(&service, "Update")["update_mask"], "text,inner.flag");
    refused(&form("POST", "/v1/bound/7", "id=8").await, "id");
    refused(&form("POST", "/v1/same", "nope=1").await, "nope");
    form("PUT", "/v1/scalar", "a=b").await.status(400).reason("BAD_REQUEST");
    form("POST", "/v1/nameless", "text=a").await.status(400).reason("BAD_REQUEST");
    let latin = gateway.request("POST", "/v1/same").body("text=a");
    let latin = latin.header("content-type", "application/x-www-form-urlencoded; charset=latin1").await;
    latin.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn a_raw_body_crosses_as_it_is_with_its_type() {
    let (service, gateway) = rules().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for content_type in [
        "image/png",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain; charset=x",
        // What an RPC's own path would take for a dialect.
        "application/proto",
        "application/grpc",
        "application/grpc-web-text+proto",
        "application/connect+json",
    ] {
        let call = gateway.request("POST", "/v1/uploads/7?note=n").header("content-type", content_type);
        let reply = call.body(bytes.clone()).http2().await;
        reply.status(200).header("content-type", content_type).header("x-content-type-options", "nosniff");
        assert!(reply.body == bytes, "{content_type}");
        let request = seen(&service, "Upload");
        assert_eq!((&request["name"], &request["note"]), (&json!("7"), &json!("n")));
        assert_eq!(request["file"]["content_type"], content_type);
    }
    // The whole request; without a type there is none, and the answer is a stream of bytes.
    let reply = gateway.request("POST", "/v1/mirror").body("{").await;
    assert_eq!(reply.status(200).header("content-type", "application/octet-stream").text(), "{");
    assert_eq!(seen(&service, "Mirror"), json!({ "data": "ew==" }));
    // Where only JSON is taken, other types are refused.
    let reply = gateway.request("POST", "/v1/same").header("content-type", "application/x-proto").body("x").await;
    reply.status(415).reason("UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn a_raw_body_is_bounded_like_any() {
    let (service, gateway) = rules_with("methods: { rules.v1.Rules/Mirror: { limits: { body: 1KiB } } }").await;
    gateway.request("POST", "/v1/mirror").body(vec![0; 1025]).await.status(413).reason("TOO_LARGE");
    gateway.request("POST", "/v1/mirror").body(vec![0; 1024]).await.status(200);
    let encoded = gateway.request("POST", "/v1/mirror").header("content-encoding", "compress").body("x");
    encoded.await.status(415);
    service.saw("Mirror").times(1);
}

#[tokio::test]
async fn a_raw_answer_may_be_one_field() {
    let service = upstream::grpc("rules.v1.Rules").unary("Download", |request| {
        let file = json!({ "content_type": request["note"], "data": "PGI+" });
        ok(json!({ "name": "x", "file": file }))
    });
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    let reply = gateway.get("/v1/uploads/7?note=text/html").await;
    assert_eq!(reply.status(200).header("content-type", "text/html").text(), "<b>");
    let head = gateway.request("HEAD", "/v1/uploads/7?note=text/html").await;
    head.status(200).header("content-type", "text/html").header("content-length", "3");
    // What is no media type becomes no header.
    let reply = gateway.get("/v1/uploads/7?note=html").await;
    assert_eq!(reply.status(200).header("content-type", "application/octet-stream").text(), "<b>");
    for wrong in ["text/html%0d%0aset-cookie:%20a=b", "text/h%C3%A9"] {
        let reply = gateway.get(&format!("/v1/uploads/7?note={wrong}")).await;
        reply.status(502).reason("UPSTREAM_PROTOCOL").no_header("set-cookie");
    }
}
