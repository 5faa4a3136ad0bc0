//! Schemas that upstreams say of themselves by server reflection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic_reflection::server::Builder as Reflecting;
use transom::config::{self, Config};
use transom::gateway::Problem;
use transom::sources::{self, Reflections};
use transom::telemetry::Metrics;

use crate::support::gateway::{self, gateway};
use crate::support::protos::{compile_text, descriptors};
use crate::support::reply::ok;
use crate::support::tls::{self, Authority, Shield};
use crate::support::{PATIENCE, soon, until, upstream};

/// A server that only reflects.
struct Reflector {
    address: SocketAddr,
    task: AbortOnDropHandle<()>,
}

/// Which versions it speaks.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    V1,
    AlphaAlone,
}

impl Reflector {
    async fn start(set: Vec<u8>, speaks: Speaks) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), set, speaks).await
    }

    async fn on(address: SocketAddr, set: Vec<u8>, speaks: Speaks) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener: TcpListener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let builder = || Reflecting::configure().register_encoded_file_descriptor_set(&set);
        let routes = match speaks {
            Speaks::V1 => tonic::service::Routes::new(builder().build_v1().unwrap()),
            Speaks::AlphaAlone => tonic::service::Routes::new(builder().build_v1alpha().unwrap()),
        };
        let serve = Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async { serve.await.unwrap() });
        Self { address, task: AbortOnDropHandle::new(task) }
    }

    /// Stops it; its port is free.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn parsed(schema: &str, address: SocketAddr) -> Config {
    let text = format!(
        "schema: {{ reflection: [library], reflection_interval: 100ms, {schema} }}\n\
         upstreams: {{ library: {{ services: [library.v1.Library], endpoints: ['{address}'] }} }}"
    );
    config::parse(&text, &|_| None).unwrap()
}

async fn ask(config: &Config) -> (Arc<Reflections>, Vec<String>) {
    let said = Arc::new(Reflections::default());
    let silent = said.ask(config, PATIENCE).await;
    (said, silent)
}

fn services(config: &Config, said: &Reflections) -> Vec<String> {
    let schema = sources::load(config, "".as_ref(), said).unwrap();
    schema.services.iter().map(|service| service.name.to_string()).collect()
}

#[tokio::test]
async fn both_versions_are_asked_and_only_assigned_services_count() {
    for speaks in [Speaks::V1, Speaks::AlphaAlone] {
        let server = Reflector::start(descriptors("library"), speaks).await;
        let config = parsed("", server.address);
        let (said, silent) = ask(&config).await;
        assert_eq!(silent, [""; 0]);
        // The same file declares library.v1.Internals.
        assert_eq!(services(&config, &said), ["library.v1.Library"]);
        let schema = sources::load(&config, "".as_ref(), &said).unwrap();
        assert!(schema.services[0].reflected);
        assert!(!schema.services[0].methods[0].http.is_empty(), "its rules have come too");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_told_and_waited_for() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let config = parsed("", address);
    let (said, silent) = ask(&config).await;
    assert!(silent.len() == 1 && silent[0].starts_with("the upstream `library` cannot be asked"), "{silent:?}");
    assert!(services(&config, &said).is_empty());

    let (tell, mut told) = mpsc::unbounded_channel();
    said.follow(&config, move |name| tell.send(name.to_owned()).unwrap());
    let server = Reflector::on(address, descriptors("library"), Speaks::V1).await;
    assert_eq!(soon("its schema", told.recv()).await.as_deref(), Some("library"));
    assert_eq!(services(&config, &said), ["library.v1.Library"]);

    // It says something else; then it is gone, and what it said is kept.
    server.stop().await;
    let set = compile_text(
        "other.proto",
        "syntax = \"proto3\"; package library.v1; message Other {} service Library { rpc Get(Other) returns (Other); }",
    );
    let server = Reflector::on(address, set, Speaks::V1).await;
    assert_eq!(soon("its new schema", told.recv()).await.as_deref(), Some("library"));
    let schema = sources::load(&config, "".as_ref(), &said).unwrap();
    assert!(schema.message_named("library.v1.Other").is_some());
    server.stop().await;
    assert_eq!(services(&config, &said), ["library.v1.Library"]);

    // One that is asked no more is forgotten.
    let text = "schema: { protos: [] }\nupstreams: {}";
    said.follow(&config::parse(text, &|_| None).unwrap(), |_| {});
    assert!(services(&config, &said).is_empty());
    until("the end of the task", async || told.is_closed()).await;
}

#[tokio::test]
async fn a_server_without_reflection_is_told() {
    let library = upstream::grpc("library.v1.Library").start().await;
    let (_, silent) = ask(&parsed("", library.address())).await;
    assert!(silent[0].contains("it does not serve grpc.reflection.v1 or v1alpha"), "{silent:?}");
}

#[tokio::test]
async fn an_upstream_with_tls_is_asked_as_it_is_called() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Reflector::start(descriptors("library"), Speaks::V1).await;
    let shown = tls::server(&authority.issue(&["127.0.0.1"]), Some(&authority));
    let shield = Shield::before(server.address, shown).await;
    let folder = tempfile::tempdir().unwrap();
    authority.issue(&["spiffe://gateway"]).write(folder.path(), "own");
    let ask = async |shield: &Shield, authority: &Authority, keys: &str| {
        let mut config = config::parse(
            &format!(
                "schema: {{ reflection: [library] }}\nupstreams:\n  library:\n    services: [library.v1.Library]\n    \
                 endpoints: ['{}']\n    tls: {{ ca: '{}'{keys} }}",
                shield.address,
                authority.file().display(),
            ),
            &|_| None,
        )
        .unwrap();
        config.folder = folder.path().to_owned();
        let (said, silent) = ask(&config).await;
        (services(&config, &said), silent)
    };
    let (found, silent) = ask(&shield, &authority, ", cert: own.crt, key: own.key").await;
    assert_eq!((found, silent), (vec!["library.v1.Library".to_owned()], Vec::new()));
    assert!(shield.seen.lock().iter().all(Option::is_some), "our certificate was seen");
    // As `openssl req -x509` makes them.
    let of_authority = authority
        .issue_with(&["127.0.0.1"], |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let naive = Shield::before(server.address, tls::server(&of_authority, None)).await;
    // It is not who it must be; it does not know us; a file is not there; it shows what only authorities have.
    for (shield, authority, keys, told) in [
        (&shield, &stranger, ", cert: own.crt, key: own.key", "invalid peer certificate"),
        (&shield, &authority, "", ""),
        (&shield, &authority, ", cert: none.crt, key: own.key", "tls.cert"),
        (&naive, &authority, "", "basicConstraints=critical,CA:FALSE"),
    ] {
        let (found, silent) = ask(shield, authority, keys).await;
        assert!(found.is_empty());
        assert!(matches!(&silent[..], [line] if line.contains("cannot be asked") && line.contains(told)), "{silent:?}");
    }
}

#[tokio::test]
async fn patience_has_an_end() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let said = Reflections::default();
    let config = parsed("", mute.local_addr().unwrap());
    let silent = soon("a line", said.ask(&config, Duration::from_millis(50))).await;
    assert!(silent[0].contains("no answer within 50ms"), "{silent:?}");
}

#[tokio::test]
async fn a_file_and_a_server_that_disagree_are_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("library.binpb");
    std::fs::write(&set, descriptors("library")).unwrap();
    let schema = format!("descriptor_sets: ['{}']", set.display());

    let server = Reflector::start(descriptors("library"), Speaks::V1).await;
    let config = parsed(&schema, server.address);
    let (said, _) = ask(&config).await;
    let loaded = sources::load(&config, "".as_ref(), &said).unwrap();
    assert!(loaded.services.iter().all(|service| !service.reflected), "what is on disk counts");

    let other = "syntax = \"proto3\"; package library.v1; message Book { int32 name = 1; }
        service Library { rpc GetBook(Book) returns (Book); }";
    let server = Reflector::start(compile_text("elsewhere.proto", other), Speaks::V1).await;
    let config = parsed(&schema, server.address);
    let (said, _) = ask(&config).await;
    let problems = sources::load(&config, "".as_ref(), &said).unwrap_err().problems;
    let text = problems[0].to_string();
    assert!(text.starts_with("elsewhere.proto: library.v1.Book: "), "{text}");
    assert!(text.contains("library.binpb and the reflection of `library` both declare this"), "{text}");
}

#[tokio::test]
async fn a_gateway_serves_what_another_gateway_reflects() {
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", |request| ok(json!({ "name": request["name"], "title": "Dune" })))
        .start()
        .await;
    let behind = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .config("public_endpoints: [health, reflection]")
        .start()
        .await;

    let front = |said: &Arc<Reflections>| {
        gateway()
            .config("schema: { reflection: [behind] }\npublic_endpoints: [health, reflection]")
            .upstream_at("behind", "library.v1.Library", &[behind.address().to_string()], "")
            .reflections(said)
    };
    // Before it has been asked: nothing is served, and that is said.
    let said = Arc::default();
    let snapshot = front(&said).compile(&Metrics::new()).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(snapshot.routes().is_empty());
    assert!(snapshot.notes[0].contains("`library.v1.Library` is not served until `behind` reflects it"));

    // Its start waits for that.
    let waiting: gateway::Running = front(&said).start().await;
    let starting = json!({ "status": "starting", "waiting_for": ["behind"] });
    waiting.admin("/startupz").await.status(503).json(&starting);
    let unready = json!({ "status": "not ready", "reason": "schemas are waited for" });
    waiting.admin("/readyz").await.status(503).json(&unready);
    waiting.admin("/livez").await.status(200);

    let config = config::parse(&front(&said).text(), &|_| None).unwrap();
    assert_eq!(said.ask(&config, PATIENCE).await, [""; 0]);
    let running: gateway::Running = front(&said).start().await;
    running.admin("/startupz").await.status(200);
    running
        .get("/v1/shelves/1/books/7")
        .await
        .status(200)
        .json(&json!({ "name": "shelves/1/books/7", "title": "Dune" }));
    library.saw("GetBook").times(1);
    // That it has no side effects, its server says, and nobody here.
    running.get("/library.v1.Library/GetBook?connect=v1&encoding=json&message=%7B%7D").await.status(405);
    library.saw("GetBook").times(1);
}

#[tokio::test]
async fn configuration_may_speak_of_what_is_not_reflected_yet_but_not_wrongly() {
    let said = Arc::default();
    let build = |key: &str| {
        gateway()
            .config(&format!("schema: {{ reflection: [a] }}\nmethods: {{ {key}: {{ timeout: 1s }} }}"))
            .upstream_at("a", "library.v1.Library", &["127.0.0.1:1".to_owned()], "")
            .reflections(&said)
            .compile(&Metrics::new())
    };
    assert!(build("library.v1.Library/GetBook").is_ok());
    let problems = build("library.v1.Other/GetBook").err().unwrap();
    assert!(matches!(&problems[..], [Problem::Config(problem)] if problem.message.contains("`library.v1.Other`")));
}
