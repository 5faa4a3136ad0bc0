//! Requests: their names and their hosts.

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::gateway;
use crate::support::reply::ok;
use crate::support::upstream;

#[tokio::test]
async fn every_answer_names_its_request() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    for (path, status) in [("/v1/shelves/1/books/7", 200), ("/nowhere", 404), ("/livez", 200), ("/v1/%zz", 400)] {
        let first = gateway.get(path).await;
        let second = gateway.get(path).http2().await;
        let ids = [&first, &second].map(|reply| reply.status(status).headers["x-request-id"].to_str().unwrap());
        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 18), "{ids:?}");
        let named = gateway.get(path).header("x-request-id", "my.own_id-1").await;
        named.status(status).header("x-request-id", "my.own_id-1");
    }
    library.saw("GetBook").header("x-request-id", "my.own_id-1");

    let reply = gateway.grpc("library.v1.Library/GetBook").header("x-request-id", "rpc-1").send(&[json!({})]).await;
    assert_eq!(reply.failed(Code::Ok).headers["x-request-id"], "rpc-1");
    library.saw("GetBook").header("x-request-id", "rpc-1");
}

#[tokio::test]
async fn an_id_that_could_do_harm_is_replaced() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    for bad in ["a b", "a\"b", "a;b", "", &"a".repeat(129)] {
        let reply = gateway.get("/v1/shelves/1/books/7").header("x-request-id", bad).await;
        let id = reply.headers["x-request-id"].to_str().unwrap();
        assert_eq!(id.len(), 18, "{bad:?} became {id:?}");
        library.saw("GetBook").header("x-request-id", id);
    }
}

/// Proxies and streaming clients do not say in the head that nothing follows it.
#[tokio::test]
async fn a_body_that_does_not_come_needs_no_type() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    for http2 in [false, true] {
        let asked = |lengths: &[&str]| {
            let call = gateway.request("GET", "/v1/shelves/1/books/7");
            let call = lengths.iter().fold(call, |call, length| call.header("content-length", length));
            let chunked = !http2 && lengths.is_empty();
            let call = if chunked { call.header("transfer-encoding", "chunked") } else { call };
            if http2 { call.http2().streamed() } else { call.streamed() }
        };
        for lengths in [&[][..], &["0"]] {
            let (call, body) = asked(lengths);
            drop(body);
            call.await.status(200);
        }
        let (call, body) = asked(&[]);
        body.send("{}".into()).unwrap();
        drop(body);
        call.await.status(415);
    }
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    for (hosts, status) in [
        ("host: a\r\n", "200"),
        ("", "400"),
        ("host: a\r\nhost: a\r\n", "400"),
        ("host: a\r\nhost: b\r\n", "400"),
        ("host: \r\n", "400"),
    ] {
        for path in ["/livez", "/v1/shelves/1/books/7", "/nothing"] {
            let status = if path == "/nothing" && status == "200" { "404" } else { status };
            let mut raw = gateway.raw().await;
            raw.write(format!("GET {path} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n")).await;
            let answer = raw.read_to_end().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {hosts:?}: {answer}");
        }
    }
    let mut raw = gateway.raw().await;
    raw.write("GET http://a/livez HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    assert!(raw.read_to_end().await.starts_with("HTTP/1.1 400 "));
}

/// HAProxy's `option httpchk` asks like that.
#[tokio::test]
async fn http_1_0_may_ask_how_the_gateway_is_without_a_host() {
    let gateway = gateway().start().await;
    for (request, status) in [
        ("GET /livez HTTP/1.0\r\n", "200"),
        ("GET /health HTTP/1.0\r\n", "200"),
        ("GET /livez HTTP/1.0\r\nhost: a\r\nhost: b\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nconnection: close\r\n", "400"),
    ] {
        let mut raw = gateway.raw().await;
        raw.write(format!("{request}\r\n")).await;
        let answer = raw.read_to_end().await;
        assert!(answer.split(' ').nth(1) == Some(status), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_body_is_chunked_and_nothing_beside() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    for (coding, status) in
        [("Chunked", "200"), ("gzip, chunked", "400"), ("gzip\r\ntransfer-encoding: chunked", "400")]
    {
        let mut raw = gateway.raw().await;
        raw.write(format!(
            "GET /v1/shelves/1/books/7 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n"
        ))
        .await;
        let answer = raw.read_until("\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{coding}: {answer}");
    }
}

#[tokio::test]
async fn upgrades_and_tunnels_are_refused() {
    let gateway = gateway().start().await;
    let mut raw = gateway.raw().await;
    raw.write("GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n").await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(!answer.starts_with("HTTP/1.1 101"), "{answer}");
    let mut raw = gateway.raw().await;
    raw.write("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\nconnection: close\r\n\r\n").await;
    assert!(raw.read_until("\r\n").await.starts_with("HTTP/1.1 4"));
}
