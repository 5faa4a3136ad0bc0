//! TLS towards services: whose certificate is good, whose is not, and certificates that change under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rcgen::date_time_ymd;
use serde_json::json;
use transom_transcode::status::Code;

use crate::support::client::{Call, Connection};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::process::Process;
use crate::support::protos::descriptors;
use crate::support::reply::ok;
use crate::support::tls::{Authority, Certificate, Shield, server};
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";
const SPIFFE: &str = "spiffe://cluster.local/ns/booking/sa/library";

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({ "title": "Dune" }))).start().await
}

/// A gateway before what stands at a shield, by these rules.
fn trusting(shield: &Shield, tls: &str) -> Builder {
    let keys = format!("tls: {{ {tls} }}");
    gateway().descriptors("library").upstream_at("library", "library.v1.Library", &[shield.address.to_string()], &keys)
}

async fn is_trusted(library: &Upstream, certificate: &Certificate, tls: &str) -> bool {
    let shield = Shield::before(library.address(), server(certificate, None)).await;
    let gateway = trusting(&shield, tls).start().await;
    let reply = gateway.get(BOOK).await;
    if reply.status == 200 {
        return true;
    }
    // What is said to clients names no certificate.
    assert!(!reply.text().contains("ertificate"), "{}", reply.text());
    assert!(reply.status == 502 || reply.status == 503, "{}", reply.text());
    false
}

#[tokio::test]
async fn a_service_is_who_its_certificate_says() {
    let (ours, theirs, library) = (Authority::new(), Authority::new(), library().await);
    let ca = format!("ca: {}", ours.file().display());
    let good = ours.issue(&["127.0.0.1", "library", SPIFFE]);
    let expired = ours.issue_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2021, 1, 1));
    let early = ours.issue_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2040, 1, 1);
        params.not_after = date_time_ymd(2041, 1, 1);
    });
    let named = |more: &str| format!("{ca}, {more}");
    for (certificate, tls, trusted) in [
        (&good, ca.clone(), true),
        (&good, named("server_name: library"), true),
        (&good, named("server_name: librarian"), false),
        (&ours.issue(&["10.0.0.1"]), ca.clone(), false),
        (&theirs.issue(&["127.0.0.1"]), ca.clone(), false),
        (&expired, ca.clone(), false),
        (&early, ca.clone(), false),
        // The system trusts nobody of these.
        (&good, "server_name: library".to_owned(), false),
        // A list of identities stands in place of the name.
        (&ours.issue(&[SPIFFE]), named(&format!("san: [{SPIFFE}]")), true),
        (&ours.issue(&["a.example", "b.example"]), named("san: [c.example, B.example]"), true),
        (&ours.issue(&[&format!("{SPIFFE}-admin")]), named(&format!("san: [{SPIFFE}]")), false),
        (&ours.issue(&["127.0.0.1"]), named(&format!("san: [{SPIFFE}]")), false),
        (&theirs.issue(&[SPIFFE]), named(&format!("san: [{SPIFFE}]")), false),
    ] {
        assert_eq!(is_trusted(&library, certificate, &tls).await, trusted, "{tls}");
    }
}

#[tokio::test]
async fn a_service_knows_the_gateway_by_its_certificate() {
    let (ours, clients, library) = (Authority::new(), Authority::new(), library().await);
    let folder = tempfile::tempdir().unwrap();
    let own = clients.issue(&["gateway"]);
    own.write(folder.path(), "gateway");
    clients.issue_with(&["gateway"], |params| params.not_after = date_time_ymd(2021, 1, 1)).write(folder.path(), "old");
    Authority::new().issue(&["gateway"]).write(folder.path(), "strange");
    let shield = Shield::before(library.address(), server(&ours.issue(&["127.0.0.1"]), Some(&clients))).await;
    let tls = |name: &str| {
        let (ca, at) = (ours.file(), folder.path().join(name));
        format!("ca: {}, cert: {at}.crt, key: {at}.key", ca.display(), at = at.display())
    };
    let gateway = trusting(&shield, &tls("gateway")).start().await;
    gateway.get(BOOK).await.status(200);
    gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await.ok(&[json!({ "title": "Dune" })]);
    assert!(shield.seen.lock().iter().all(|shown| shown.as_ref() == Some(own.der())));

    for wrong in [tls("old"), tls("strange"), format!("ca: {}", ours.file().display())] {
        let gateway = trusting(&shield, &wrong).start().await;
        let status = gateway.get(BOOK).await.status;
        assert!(status == 502 || status == 503, "{status}");
    }
}

/// Why the only endpoint is not connected to, as the admin port says it.
async fn cause(gateway: &Running) -> String {
    let told = async || {
        let upstreams = gateway.admin("/upstreams").await.value();
        upstreams["upstreams"][0]["endpoints"][0]["last_failure"]["cause"].as_str().map(str::to_owned)
    };
    until("the cause", async || told().await.is_some()).await;
    told().await.unwrap()
}

#[tokio::test]
async fn it_is_said_in_words_who_speaks_tls_and_who_does_not() {
    let (ours, library) = (Authority::new(), library().await);
    let tls = format!("tls: {{ ca: {} }}", ours.file().display());
    let at = |address: String, keys: &str| {
        gateway().descriptors("library").upstream_at("library", "library.v1.Library", &[address], keys)
    };
    let shield = Shield::before(library.address(), server(&ours.issue(&["127.0.0.1"]), None)).await;
    for (address, keys, says) in [
        (library.address().to_string(), &*tls, "remove `upstreams.library.tls`"),
        (shield.address.to_string(), "", "write `upstreams.library.tls`"),
    ] {
        let gateway = at(address, keys).start().await;
        let cause = cause(&gateway).await;
        assert!(cause.contains(says), "{cause}");
        let reply = gateway.get(BOOK).await;
        assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains("tls"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_service_without_tls_is_not_called_in_the_clear() {
    let (ours, library) = (Authority::new(), library().await);
    let tls = format!("tls: {{ ca: {} }}", ours.file().display());
    let gateway = gateway()
        .descriptors("library")
        .upstream_at("library", "library.v1.Library", &[library.address().to_string()], &tls)
        .start()
        .await;
    let status = gateway.get(BOOK).await.status;
    assert!(status == 502 || status == 503, "{status}");
    let reply = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    reply.failed(Code::Unavailable);
    library.saw("GetBook").times(0);
}

#[tokio::test]
async fn health_is_asked_over_tls_too() {
    let (ours, library) = (Authority::new(), library().await);
    let shield = Shield::before(library.address(), server(&ours.issue(&["127.0.0.1"]), None)).await;
    let keys = format!("tls: {{ ca: {} }}, health_check: {{ interval: 100ms }}, required: true", ours.file().display());
    let address = [shield.address.to_string()];
    let gateway =
        gateway().descriptors("library").upstream_at("library", "library.v1.Library", &address, &keys).start().await;
    until("it is ready", async || gateway.get("/readyz").await.status == 200).await;
    library.set_serving(false);
    until("it is not", async || gateway.get("/readyz").await.status == 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_and_certificates_change_under_load() {
    let (old, new, library) = (Authority::new(), Authority::new(), library().await);
    let folder = tempfile::tempdir().unwrap();
    let shield = Shield::before(library.address(), server(&old.issue(&["127.0.0.1"]), Some(&old))).await;
    let install = |authority: &Authority| {
        std::fs::copy(authority.file(), folder.path().join("ca.crt")).unwrap();
        authority.issue(&["gateway"]).write(folder.path(), "gateway");
    };
    install(&old);
    let at = folder.path().display().to_string();
    let written = || trusting(&shield, &format!("ca: {at}/ca.crt, cert: {at}/gateway.crt, key: {at}/gateway.key"));
    let gateway = written().start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, stop) = (gateway.address(), stop.clone());
            tokio::spawn(async move {
                let mut connection = Connection::try_open(address).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    connection.send("GET", BOOK).await.expect("an answer").status(200);
                }
            })
        })
        .collect();
    library.called("GetBook", 20).await;
    let connected = shield.seen.lock().len();

    // The service is issued a certificate by a new authority, and asks for one of it.
    install(&new);
    shield.show(server(&new.issue(&["127.0.0.1"]), Some(&new)));
    gateway.reload(&written()).await.unwrap();
    library.called("GetBook", 40).await;
    assert_eq!(shield.seen.lock().len(), connected, "connections that there are stay");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        soon("the client's end", client).await.unwrap();
    }

    // New ones are made by what is there now.
    reconnects(&gateway, &library).await;
    let seen = shield.seen.lock();
    assert!(seen.len() > connected);
}

#[tokio::test]
async fn a_certificate_that_expires_is_good_for_no_further_connection() {
    let (ours, library) = (Authority::new(), library().await);
    let (own, expired) = ours.issue_for(Duration::from_secs(3), &[SPIFFE]);
    let shield = Shield::before(library.address(), server(&own, None)).await;
    let tls = format!("ca: {}, san: [{SPIFFE}]", ours.file().display());
    let gateway = trusting(&shield, &tls).start().await;
    gateway.get(BOOK).await.status(200);
    reconnects(&gateway, &library).await;
    tokio::time::sleep(expired.saturating_duration_since(Instant::now())).await;
    gateway.get(BOOK).await.status(200);
    library.stop().await;
    library.restart().await;
    until("connections are made anew", async || gateway.get(BOOK).await.status != 200).await;
    // The health of an endpoint that is down is asked again and again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..3 {
        assert!(matches!(gateway.get(BOOK).await.status.as_u16(), 502 | 503));
    }
}

/// The service restarts: the gateway connects again.
async fn reconnects(gateway: &Running, library: &Upstream) {
    library.stop().await;
    library.restart().await;
    until("it is called again", async || gateway.get(BOOK).await.status == 200).await;
}

#[tokio::test]
async fn what_is_wrong_with_files_and_rules_is_told() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    ours.issue(&["gateway"]).write(folder.path(), "one");
    ours.issue(&["gateway"]).write(folder.path(), "two");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ca = ours.file().display().to_string();
    let told = |endpoints: &[&str], tls: &str| {
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        let written = gateway().descriptors("library").upstream_at(
            "library",
            "library.v1.Library",
            &endpoints,
            &format!("tls: {{ {tls} }}"),
        );
        let problems = written.compile(&transom::telemetry::Metrics::new()).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let one = ["10.0.0.1:1"];
    assert_eq!(told(&one, &format!("ca: {ca}")), "");
    for (endpoints, tls, expected) in [
        (
            &one[..],
            "ca: /nowhere/ca.crt".to_owned(),
            "upstreams.library.tls.ca: /nowhere/ca.crt cannot be read: there is no such file",
        ),
        (&one, format!("ca: {}", at("one.key")), "one.key holds no certificate in PEM"),
        (
            &one,
            format!("ca: {ca}, cert: {}, key: {}", at("one.crt"), at("two.key")),
            "two.key is not the key of `cert`",
        ),
        (&one, format!("ca: {ca}, cert: {}, key: {}", at("one.crt"), at("one.crt")), "one.crt holds no private key"),
        (
            &["a:1", "b:1"],
            format!("ca: {ca}"),
            "upstreams.library.tls.server_name: is missing: the endpoints have different hosts",
        ),
        (&["a:1", "a:2"], format!("ca: {ca}"), ""),
        (&["a:1", "b:1"], format!("ca: {ca}, san: [spiffe://a/b]"), ""),
    ] {
        let told = told(endpoints, &tls);
        assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{tls}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_systems_authorities_are_those_at_the_reload() {
    let (ours, theirs, library) = (Authority::new(), Authority::new(), library().await);
    let shield = Shield::before(library.address(), server(&ours.issue(&["127.0.0.1"]), None)).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, system) = (folder.path().join("transom.yaml"), folder.path().join("system.pem"));
    let config = format!(
        "listen: 127.0.0.1:0\nworkers: 1\nadmin: {{ listen: '127.0.0.1:0' }}\nschema: {{ descriptor_sets: [library.binpb] }}\n\
         upstreams:\n  library: {{ services: [library.v1.Library], endpoints: ['{}'], tls: {{}} }}\n",
        shield.address
    );
    std::fs::write(folder.path().join("library.binpb"), descriptors("library")).unwrap();
    std::fs::write(&file, config).unwrap();
    std::fs::copy(theirs.file(), &system).unwrap();
    let variables = [("SSL_CERT_FILE", system.to_str().unwrap())];
    let gateway = Process::start(&["serve", "--config", file.to_str().unwrap()], &variables);
    let status = async || Call::new(gateway.address, "GET", BOOK).await.status.as_u16();
    assert!(matches!(status().await, 502 | 503));

    std::fs::copy(ours.file(), &system).unwrap();
    Call::new(gateway.admin.unwrap(), "POST", "/reload").await.status(200);
    until("the new authority is trusted", async || status().await == 200).await;
}
