//! `examples/booking/bench.yaml` reloaded a hundred times under load, with the booking system behind it: no request and no
//! stream is lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tonic::transport::Endpoint;
use transom::demo::Service;
use transom::demo::proto::ticket::WatchEventRequest;
use transom::demo::proto::ticket::ticket_service_client::TicketServiceClient;

use crate::demo_client::{EVENT, System, system};
use crate::support::client::{Call, Connection, Http2};
use crate::support::process::Process;
use crate::support::soon;

const RELOADS: usize = 100;
const EVENTS: &str = "/api/v1/events?page_size=2";

/// The example as its file has it, but for where its descriptors are, and as the `at`th reload wants it.
fn bench(at: usize, system: &System) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/booking");
    let text = std::fs::read_to_string(examples.join("bench.yaml")).unwrap();
    let descriptors = examples.join("../../descriptors").canonicalize().unwrap();
    let text = text.replace("../../descriptors", descriptors.to_str().unwrap());
    let text = text.replace("timeout: 30s", &format!("timeout: {}s", 30 + at % 7));
    match at % 3 {
        0 => text,
        // The second instance comes, goes, and comes in the place of the first.
        1 => {
            let both = system.running.addresses(Service::Ticket);
            text.replace("[\"${GRPC_TICKET_SERVICE_URL", &format!("[\"{}\", \"${{GRPC_TICKET_SERVICE_URL", both[1]))
        }
        _ => {
            let second = system.running.addresses(Service::Ticket)[1];
            text.replace("${GRPC_TICKET_SERVICE_URL:-127.0.0.1:50052}", &second.to_string())
        }
    }
}

/// Calls until it is told to stop; each is answered, and no connection is closed.
async fn client(transom: std::net::SocketAddr, http2: bool, stop: Arc<AtomicBool>) -> usize {
    let mut calls = 0;
    let (one, mut two) = match http2 {
        true => (Some(Http2::try_open(transom).await.unwrap()), None),
        false => (None, Some(Connection::try_open(transom).await.unwrap())),
    };
    while !stop.load(Relaxed) {
        let reply = match (&one, &mut two) {
            (Some(connection), _) => connection.get(EVENTS).await,
            (None, Some(connection)) => connection.send("GET", EVENTS).await,
            (None, None) => break,
        };
        let reply = reply.expect("no connection is closed");
        assert_eq!(reply.status(200).value()["events"].as_array().unwrap().len(), 2);
        calls += 1;
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_of_the_bench_lose_nothing() {
    let system = system().await;
    let tess = system.person("tess").await;
    let folder = tempfile::tempdir().unwrap();
    let (file, next) = (folder.path().join("bench.yaml"), folder.path().join("next.yaml"));
    std::fs::write(&file, bench(0, &system)).unwrap();
    let urls = Service::ALL.map(|service| (service.url().0, system.running.addresses(service)[0].to_string()));
    let mut variables: Vec<_> = urls.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("WORKERS", "2")]);
    let transom = Process::start(&["serve", "--config", file.to_str().unwrap()], &variables);
    let (address, admin) = (transom.address, transom.admin.unwrap());

    let path = format!("/api/v1/events/{EVENT}:watch");
    let lines = Call::new(address, "GET", &path).header("accept", "application/x-ndjson");
    let lines = lines.header("authorization", &format!("Bearer {}", tess.access_token)).open().await;
    assert_eq!(lines.status(), 200);
    let mut lines = lines.into_body();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let watch = WatchEventRequest { event_id: EVENT.to_owned(), ..Default::default() };
    let mut messages = TicketServiceClient::new(channel).watch_event(tess.says(watch)).await.unwrap().into_inner();
    soon("the first line", lines.frame()).await.unwrap().unwrap();
    soon("the first message", messages.message()).await.unwrap().unwrap();
    let stop = Arc::<AtomicBool>::default();
    let clients: Vec<_> = (0..4).map(|at| tokio::spawn(client(address, at % 2 == 0, stop.clone()))).collect();

    for at in 1..=RELOADS {
        // Whole at once, as editors do it: the file is watched too.
        std::fs::write(&next, bench(at, &system)).unwrap();
        std::fs::rename(&next, &file).unwrap();
        let reply = Call::new(admin, "POST", "/reload").json(&json!({})).await;
        reply.status(200);
        assert!(clients.iter().all(|client| !client.is_finished()), "a client gave up at reload {at}");
    }

    stop.store(true, Relaxed);
    let mut calls = 0;
    for client in clients {
        calls += soon("a client's end", client).await.unwrap();
    }
    println!("{calls} calls during {RELOADS} reloads");
    assert!(calls > RELOADS, "{calls} calls are no load");
    let metrics = Call::new(admin, "GET", "/metrics").await.text();
    let metric = |series: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap_or("0");
        line.trim().parse().unwrap()
    };
    assert!(metric("transom_reloads_total{outcome=\"applied\"}") >= RELOADS as f64, "{metrics}");
    assert_eq!(metric("transom_reloads_total{outcome=\"refused\"}"), 0.0);
    assert_eq!(metric("transom_config_current"), 1.0);

    // The streams are those of the beginning, and still hear of what happens.
    system.reserve(&tess, EVENT, 1).await.unwrap();
    let line = soon("the next line", lines.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&line).unwrap()["eventId"], EVENT);
    assert_eq!(soon("the next message", messages.message()).await.unwrap().unwrap().event_id, EVENT);
}
