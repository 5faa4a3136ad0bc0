//! Metrics and the access log: each call is counted once and logged once, whatever became of it.

use serde_json::{Value, json};
use transom::telemetry::DialectName;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{fail, hang, ok};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })))
        .unary("DeleteBook", |_| fail(Code::NotFound, "no such book"))
        .unary("Echo", |_| hang())
        .start()
        .await
}

async fn behind(library: &Upstream) -> Running {
    gateway().descriptors("library").upstream("library", library).start().await
}

#[tokio::test]
async fn calls_are_counted_exactly() {
    let library = library().await;
    let gateway = behind(&library).await;
    for _ in 0..5 {
        gateway.get("/v1/shelves/1/books/7").await.status(200);
    }
    for _ in 0..3 {
        gateway.request("DELETE", "/v1/shelves/1/books/7").await.status(404);
    }
    gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await.failed(Code::Ok);
    gateway.get("/nowhere").await.status(404);

    let get = r#"service="library.v1.Library",method="GetBook",route="/v1/{name=shelves/*/books/*}",dialect="rest""#;
    let delete = get.replace("GetBook", "DeleteBook");
    let rpc = r#"service="library.v1.Library",method="GetBook",route="/library.v1.Library/GetBook",dialect="grpc""#;
    let none = r#"service="",method="",route="",dialect="rest""#;
    let endpoint = format!(r#"upstream="library",endpoint="{}""#, library.address());
    let counted = || {
        [
            format!(r#"transom_requests_total{{{get},code="OK"}}"#),
            format!(r#"transom_requests_total{{{delete},code="NOT_FOUND"}}"#),
            format!(r#"transom_requests_total{{{rpc},code="OK"}}"#),
            format!(r#"transom_requests_total{{{none},code="NOT_FOUND"}}"#),
            r#"transom_request_duration_seconds_count{service="library.v1.Library",method="GetBook",route="/library.v1.Library/GetBook",dialect="grpc"}"#.to_owned(),
            format!(r#"transom_upstream_calls_total{{{endpoint},outcome="ok"}}"#),
            format!(r#"transom_upstream_calls_total{{{endpoint},outcome="status"}}"#),
            "transom_in_flight".to_owned(),
            format!("transom_upstream_in_flight{{{endpoint}}}"),
        ]
        .map(|series| gateway.metric(&series))
    };
    let wanted = [5.0, 3.0, 1.0, 1.0, 1.0, 6.0, 3.0, 0.0, 0.0];
    until("all are counted", async || counted() == wanted).await;
    assert!(gateway.metric(&format!("transom_upstream_connections{{{endpoint}}}")) >= 1.0);

    let page = gateway.admin("/metrics").await.text();
    assert!(page.contains(&format!("transom_requests_total{{{get},code=\"OK\"}} 5\n")), "{page}");
}

#[tokio::test]
async fn a_call_in_flight_shows_and_a_client_that_leaves_is_counted() {
    let library = library().await;
    let gateway = behind(&library).await;
    let call = tokio::spawn(gateway.post("/v1/echo", &json!({})).try_send());
    library.called("Echo", 1).await;
    let endpoint = format!(r#"upstream="library",endpoint="{}""#, library.address());
    assert_eq!(gateway.metric("transom_in_flight"), 1.0);
    assert_eq!(gateway.metric(&format!("transom_upstream_in_flight{{{endpoint}}}")), 1.0);
    call.abort();
    library.cancelled("Echo", 1).await;
    until("nothing is in flight", async || gateway.metric("transom_in_flight") == 0.0).await;
    let cancelled = format!(r#"transom_upstream_calls_total{{{endpoint},outcome="cancelled"}}"#);
    until("counted at the endpoint", async || gateway.metric(&cancelled) == 1.0).await;

    let line = gateway.log().await.into_iter().find(|line| line["path"] == "/v1/echo").unwrap();
    assert_eq!(
        (&line["status"], &line["code"], &line["reason"]),
        (&json!(499), &json!("CANCELLED"), &json!("CLIENT_GONE"))
    );
}

#[tokio::test]
async fn one_line_per_call() {
    let library = library().await;
    let gateway = behind(&library).await;
    gateway.get("/v1/shelves/1/books/7?$alt=json&$token=secret").header("x-request-id", "first").await.status(200);
    let named = json!({ "name": "x" });
    gateway.grpc("library.v1.Library/DeleteBook").header("x-request-id", "second").send(&[named]).await;
    gateway.get("/no%20such%22%0apath").header("x-request-id", "third").await.status(404);

    let mut lines = gateway.log().await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let by_id = |lines: &[Value], id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap().clone();
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        let time: jiff::Timestamp = line.remove("timestamp").unwrap().as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(time).as_secs() < 30);
        assert!(line.remove("duration_us").unwrap().as_u64().unwrap() > 0);
    }
    assert_eq!(
        by_id(&lines, "first"),
        json!({
            "level": "INFO", "log": "access", "request_id": "first", "client": "127.0.0.1", "method": "GET",
            "path": "/v1/shelves/1/books/7", "route": "/v1/{name=shelves/*/books/*}",
            "rpc": "library.v1.Library/GetBook", "dialect": "rest", "status": 200, "code": "OK", "bytes_in": 0,
            "bytes_out": 16, "endpoint": library.address().to_string(),
        })
    );
    let second = by_id(&lines, "second");
    assert_eq!(second["dialect"], DialectName::Grpc.name());
    assert_eq!((&second["status"], &second["code"]), (&json!(200), &json!("NOT_FOUND")));
    assert_eq!(second["endpoint"], library.address().to_string());
    // Its prefix, a tag, a length, a letter.
    assert_eq!(second["bytes_in"], 8);
    let third = by_id(&lines, "third");
    assert_eq!(
        (&third["path"], &third["rpc"], &third["reason"], &third["code"]),
        (&json!("/no%20such%22%0apath"), &json!(""), &json!("NO_ROUTE"), &json!("NOT_FOUND"))
    );
}

#[tokio::test]
async fn built_in_endpoints_are_answered_to_the_end() {
    let gateway = gateway().start().await;
    let mut kept = gateway.connect().await;
    for path in ["/health", "/livez", "/readyz"] {
        for method in ["GET", "HEAD"] {
            kept.send(method, path).await.unwrap();
            gateway.request(method, path).http2().await;
        }
    }
    let lines = gateway.logged(12).await;
    for line in &lines {
        let status = if line["path"] == "/readyz" { 503 } else { 200 };
        assert_eq!(
            (&line["status"], &line["code"], line.get("reason")),
            (&json!(status), &json!("OK"), None),
            "{line}"
        );
        let empty = line["method"] == "HEAD";
        assert_eq!(line["bytes_out"] == 0, empty, "{line}");
    }
    let counted = r#"transom_requests_total{service="",method="",route="/health",dialect="http",code="OK"}"#;
    assert_eq!(gateway.metric(counted), 4.0, "{}", gateway.state.metrics.encode());
}
