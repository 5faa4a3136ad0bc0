//! The rules of JSON at the edge: what a body may say, and how an answer says it. (The suites of the transcoder go further;
//! here is what a client of the gateway sees.)

use serde_json::{Value, json};

use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::reply::stream;
use crate::support::rules::{rules, rules_with, seen};
use crate::support::upstream;

/// Posts this text, and gives the answer's.
async fn echoed(gateway: &Running, text: &str) -> Value {
    let call = gateway.request("POST", "/v1/same").header("content-type", "application/json");
    call.body(text.to_owned()).await.status(200).value()
}

async fn refused(gateway: &Running, text: impl Into<Vec<u8>>) {
    let call = gateway.request("POST", "/v1/same").header("content-type", "application/json");
    call.body(text.into()).await.status(400).reason("BAD_REQUEST");
}

#[tokio::test]
async fn integers_of_64_bits_are_strings_out_and_either_in() {
    let (_service, gateway) = rules().await;
    for text in [r#"{"int64Value": 9007199254740993}"#, r#"{"int64Value": "9007199254740993"}"#] {
        assert_eq!(echoed(&gateway, text).await, json!({ "int64Value": "9007199254740993" }));
    }
    for wrong in ["9223372036854775808", "1.5", "\"x\"", "true"] {
        refused(&gateway, format!("{{\"int64Value\": {wrong}}}")).await;
    }
    refused(&gateway, "{\"int32Value\": 2147483648}").await;
}

#[tokio::test]
async fn enums_are_names_out_and_unknown_numbers_are_kept() {
    let (_service, gateway) = rules().await;
    assert_eq!(echoed(&gateway, r#"{"color": 1}"#).await, json!({ "color": "RED" }));
    assert_eq!(echoed(&gateway, r#"{"color": 77}"#).await, json!({ "color": 77 }));
    refused(&gateway, r#"{"color": "PINK"}"#).await;
}

#[tokio::test]
async fn names_are_lower_camel_case_out_and_either_in() {
    let (_service, gateway) = rules().await;
    let expected = json!({ "int32Value": 1, "otherName": "a" });
    assert_eq!(echoed(&gateway, r#"{"int32_value": 1, "renamed": "a"}"#).await, expected);
    assert_eq!(echoed(&gateway, r#"{"int32Value": 1, "otherName": "a"}"#).await, expected);
    refused(&gateway, r#"{"int32_value": 1, "int32Value": 1}"#).await;
}

#[tokio::test]
async fn bytes_are_base64_out_and_either_alphabet_in() {
    let (_service, gateway) = rules().await;
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        assert_eq!(echoed(&gateway, &json!({ "bytesValue": text }).to_string()).await, json!({ "bytesValue": "+/8=" }));
    }
    refused(&gateway, r#"{"bytesValue": "?"}"#).await;
}

#[tokio::test]
async fn floats_may_be_infinite_and_minus_zero() {
    let (_service, gateway) = rules().await;
    for text in ["NaN", "Infinity", "-Infinity"] {
        let json = json!({ "doubleValue": text });
        assert_eq!(echoed(&gateway, &json.to_string()).await, json);
    }
    let minus_zero = [&[0x39][..], &(-0.0_f64).to_le_bytes()].concat();
    let service = upstream::grpc("rules.v1.Rules")
        .unary("Same", move |_| stream([]).then_bytes(&frame(&minus_zero)))
        .start()
        .await;
    let other = crate::support::gateway::gateway().descriptors("rules").upstream("rules", &service).start().await;
    let reply = other.post("/v1/same", &json!({})).await;
    assert!(matches!(reply.text().as_str(), "{\"doubleValue\":-0.0}" | "{\"doubleValue\":-0}"), "{}", reply.text());
    refused(&gateway, r#"{"doubleValue": 1e999}"#).await;
}

#[tokio::test]
async fn well_known_types_and_any_have_their_own_json() {
    let (_service, gateway) = rules().await;
    let json = json!({
        "at": "2026-01-31T23:59:59.500Z", "lasts": "1.500s", "mask": "a,bC", "box": "x", "structure": { "a": [1, null] },
        "any": { "@type": "type.googleapis.com/rules.v1.Everything", "text": "in" }
    });
    assert_eq!(echoed(&gateway, &json.to_string()).await, json);
    refused(&gateway, r#"{"any": {"@type": "type.googleapis.com/nobody.knows.It"}}"#).await;
}

#[tokio::test]
async fn an_any_that_nobody_knows_loses_no_answer() {
    // 23: { 1: "a.b/c.D", 2: 08 01 }
    let any = [&[0x0a, 7][..], b"a.b/c.D", &[0x12, 2, 8, 1]].concat();
    let wire = [&[0xba, 1, u8::try_from(any.len()).unwrap()], &*any].concat();
    let service = upstream::grpc("rules.v1.Rules").unary("Same", move |_| stream([]).then_bytes(&frame(&wire)));
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).start().await;
    let expected = json!({ "any": { "@type": "a.b/c.D", "value": "CAE=" } });
    gateway.post("/v1/same", &json!({})).await.status(200).json(&expected);
    gateway.post("/rules.v1.Rules/Same", &json!({})).await.status(200).json(&expected);
}

#[tokio::test]
async fn null_is_absent_but_not_in_lists() {
    let (_service, gateway) = rules().await;
    assert_eq!(echoed(&gateway, r#"{"text": null, "items": null, "inner": null}"#).await, json!({}));
    refused(&gateway, r#"{"items": [null]}"#).await;
    refused(&gateway, r#"{"labels": {"a": null}}"#).await;
}

#[tokio::test]
async fn duplicates_lone_surrogates_bad_utf8_and_depth_are_errors() {
    let (service, gateway) = rules().await;
    refused(&gateway, r#"{"text": "a", "text": "a"}"#).await;
    refused(&gateway, r#"{"labels": {"a": "1", "a": "1"}}"#).await;
    refused(&gateway, r#"{"text": "\ud800"}"#).await;
    refused(&gateway, b"{\"text\": \"\xff\"}".to_vec()).await;
    let nested = |depth: usize| format!("{}{}", "{\"inner\":".repeat(depth - 1) + "{}", "}".repeat(depth - 1));
    let call = gateway.request("POST", "/v1/same").header("content-type", "application/json");
    call.body(nested(101)).await.status(400).reason("TOO_DEEP");
    refused(&gateway, "{} {}").await;
    refused(&gateway, "[]").await;
    service.saw("Same").times(0);
    echoed(&gateway, &nested(100)).await;
}

const OUTPUT: &str = "methods:
  rules.v1.Rules/Same: { output: { emit_defaults: true } }
  rules.v1.Rules/Query: { output: { enums_as_numbers: true } }
  rules.v1.Rules/Thing: { output: { proto_names: true } }
  rules.v1.Rules/Bound: { output: { int64_as_numbers: true } }
  rules.v1.Rules/Watch: { output: { proto_names: true, enums_as_numbers: true, int64_as_numbers: true } }
";

#[tokio::test]
async fn emit_defaults_prints_absent_fields() {
    let (_service, gateway) = rules_with(OUTPUT).await;
    let value = echoed(&gateway, "{}").await;
    assert_eq!(
        value,
        json!({ "id": "", "parent": "", "text": "", "int32Value": 0, "int64Value": "0", "doubleValue": 0, "flag": false,
                "bytesValue": "", "color": "COLOR_UNSPECIFIED", "numbers": [], "items": [], "labels": {}, "colors": {},
                "otherName": "" })
    );
}

#[tokio::test]
async fn enums_as_numbers_prints_numbers() {
    let (_service, gateway) = rules_with(OUTPUT).await;
    let reply = gateway.get("/v1/query?color=BLUE&colors[1]=RED").await;
    reply.status(200).json(&json!({ "color": 2, "colors": { "1": 1 } }));
}

#[tokio::test]
async fn proto_names_prints_the_protos_names() {
    let (_service, gateway) = rules_with(OUTPUT).await;
    let reply = gateway.get("/v1/things/7?int32Value=1&otherName=a").await;
    reply.status(200).json(&json!({ "id": "7", "int32_value": 1, "renamed": "a" }));
}

#[tokio::test]
async fn int64_as_numbers_prints_numbers_up_to_2_to_the_53() {
    let (_service, gateway) = rules_with(OUTPUT).await;
    let bound = async |number: i64| gateway.post("/v1/bound/7", &json!({ "int64Value": number })).await;
    bound(1 << 53).await.status(200).json(&json!({ "id": "7", "int64Value": 9007199254740992_i64 }));
    bound((1 << 53) + 1).await.status(502).reason("UPSTREAM_PROTOCOL");
}

#[tokio::test]
async fn output_options_hold_for_streams_too() {
    let service = upstream::grpc("rules.v1.Rules").server_stream("Watch", |_| {
        let one = json!({ "int32_value": 1, "int64_value": "2", "color": "RED" });
        stream([one])
    });
    let service = service.start().await;
    let gateway = gateway().descriptors("rules").upstream("rules", &service).config(OUTPUT);
    let gateway = gateway.start().await;
    let reply = gateway.get("/v1/things/7:watch").await;
    reply.status(200).json(&json!([{ "int32_value": 1, "int64_value": 2, "color": 1 }]));
    assert_eq!(seen(&service, "Watch"), json!({ "id": "7" }));
}

#[tokio::test]
async fn json_nests_as_deep_whatever_its_message_passes() {
    let demands = "sanitize: { \"*\": [trim] }, limits: { depth: 30 }";
    let (_service, gateway) = rules_with(&format!("methods: {{ rules.v1.Rules/Same: {{ {demands} }} }}")).await;
    // The message and its field are two levels; each one more is three of protobuf's.
    let nested =
        |depth: usize| format!("{{\"structure\":{}{}}}", "{\"a\":".repeat(depth - 2) + "{}", "}".repeat(depth - 2));
    assert_eq!(echoed(&gateway, &nested(30)).await, serde_json::from_str::<Value>(&nested(30)).unwrap());
    let call = gateway.request("POST", "/v1/same").header("content-type", "application/json");
    call.body(nested(31)).await.status(400).reason("TOO_DEEP");
}
