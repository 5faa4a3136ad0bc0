//! Clients that are not ours, in dialects that browsers speak: @connectrpc/connect-node, grpc-web and curl.

use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::support::gateway::{Running, gateway};
use crate::support::library::library;
use crate::support::upstream::Upstream;
use crate::support::{protos, soon};

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").expose_all().upstream("library", library).start().await
}

/// Runs a script of `tests/clients`, which names what it checks; gives how many checks held, and the library.
async fn run(script: &str) -> (usize, Upstream) {
    let library = library().await;
    let gateway = start(&library).await;
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(clients.join("node_modules").is_dir(), "the clients are not installed: .ci/install test");
    let mut descriptors = tempfile::NamedTempFile::new().unwrap();
    descriptors.write_all(&protos::descriptors("library")).unwrap();
    let mut node = Command::new("node");
    node.arg(script).arg(gateway.address().to_string()).arg(descriptors.path()).current_dir(&clients);
    let output = soon(script, node.kill_on_drop(true).output()).await;
    let Output { status, stdout, stderr } = output.expect("node");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{out}{err}");
    (out.matches("ok - ").count(), library)
}

#[tokio::test]
async fn connect_node_speaks_every_dialect_it_has() {
    // Connect, the same with GET, gRPC-Web, in two codecs over two versions; gRPC over one; what is compressed.
    assert_eq!(run("connect.mjs").await.0, 12 + 2 + 4);
}

#[tokio::test]
async fn grpc_web_speaks_binary_and_text() {
    let (held, library) = run("grpc-web.mjs").await;
    // Eight checks in either mode; in text a stream is read as it comes.
    assert_eq!(held, 8 + 8 + 1);
    library.cancelled("WatchBooks", 1).await;
    library.cancelled("GetBook", 2).await;
}

#[tokio::test]
async fn curl_calls_an_rpc_by_its_name() {
    let library = library().await;
    let gateway = start(&library).await;
    let url = format!("http://{}/library.v1.Library/GetBook", gateway.address());
    let curl = async |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        let output = curl.args(["-sS", "-w", "\n%{http_code}"]).args(arguments).output().await.expect("curl");
        String::from_utf8(output.stdout).unwrap()
    };
    let json = "content-type: application/json";
    let book = curl(&["--json", r#"{"name": "shelves/1/books/7"}"#, &url]).await;
    assert_eq!(book, "{\"name\":\"shelves/1/books/7\",\"title\":\"Dune\"}\n200");
    let book = curl(&["--compressed", "-H", json, "-d", r#"{"name": "shelves/1/books/fail"}"#, &url]).await;
    assert!(book.starts_with(r#"{"code":"not_found","message":"no such bücher 100%","details":["#), "{book}");
    assert!(book.ends_with("\n404"), "{book}");
    let get = format!("{url}?encoding=json&message=%7B%22name%22%3A%22shelves%2F1%2Fbooks%2F7%22%7D");
    assert!(curl(&[&get]).await.ends_with("\"title\":\"Dune\"}\n200"));
    let echo = get.replace("GetBook", "Echo");
    let refused = curl(&["-D", "-", &echo]).await;
    assert!(refused.contains("\r\nallow: POST\r\n") && refused.ends_with("\n405"), "{refused}");
}
