//! What a key does not count, and therefore reaches no service: one client would choose the reply of all others.

use serde_json::json;

use super::{BOOK, cached, counting, gateway_of};
use crate::support::gateway::gateway;
use crate::support::speak::Speech;
use crate::support::tokens::{SECRET, bearer, token};

/// What a client may say and no key of a public reply counts.
const UNKEYED: [(&str, &str); 9] = [
    ("x-tenant", "evil"),
    ("x-original-path", "/admin"),
    ("authorization", "Bearer evil"),
    ("baggage", "flag=evil"),
    ("tracestate", "a=evil"),
    ("traceparent", "evil"),
    ("user-agent", "evil"),
    ("referer", "https://evil.example"),
    ("sec-gpc", "evil"),
];

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_public_reply_is_asked_for_by_what_its_key_says_alone() {
    let library = counting().await;
    let gateway = cached(&library, "{ ttl: 1h, public: true, vary: [accept-language, x-shop] }").start().await;
    for (nth, speech) in Speech::UNARY.into_iter().enumerate() {
        let version = *speech.versions().last().unwrap();
        let call = UNKEYED.iter().fold(speech.call(version, "GetBook"), |call, (name, value)| call.header(name, value));
        let call = call.header("accept-language", "fr").header("x-shop", "s");
        let outcome = call.send(&gateway, &[json!({ "name": format!("shelves/1/books/{nth}") })]).await;
        assert_eq!(outcome.http, 200, "{speech:?}");
        let saw = library.saw("GetBook");
        for (name, _) in UNKEYED {
            saw.no_header(name);
        }
        saw.times(nth + 1)
            .no_header("x-forwarded-for")
            .header("accept-language", "fr")
            .header("x-forwarded-proto", "http");
        if speech.is_rpc() {
            saw.header("x-shop", "s");
        }
    }
    let traced = gateway.get("/v1/shelves/1/books/traced").header("traceparent", TRACE);
    traced.header("x-request-id", "mine").await.status(200);
    library.saw("GetBook").header("traceparent", TRACE).header("x-request-id", "mine");
}

#[tokio::test]
async fn a_private_reply_is_too() {
    let library = counting().await;
    let gateway = cached(&library, "1h").start().await;
    let call =
        UNKEYED.iter().fold(gateway.grpc("library.v1.Library/GetBook"), |call, (name, value)| call.header(name, value));
    call.send(&[json!({ "name": "n" })]).await.ok(&[json!({ "name": "n", "pages": "1" })]);
    let saw = library.saw("GetBook");
    saw.header("x-tenant", "evil").header("authorization", "Bearer evil");
    for name in ["baggage", "tracestate", "traceparent", "user-agent", "referer", "sec-gpc"] {
        saw.no_header(name);
    }
}

#[tokio::test]
async fn what_a_verified_token_says_is_nobody_s_choice() {
    let library = counting().await;
    for access in ["required", "public"] {
        let gateway = gateway_of(
            &library,
            &format!(
                "auth: {{ jwt: {{ secret: {SECRET} }}, forward: true, inject: {{ sub: x-user-id }} }}\n\
                 methods: {{ library.v1.Library/GetBook: {{ auth: {access}, cache: {{ ttl: 1h, public: true }} }} }}"
            ),
        );
        let gateway = gateway.start().await;
        let bearer = bearer(&token(&json!({ "sub": "ada" })));
        gateway.get("/v1/shelves/1/books/1").header("authorization", &bearer).await.status(200);
        if access == "required" {
            library.saw("GetBook").times(1).header("authorization", &bearer).header("x-user-id", "ada");
        } else {
            library.saw("GetBook").times(2).no_header("authorization").no_header("x-user-id");
        }
    }
}

#[tokio::test]
async fn an_answer_that_caches_keep_sets_no_cookie_of_one_client() {
    let library = counting().await;
    let config = "methods: { library.v1.Library/GetBook: { cache: { ttl: 1h, public: true } } }";
    let builder = gateway().descriptors("library").expose_all().config(config);
    let gateway = builder.upstream_with("library", &[&library], "balance: { hash: { cookie: at } }").start().await;
    for _ in 0..2 {
        let answer = gateway.get(BOOK).await;
        answer.status(200).header("cache-control", "public, max-age=3600").no_header("set-cookie");
    }
    let other = gateway.post("/v1/echo", &json!({})).await;
    assert!(other.status(200).headers.contains_key("set-cookie"), "a call of its own place");
}
