//! The library that every dialect and every client is tried on.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;
use transom_transcode::status::{Code, Detail, Status};

use super::reply::{fail, hang, ok, stream};
use super::upstream::{self, Upstream};

/// An upstream whose answer is in what it is asked: `shelves/1/books/hang` hangs.
pub(crate) async fn library() -> Upstream {
    library_that_waits(&Arc::default()).await
}

/// The same; `shelves/reset` waits before it resets.
pub(crate) async fn library_that_waits(notify: &Arc<Notify>) -> Upstream {
    let notify = notify.clone();
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |asked| match asked["name"].as_str().unwrap().rsplit('/').next().unwrap() {
            "hang" => hang(),
            "fail" => fail(Code::NotFound, "no such b\u{fc}cher 100%")
                .trailer("x-hint", "elsewhere")
                .trailer("grpc-status-details-bin", &details()),
            _ => ok(json!({ "name": asked["name"], "title": "Dune" }))
                .header("x-shelf", "7")
                .header("data-bin", "AAEC")
                .trailer("x-cost", "3"),
        })
        .unary("Echo", |book| ok(book.clone()))
        .server_stream("WatchBooks", move |asked| match asked["parent"].as_str().unwrap() {
            "shelves/hang" => stream([json!({ "title": "A" })]).then_hang(),
            "shelves/fail" => fail(Code::NotFound, "no such b\u{fc}cher 100%").trailer("x-hint", "elsewhere"),
            "shelves/break" => {
                stream([json!({ "title": "A" })]).then_fail(Code::Aborted, "enough").trailer("x-hint", "no")
            }
            "shelves/reset" => stream([json!({ "title": "A" })]).then_wait(&notify).then_reset(),
            "shelves/large" => stream((0..4).map(|_| json!({ "title": "x".repeat(1_000_000) }))),
            _ => stream([json!({ "title": "A" }), json!({ "title": "B", "pages": "7" })])
                .header("x-shelf", "7")
                .trailer("x-cost", "3"),
        })
        .client_stream("ImportBooks", |books| match books.first().and_then(|book| book["name"].as_str()) {
            Some("hang") => hang(),
            Some("fail") => fail(Code::NotFound, "no such b\u{fc}cher 100%").trailer("x-hint", "elsewhere"),
            _ => ok(json!({ "imported": books.len() })).header("x-shelf", "7").trailer("x-cost", "3"),
        })
        .bidi("Discuss", |remark| vec![remark.clone(), remark.clone()])
        .start()
        .await
}

/// `google.rpc.Status { code: 5, message: "", details: [Any { GetBookRequest { name: "x" } }, Any { unknown }] }`
fn details() -> String {
    let detail = |type_url: &str, value: &'static [u8]| Detail {
        type_url: type_url.to_owned(),
        value: Bytes::from_static(value),
    };
    let status = Status {
        code: Code::NotFound,
        message: String::new(),
        details: vec![
            detail("type.googleapis.com/library.v1.GetBookRequest", b"\n\x01x"),
            detail("type.example.com/acme.Unknown", b"\x08\x01"),
        ],
    };
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.to_bytes())
}
