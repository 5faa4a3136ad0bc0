//! `transom serve` and its files: they change, as editors and as Kubernetes change them, and what is served follows, or stays.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::client::{Call, Reply};
use crate::support::gateway::gateway;
use crate::support::process::Process;
use crate::support::reply::ok;
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";
const BASE: &str = "syntax = \"proto3\";\npackage base;\nmessage M {}\n";

/// The library's .proto; it names its upstream itself.
fn library_proto() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/protos/library.proto")).unwrap();
    let import = "import \"google/api/annotations.proto\";";
    let option = "service Library {\n  option (transom.service).upstream = \"library\";";
    text.replace(import, &format!("{import}\nimport \"transom/options.proto\";")).replace("service Library {", option)
}

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({ "title": "Dune" }))).start().await
}

fn config(library: &Upstream, protos: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nworkers: 1\nadmin: {{ listen: '127.0.0.1:0' }}\nschema: {{ protos: [{protos}] }}\n\
         upstreams:\n  library: {{ endpoints: ['{}'] }}\n",
        library.address()
    )
}

fn serve(file: &Path) -> Process {
    Process::start(&["serve", "--config", file.to_str().unwrap()], &[])
}

async fn status(gateway: SocketAddr, path: &str) -> u16 {
    Call::new(gateway, "GET", path).await.status.as_u16()
}

async fn shown(gateway: &Process) -> Value {
    Call::new(gateway.admin.unwrap(), "GET", "/config").await.value()
}

async fn reload(gateway: &Process) -> Reply {
    Call::new(gateway.admin.unwrap(), "POST", "/reload").await
}

async fn metrics(gateway: &Process) -> String {
    Call::new(gateway.admin.unwrap(), "GET", "/metrics").await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_proto_is_served_a_broken_one_is_not_and_what_ran_goes_on() {
    let library = library().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, protos) = (folder.path().join("transom.yaml"), folder.path().join("protos"));
    fs::create_dir(&protos).unwrap();
    fs::write(protos.join("base.proto"), BASE).unwrap();
    fs::write(&file, config(&library, "protos")).unwrap();
    let gateway = serve(&file);
    assert_eq!(status(gateway.address, BOOK).await, 404);
    let now = shown(&gateway).await;
    assert_eq!((&now["version"], &now["last_reload"]), (&json!(1), &Value::Null));

    // In a folder of its own, which nobody has looked at yet.
    fs::create_dir(protos.join("library")).unwrap();
    let proto = protos.join("library/library.proto");
    fs::write(&proto, library_proto()).unwrap();
    until("the new service", async || status(gateway.address, BOOK).await == 200).await;
    let now = shown(&gateway).await;
    assert_eq!((&now["version"], &now["last_reload"]["outcome"]), (&json!(2), &json!("applied")));
    assert_eq!(now["last_reload"]["reason"], "files changed");

    fs::write(&proto, library_proto().replace("package library.v1;", "package library.v1")).unwrap();
    let line = gateway.logged("reload refused");
    assert!(line.contains("library/library.proto:6:1: "), "{line}");
    assert_eq!(status(gateway.address, BOOK).await, 200);
    let now = shown(&gateway).await;
    assert_eq!((&now["version"], &now["last_reload"]["outcome"]), (&json!(2), &json!("refused")));
    assert!(now["last_reload"]["problems"][0].as_str().unwrap().contains("library.proto:6:1: "), "{now}");
    let counted = metrics(&gateway).await;
    for line in ["transom_reloads_total{outcome=\"refused\"} 1", "transom_config_current 0", "transom_config_version 2"]
    {
        assert!(counted.contains(&format!("{line}\n")), "{line} is not in {counted}");
    }

    // Mended, and with another way to it. Editors write beside and rename.
    let mended = library_proto().replace(
        "{ get: \"/v1/{name=",
        "{ additional_bindings { get: \"/v2/{name=shelves/*/books/*}\" } get: \"/v1/{name=",
    );
    fs::write(protos.join("library/.library.proto.new"), mended).unwrap();
    fs::rename(protos.join("library/.library.proto.new"), &proto).unwrap();
    until("the other way", async || status(gateway.address, "/v2/shelves/1/books/7").await == 200).await;
    assert_eq!(shown(&gateway).await["version"], 3);
    assert!(metrics(&gateway).await.contains("transom_config_current 1\n"));

    // What threads and sockets were made from stays; every problem is told.
    fs::write(&file, config(&library, "protos").replace("workers: 1", "workers: 2\nlisten_: 1")).unwrap();
    let answer = reload(&gateway).await;
    assert_eq!(answer.status(422).value()["version"], 3);
    assert!(answer.value()["problems"][0].as_str().unwrap().contains("transom.yaml:3: listen_: "), "{answer:?}");
    fs::write(&file, config(&library, "protos").replace("workers: 1", "workers: 2")).unwrap();
    let answer = reload(&gateway).await;
    let problem = answer.status(422).value()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("transom.yaml:2: workers: has changed, which needs a restart"), "{problem}");

    // A break is told.
    fs::write(&file, config(&library, "protos")).unwrap();
    fs::write(&proto, library_proto()).unwrap();
    let gone = "library/library.proto: library.v1.Library.GetBook: GET /v2/{name=shelves/*/books/*} is gone";
    until("the old way only", async || status(gateway.address, "/v2/shelves/1/books/7").await == 404).await;
    assert_eq!(shown(&gateway).await["last_reload"]["breaking"], json!([gone]));
    gateway.logged("breaking change");

    let version = shown(&gateway).await["version"].as_u64().unwrap();
    gateway.signal("HUP");
    until("SIGHUP", async || shown(&gateway).await["version"] == version + 1).await;
    assert_eq!(shown(&gateway).await["last_reload"]["reason"], "SIGHUP");
    let answer = reload(&gateway).await;
    assert_eq!(answer.status(200).value()["version"], version + 2);
    assert_eq!(answer.value()["problems"], json!([]));
    assert_eq!(gateway.end("TERM").0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_among_the_files_is_a_problem_and_is_not_waited_for() {
    let library = library().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, protos) = (folder.path().join("transom.yaml"), folder.path().join("protos"));
    fs::create_dir(&protos).unwrap();
    fs::write(protos.join("library.proto"), library_proto()).unwrap();
    fs::write(&file, config(&library, "protos")).unwrap();
    let gateway = serve(&file);
    let kept = folder.path().join("kept");
    for (path, named) in [(protos.join("pipe.proto"), "protos/pipe.proto: "), (file.clone(), "transom.yaml: ")] {
        let _ = fs::rename(&path, &kept);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let answer = soon("the answer", reload(&gateway)).await;
        let problems = answer.status(422).value()["problems"].clone();
        let told = problems[0].as_str().unwrap();
        assert!(told.contains(&format!("{named}cannot be read: it is no regular file")), "{problems}");
        fs::remove_file(&path).unwrap();
        let _ = fs::rename(&kept, &path);
        soon("the answer", reload(&gateway)).await.status(200);
    }
    assert_eq!(status(gateway.address, BOOK).await, 200);
    // What another command writes is a pipe as well.
    let check = format!("{} check --config <(cat {})", env!("CARGO_BIN_EXE_transom"), file.display());
    let check = Command::new("bash").args(["-c", &check]).current_dir(folder.path()).output().unwrap();
    assert!(!String::from_utf8_lossy(&check.stderr).contains("regular"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_swapped_by_its_link() {
    let library = library().await;
    let mounted = tempfile::tempdir().unwrap();
    let at = |name: &str| mounted.path().join(name);
    // As the kubelet does: a folder for each state, `..data` leads to the present one, and what is mounted leads there.
    let state = |name: &str, library_is_there: bool, swap: bool| {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("transom.yaml"), config(&library, ".")).unwrap();
        fs::write(at(name).join("base.proto"), BASE).unwrap();
        let proto = if library_is_there { library_proto() } else { BASE.replace("base", "other") };
        fs::write(at(name).join("library.proto"), proto).unwrap();
        if swap {
            symlink(name, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        }
    };
    state("..1", false, false);
    symlink("..1", at("..data")).unwrap();
    for name in ["transom.yaml", "base.proto", "library.proto"] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let gateway = serve(&at("transom.yaml"));
    assert_eq!(status(gateway.address, BOOK).await, 404);

    for (round, there, expected) in [(2, true, 200), (3, false, 404), (4, true, 200)] {
        state(&format!("..{round}"), there, true);
        fs::remove_dir_all(at(&format!("..{}", round - 1))).unwrap();
        until("the swap", async || status(gateway.address, BOOK).await == expected).await;
        assert_eq!(shown(&gateway).await["version"], round, "one reload a swap");
    }
    // The same content again is nothing new.
    state("..5", true, true);
    state("..6", false, true);
    until("the last swap", async || status(gateway.address, BOOK).await == 404).await;
    assert_eq!(shown(&gateway).await["version"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_reflects_is_served_once_it_says_it() {
    let library = library().await;
    let behind = |endpoints: &str| {
        let endpoints = format!("public_endpoints: [{endpoints}]");
        gateway().descriptors("library").upstream("library", &library).config(&endpoints)
    };
    let running = behind("health").start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("transom.yaml");
    let text = config(&library, "").replace("protos: []", "reflection: [library], reflection_interval: 100ms");
    let text = text.replace(&library.address().to_string(), &running.address().to_string());
    let text = text.replace("library: {", "library: { services: [library.v1.Library],");
    fs::write(&file, text).unwrap();
    let front = serve(&file);
    assert_eq!(status(front.address, BOOK).await, 404);

    running.reload(&behind("health, reflection")).await.unwrap();
    until("its schema", async || status(front.address, BOOK).await == 200).await;
    let now = shown(&front).await;
    assert_eq!((&now["version"], &now["last_reload"]["reason"]), (&json!(2), &json!("reflection of library changed")));
    assert_eq!(reload(&front).await.status(200).value()["version"], 3);
}

#[cfg(feature = "demo")]
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_reloads_its_own_text() {
    let demo = Process::start(&["demo", "--port", "0", "--admin-port", "0", "--instances", "1"], &[]);
    assert_eq!(status(demo.address, "/api/v1/events").await, 200);
    assert_eq!(reload(&demo).await.status(200).value()["version"], 2);
    assert_eq!(status(demo.address, "/api/v1/events").await, 200);
}
