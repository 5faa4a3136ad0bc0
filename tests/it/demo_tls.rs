//! The booking system with certificates: who is let in, who is called, and certificates that change.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use transom::demo::{self, DESCRIPTORS, Options, Service, Tls};

use crate::demo_client::{EVENT, System, options};
use crate::support::gateway::gateway;
use crate::support::tls::{Authority, client, tunnel};
use crate::support::{soon, until};

const SPIFFE: &str = "spiffe://cluster.local/ns/booking/sa/services";

/// Lays out a certificate for everything on this machine, and its authority.
fn write(authority: &Authority, folder: &Path) {
    authority.issue(&["127.0.0.1", "localhost", SPIFFE]).write(folder, "tls");
    std::fs::copy(authority.file(), folder.join("ca.crt")).unwrap();
}

fn files(folder: &Path) -> Tls {
    let (cert, key, ca) = (folder.join("tls.crt"), folder.join("tls.key"), folder.join("ca.crt"));
    Tls { cert, key, ca, callers: Vec::new() }
}

struct Shielded {
    system: System,
    authority: Authority,
    folder: TempDir,
}

async fn shielded() -> Shielded {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    write(&authority, folder.path());
    let (options, hand) = options();
    let running = demo::start(Options { tls: Some(files(folder.path())), ..options }).await.unwrap();
    Shielded { system: System { running, hand }, authority, folder }
}

async fn is_healthy(channel: Channel) -> bool {
    let request = HealthCheckRequest::default();
    soon("an answer, or none", HealthClient::new(channel).check(request)).await.is_ok()
}

fn at(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

#[tokio::test]
async fn a_booking_goes_through_services_that_know_each_other() {
    let Shielded { system, folder, .. } = shielded().await;
    let files = files(folder.path());
    let (cert, key, ca) = (files.cert.display(), files.key.display(), files.ca.display());
    let tls = format!("tls: {{ ca: {ca}, cert: {cert}, key: {key}, san: [\"{SPIFFE}\"] }}");
    let mut builder = gateway().descriptor_set(DESCRIPTORS.to_vec());
    for (service, name) in [
        (Service::Auth, "auth.AuthService"),
        (Service::Ticket, "ticket.TicketService"),
        (Service::Booking, "booking.BookingService"),
        (Service::Queue, "booking.BookingWorker"),
        (Service::Payment, "payment.PaymentService"),
    ] {
        let endpoints: Vec<_> = system.running.addresses(service).iter().map(ToString::to_string).collect();
        builder = builder.upstream_at(service.name(), name, &endpoints, &tls);
    }
    let gateway = builder.start().await;
    let login = system.running.login.unwrap();
    let login = json!({ "email": login.email, "password": login.password });
    let session = gateway.request("POST", "/api/v1/auth/login").json(&login).await.status(200).value();
    let bearer = format!("Bearer {}", session["accessToken"].as_str().unwrap());
    let reserve = gateway.request("POST", &format!("/api/v1/events/{EVENT}/tickets:reserve"));
    let reserved = reserve.header("authorization", &bearer).json(&json!({ "quantity": 1 })).await.status(201).value();
    let book = gateway.request("POST", "/api/v1/bookings").header("authorization", &bearer);
    book.json(&json!({ "reservationId": reserved["reservationId"] })).await.status(201);
    system.running.shutdown().await;
}

#[tokio::test]
async fn nobody_is_let_in_without_a_certificate_of_the_authority() {
    let Shielded { system, authority, .. } = shielded().await;
    for service in Service::ALL {
        let address = system.running.addresses(service)[0];
        assert!(!is_healthy(at(address)).await, "{} takes calls in the clear", service.name());
        for (own, welcome) in [
            (None, false),
            (Some(Authority::new().issue(&["gateway"])), false),
            (Some(authority.issue(&["gateway"])), true),
        ] {
            let tunnel = tunnel(address, client(&authority, own.as_ref(), &["h2"])).await;
            assert_eq!(is_healthy(at(tunnel)).await, welcome, "{}", service.name());
        }
    }
    system.running.shutdown().await;
}

#[tokio::test]
async fn of_those_that_the_authority_knows_only_callers_are_let_in() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    write(&authority, folder.path());
    let (options, _hand) = options();
    let callers = ["spiffe://cluster.local/ns/booking/sa/gateway-service", "queue-service"];
    let tls = Tls { callers: callers.map(str::to_owned).into(), ..files(folder.path()) };
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let running = demo::serve_one(Service::Booking, anywhere, Options { tls: Some(tls), ..options }).await.unwrap();
    for (name, welcome) in [
        (callers[0], true),
        (callers[1], true),
        ("Queue-Service", true),
        (SPIFFE, false),
        ("spiffe://cluster.local/ns/booking/sa/gateway-service2", false),
        ("payment-service", false),
        ("127.0.0.1", false),
    ] {
        let own = authority.issue(&[name]);
        let tunnel = tunnel(running.booking[0], client(&authority, Some(&own), &["h2"])).await;
        assert_eq!(is_healthy(at(tunnel)).await, welcome, "{name}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn renewed_certificates_are_shown_to_who_comes_then() {
    let Shielded { system, authority, folder } = shielded().await;
    let address = system.running.auth[0];
    let new = Authority::new();
    let own = new.issue(&["gateway"]);
    let asks = async || is_healthy(at(tunnel(address, client(&new, Some(&own), &["h2"])).await)).await;
    assert!(!asks().await);
    let old = authority.issue(&["gateway"]);
    let before = at(tunnel(address, client(&authority, Some(&old), &["h2"])).await);
    assert!(is_healthy(before.clone()).await);

    write(&new, folder.path());
    until("the new ones are shown", async || asks().await).await;
    assert!(is_healthy(before).await, "a connection was dropped");
    system.running.shutdown().await;
}

#[tokio::test]
async fn health_is_told_in_the_clear_and_nothing_else_is() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    write(&authority, folder.path());
    let (options, _hand) = options();
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let options = Options { tls: Some(files(folder.path())), health: Some(anywhere), ..options };
    let running = demo::serve_one(Service::Auth, anywhere, options).await.unwrap();
    let probe = at(running.health.unwrap());
    assert!(is_healthy(probe.clone()).await);
    let mut auth = demo::proto::auth::auth_service_client::AuthServiceClient::new(probe);
    let login = running.login.unwrap();
    let request =
        demo::proto::auth::LoginRequest { email: login.email.to_owned(), password: login.password.to_owned() };
    assert_eq!(auth.login(request).await.unwrap_err().code(), tonic::Code::Unimplemented);
    running.shutdown().await;
}

#[tokio::test]
async fn files_that_are_wrong_are_told_at_the_start() {
    let (options, _hand) = options();
    let options = Options { tls: Some(files(Path::new("/nowhere"))), ..options };
    let error = demo::serve_one(Service::Auth, "127.0.0.1:0".parse().unwrap(), options).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/tls.crt cannot be read: there is no such file"), "{error}");
}
