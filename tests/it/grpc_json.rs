//! gRPC whose messages are JSON: the frames and trailers of gRPC, translated message by message.

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::grpc::{GrpcStream, frame};
use crate::support::reply::{fail, ok, stream};
use crate::support::upstream::{self, Upstream};

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("Echo", |book| ok(book.clone()).header("x-shelf", "7").trailer("x-cost", "3"))
        .unary("GetBook", |_| fail(Code::NotFound, "no such book").trailer("x-hint", "elsewhere"))
        .server_stream("WatchBooks", |_| {
            stream([json!({ "title": "A" }), json!({ "pages": "7" })]).then_fail(Code::Aborted, "enough")
        })
        .bidi("Discuss", |remark| vec![remark.clone()])
        .start()
        .await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").expose_all().upstream("library", library).start().await
}

async fn open(gateway: &Running, method: &str) -> GrpcStream {
    let call = gateway.grpc(&format!("library.v1.Library/{method}"));
    let call = call.header("content-type", "application/grpc+json").header("grpc-accept-encoding", "gzip");
    call.header("x-custom", "kept").open().await
}

fn send(call: &mut GrpcStream, json: &str) {
    call.send_bytes(frame(json.as_bytes()));
}

async fn next(call: &mut GrpcStream) -> Option<Value> {
    call.next_bytes().await.map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn messages_are_translated_one_by_one() {
    let library = library().await;
    let gateway = start(&library).await;

    let mut call = open(&gateway, "Echo").await;
    send(&mut call, r#"{ "title": "Dune", "pages": 412 }"#);
    call.close();
    assert_eq!(call.headers().await["content-type"], "application/grpc+json");
    assert_eq!(call.headers().await["x-shelf"], "7");
    assert_eq!(next(&mut call).await, Some(json!({ "title": "Dune", "pages": "412" })));
    let reply = call.status().await;
    assert_eq!(reply.failed(Code::Ok).trailers["x-cost"], "3");
    let saw = library.saw("Echo");
    saw.message(&json!({ "title": "Dune", "pages": "412" })).header("x-custom", "kept");
    saw.header("content-type", "application/grpc").header("grpc-accept-encoding", "gzip");

    let mut call = open(&gateway, "Discuss").await;
    for text in ["one", "two"] {
        // Each answer comes before the next remark is sent.
        send(&mut call, &json!({ "text": text }).to_string());
        assert_eq!(next(&mut call).await, Some(json!({ "text": text })));
    }
    call.close();
    call.status().await.failed(Code::Ok);
}

#[tokio::test]
async fn errors_are_trailers_wherever_they_come() {
    let library = library().await;
    let gateway = start(&library).await;

    let mut call = open(&gateway, "GetBook").await;
    send(&mut call, "{}");
    call.close();
    assert_eq!(call.headers().await["content-type"], "application/grpc+json");
    assert_eq!(call.status().await.failed(Code::NotFound).trailers["x-hint"], "elsewhere");

    let mut call = open(&gateway, "WatchBooks").await;
    send(&mut call, "{}");
    call.close();
    assert_eq!(next(&mut call).await, Some(json!({ "title": "A" })));
    assert_eq!(next(&mut call).await, Some(json!({ "pages": "7" })));
    call.status().await.failed(Code::Aborted);

    // The first remark arrives; the second one is none.
    let mut call = open(&gateway, "Discuss").await;
    send(&mut call, r#"{ "text": "one" }"#);
    assert_eq!(next(&mut call).await, Some(json!({ "text": "one" })));
    send(&mut call, r#"{ "txt": "two" }"#);
    let reply = call.status().await;
    reply.failed(Code::InvalidArgument);
    assert!(reply.message.starts_with("[1].txt: message 2: "), "{}", reply.message);
    library.cancelled("Discuss", 1).await;
    library.saw("Discuss").messages(&[json!({ "text": "one" })]);
    assert_eq!(gateway.logged(3).await[2]["reason"], "BAD_REQUEST");
}
