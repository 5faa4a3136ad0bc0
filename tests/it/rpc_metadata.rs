//! What RPC clients say beside their messages: what of it reaches a service, and what the edge refuses.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::gateway;
use crate::support::reply::ok;
use crate::support::speak::Speech;
use crate::support::upstream;

/// A request ends with its last message (PROTOCOL-HTTP2): a service may close the whole connection over more, or read
/// there what no client may say.
#[tokio::test]
async fn trailers_of_a_request_reach_no_service() {
    let library = upstream::grpc("library.v1.Library")
        .unary("Echo", |book| ok(book.clone()))
        .client_stream("ImportBooks", |books| ok(json!({ "imported": books.len() })))
        .start()
        .await;
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).start().await;
    let names = ["content-type", "x-user-id", "x-forwarded-for", "x-foo-bin"];
    let trailers: HeaderMap =
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("admin"))).collect();
    for speech in Speech::CLIENT_STREAM.into_iter().filter(|speech| speech.is_rpc()) {
        for version in speech.versions() {
            for method in ["Echo", "ImportBooks"] {
                if method == "Echo" && speech.name() == "connect" {
                    continue;
                }
                // Without that, hyper's client leaves them out over HTTP/1.1.
                let call = speech.call(*version, method).header("trailer", &names.join(", "));
                let mut stream = call.open(&gateway, None).await;
                stream.send(&json!({ "title": "Dune" }));
                stream.close_with(trailers.clone());
                let outcome = stream.outcome().await;
                assert_eq!(outcome.code, Some(Code::Ok), "{speech:?} over {version}: {method}");
                assert_eq!(library.saw(method).last().trailers, None, "{speech:?} over {version}: {method}");
            }
        }
    }
}

/// Services of C-core and of Go answer each of these with INTERNAL or a reset, which speaks against their endpoint.
#[tokio::test]
async fn what_no_service_could_read_is_refused_in_every_rpc_dialect() {
    let library = upstream::grpc("library.v1.Library").unary("Echo", |book| ok(book.clone())).start().await;
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).start().await;
    let well = json!({ "title": "Dune" });
    for speech in Speech::UNARY.into_iter().filter(|speech| speech.is_rpc() && !speech.is_get()) {
        for version in speech.versions() {
            let call = || speech.call(*version, "Echo");
            for (name, value) in [
                ("x-foo-bin", "!!!"),
                ("x_foo-bin", "A"),
                ("grpc-trace-bin", "!"),
                ("x!foo", "a"),
                ("x'foo", "a"),
                ("grpc-previous-rpc-attempts", "abc"),
            ] {
                let outcome = call().header(name, value).send(&gateway, std::slice::from_ref(&well)).await;
                assert_eq!(outcome.code, Some(Code::InvalidArgument), "{speech:?} {name}: {outcome:?}");
            }
            library.saw("Echo").times(0);
        }
    }
    for speech in Speech::UNARY.into_iter().filter(|speech| speech.is_rpc() && !speech.is_get()) {
        let call = speech.call(2, "Echo").header("lb-cost-bin", "AAEC").header("grpclb_client_stats", "a");
        let call = call.header("x.foo_1-bin", "AAEC, AA==,").header("grpc-previous-rpc-attempts", "2");
        let outcome = call.header("x-latin", "ä").send(&gateway, std::slice::from_ref(&well)).await;
        assert_eq!(outcome.code, Some(Code::Ok), "{speech:?}: {outcome:?}");
        let saw = library.saw("Echo");
        let values: Vec<_> = saw.last().headers.get_all("x.foo_1-bin").iter().collect();
        assert_eq!(values, ["AAEC", "AA==", ""], "{speech:?}: one by one");
        saw.header("grpc-previous-rpc-attempts", "2").no_header("lb-cost-bin").no_header("grpclb_client_stats");
    }
}

/// What proxies and meshes tell services, which believe it: of a client it is a claim to be somebody, or an order.
#[tokio::test]
async fn what_services_believe_of_proxies_crosses_where_it_is_listed() {
    let library = upstream::grpc("library.v1.Library").unary("Echo", |book| ok(book.clone())).start().await;
    let names = [
        "x-envoy-original-dst-host",
        "l5d-dst-override",
        "x-auth-request-user",
        "x-remote-user",
        "remote-user",
        "remote_user",
        "x-authenticated-userid",
        "x-consumer-username",
        "x-goog-authenticated-user-email",
        "x-goog-iap-jwt-assertion",
        "x-endpoint-api-userinfo",
        "x-amzn-oidc-identity",
        "x-ms-client-principal",
        "x-webauth-user",
        "x-jwt-payload",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x_client_ip",
        "x-original-url",
        "x-spiffe-id",
    ];
    let builder = || gateway().descriptors("library").expose_all().upstream("library", &library);
    let closed = builder().start().await;
    let open = builder().config("headers: { request: [x-auth-request-user, true-client-ip] }").start().await;
    for speech in Speech::UNARY.into_iter().filter(|speech| speech.is_rpc() && !speech.is_get()) {
        for gateway in [&closed, &open] {
            let call = names.iter().fold(speech.call(2, "Echo"), |call, name| call.header(name, "evil"));
            let call = call.header("x-goog-fieldmask", "title").header("x-tenant", "t").header("lang", "fr");
            let outcome = call.send(gateway, &[json!({ "title": "Dune" })]).await;
            assert_eq!(outcome.code, Some(Code::Ok), "{speech:?}");
            let saw = library.saw("Echo");
            saw.header("x-goog-fieldmask", "title").header("x-tenant", "t").header("lang", "fr");
            let crossed = names.iter().filter(|name| saw.last().headers.contains_key(**name)).copied();
            let listed = ["x-auth-request-user", "true-client-ip"];
            let expected: &[_] = if std::ptr::eq(gateway, &open) { &listed } else { &[] };
            assert_eq!(crossed.collect::<Vec<_>>(), expected, "{speech:?}");
        }
    }
}
