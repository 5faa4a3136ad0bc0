//! The test upstream itself: what other tests lean on.

use std::time::Duration;

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::reply::{fail, hang, ok, raw, stream};
use crate::support::{grpc, upstream};

#[tokio::test]
async fn an_upstream_answers_as_told_and_remembers() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |request| ok(json!({ "name": request["name"], "title": "Dune" })).header("x-shelf", "7"))
        .unary("DeleteBook", |_| fail(Code::NotFound, "no such book: ü%"))
        .server_stream("WatchBooks", |_| {
            stream([json!({}), json!({ "pages": "3" })]).then_fail(Code::Aborted, "enough")
        })
        .client_stream("ImportBooks", |books| ok(json!({ "imported": books.len() })))
        .bidi("Discuss", |remark| vec![remark.clone(), remark.clone()])
        .start()
        .await;
    let call = |method: &str| grpc::call(library.address(), &format!("library.v1.Library/{method}"));

    let reply = call("GetBook").header("x-user", "ada").send(&[json!({ "name": "shelves/1/books/7" })]).await;
    reply.ok(&[json!({ "name": "shelves/1/books/7", "title": "Dune" })]);
    assert_eq!(reply.headers["x-shelf"], "7");
    library.saw("GetBook").times(1).header("x-user", "ada").message(&json!({ "name": "shelves/1/books/7" }));

    let reply = call("DeleteBook").send(&[json!({})]).await;
    assert_eq!((reply.code, reply.message.as_str()), (Code::NotFound, "no such book: ü%"));

    let reply = call("WatchBooks").send(&[json!({})]).await;
    assert_eq!((reply.code, reply.messages), (Code::Aborted, vec![json!({}), json!({ "pages": "3" })]));

    call("ImportBooks").send(&[json!({}), json!({})]).await.ok(&[json!({ "imported": 2 })]);

    let mut discussion = call("Discuss").open().await;
    for text in ["one", "two"] {
        discussion.send(&json!({ "text": text }));
        assert_eq!(discussion.next().await, Some(json!({ "text": text })));
        assert_eq!(discussion.next().await, Some(json!({ "text": text })));
    }
    discussion.close();
    discussion.status().await.failed(Code::Ok);
}

#[tokio::test]
async fn an_upstream_sees_its_callers_leave() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| hang())
        .server_stream("WatchBooks", |_| ok(json!({})).then_hang())
        .unary("Echo", |_| raw(502, "text/html", b"<p>"))
        .start()
        .await;
    for method in ["GetBook", "WatchBooks"] {
        let mut open = grpc::call(library.address(), &format!("library.v1.Library/{method}")).open().await;
        open.send(&json!({}));
        open.close();
        if method == "WatchBooks" {
            assert_eq!(open.next().await, Some(json!({})));
        } else {
            library.called(method, 1).await;
        }
        drop(open);
        library.cancelled(method, 1).await;
    }
}

#[tokio::test]
async fn an_upstream_stops_and_comes_back_on_its_port() {
    let library = upstream::grpc("library.v1.Library").unary("Echo", |book| ok(book.clone())).start().await;
    let call = || grpc::call(library.address(), "library.v1.Library/Echo");
    call().send(&[json!({})]).await.ok(&[json!({})]);
    library.stop().await;
    tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect(library.address()))
        .await
        .unwrap()
        .expect_err("nobody listens");
    library.restart().await;
    call().send(&[json!({})]).await.ok(&[json!({})]);
    assert_eq!(library.connections(), 2);
}
