//! The booking system behind the gateway, as REST clients see it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;
use transom::demo::proto::ticket::ticket_inventory_client::TicketInventoryClient;
use transom::demo::proto::ticket::ticket_service_client::TicketServiceClient;
use transom::demo::proto::ticket::{GetEventByIdRequest, GetReservationRequest};
use transom::demo::{DESCRIPTORS, Service};

use crate::demo_client::{EVENT, HOT, Person, System, system};
use crate::support::client::Reply;
use crate::support::gateway::{self, gateway};
use crate::support::process::Ends;

/// The system with a gateway before it.
struct Front {
    system: System,
    gateway: gateway::Running,
}

async fn front() -> Front {
    let system = system().await;
    let mut builder = gateway().descriptor_set(DESCRIPTORS.to_vec());
    for (service, name) in [
        (Service::Auth, "auth.AuthService"),
        (Service::Ticket, "ticket.TicketService"),
        (Service::Booking, "booking.BookingService"),
        (Service::Queue, "booking.BookingWorker"),
        (Service::Payment, "payment.PaymentService"),
    ] {
        let endpoints: Vec<_> = system.running.addresses(service).iter().map(ToString::to_string).collect();
        builder = builder.upstream_at(service.name(), name, &endpoints, "");
    }
    Front { gateway: builder.start().await, system }
}

impl Front {
    async fn call(&self, person: &Person, method: &str, path: &str, body: Option<Value>) -> Reply {
        let call = self.gateway.request(method, &format!("/api/v1{path}"));
        let call = call.header("authorization", &format!("Bearer {}", person.access_token));
        match body {
            Some(body) => call.json(&body).await,
            None => call.await,
        }
    }

    /// Reserves seats and books them.
    async fn book(&self, person: &Person, event_id: &str) -> Value {
        let reserve = format!("/events/{event_id}/tickets:reserve");
        let reservation = self.call(person, "POST", &reserve, Some(json!({ "quantity": 2 }))).await;
        let id = reservation.status(201).value()["reservationId"].clone();
        let booking = self.call(person, "POST", "/bookings", Some(json!({ "reservationId": id }))).await;
        booking.status(201).value()
    }
}

/// What `transom demo` prints, pasted into a shell.
#[test]
fn the_walkthrough_works_when_pasted() {
    let demo = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["demo", "--port", "0", "--admin-port", "0"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let mut demo = Ends(demo);
    let mut lines = BufReader::new(demo.0.stdout.take().expect("its stdout")).lines().map_while(Result::ok);
    let mut script = String::new();
    while !script.contains("/bookings/${BOOKING}") {
        script.push_str(&lines.next().expect("the last line of the walk-through"));
        script.push('\n');
    }

    let output = Command::new("bash").args(["-e", "-c", &script]).output().expect("bash");

    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    let answers: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let [registered, paid, booking] = &answers[..] else { panic!("{out}\n{err}") };
    assert!(registered["userId"].is_string(), "{registered}");
    assert_eq!(paid["state"], "SUCCEEDED", "{paid}");
    assert_eq!((&booking["state"], &booking["paymentId"]), (&json!("CONFIRMED"), &paid["paymentId"]), "{booking}");
    assert_eq!(booking["tickets"].as_array().map(Vec::len), Some(2));
}

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

#[tokio::test]
async fn an_error_keeps_its_details() {
    let front = front().await;
    let reply = front.gateway.post("/api/v1/auth/register", &json!({ "email": "nobody", "password": "short" })).await;
    let body = reply.status(400).value();
    assert_eq!(
        body["details"][0],
        json!({ "@type": ERROR_INFO, "reason": "BAD_REQUEST", "domain": "transom" }),
        "{body}"
    );
    let violations = json!([
        { "field": "email", "description": "must be a valid email address", "reason": "string.email" },
        { "field": "password", "description": "must be at least 8 bytes long", "reason": "string.min_bytes" },
    ]);
    assert_eq!(body["details"][1], json!({ "@type": BAD_REQUEST, "fieldViolations": violations }), "{body}");

    let reply = front.gateway.get("/api/v1/events/evt-999").await;
    assert_eq!(reply.status(404).value()["details"][1]["resourceName"], "evt-999");
    front.gateway.get("/api/v1/bookings").await.status(401);
    front.gateway.post("/api/v1/auth/register", &json!({ "email": "a@b.example", "password": "longer than 8" })).await;
    let again = json!({ "email": "a@b.example", "password": "longer than 8" });
    front.gateway.post("/api/v1/auth/register", &again).await.status(409);
}

#[tokio::test]
async fn a_patch_without_a_mask_changes_the_fields_it_sends() {
    let front = front().await;
    let person = front.system.person("patcher").await;
    let booking = front.book(&person, EVENT).await;
    let path = format!("/bookings/{}", booking["bookingId"].as_str().unwrap());

    let first =
        front.call(&person, "PATCH", &path, Some(json!({ "note": "aisle", "contactEmail": "a@b.example" }))).await;
    first.status(200);
    let second = front.call(&person, "PATCH", &path, Some(json!({ "note": "window" }))).await;

    let second = second.status(200).value();
    assert_eq!((&second["note"], &second["contactEmail"]), (&json!("window"), &json!("a@b.example")), "{second}");
    front.call(&person, "PATCH", &path, Some(json!({ "total": "1" }))).await.status(400);
}

#[tokio::test]
async fn a_queued_booking_is_paid_for_at_its_turn() {
    let front = front().await;
    let person = front.system.person("patient").await;
    let booking = front.book(&person, HOT).await;
    assert_eq!((&booking["state"], &booking["position"]), (&json!("QUEUED"), &json!(1)), "{booking}");
    let entry = booking["entryId"].as_str().unwrap();

    let call = front.gateway.get(&format!("/api/v1/queue/{entry}:watch"));
    let call = call.header("authorization", &format!("Bearer {}", person.access_token));
    let reply = call.header("accept", "application/x-ndjson").await;

    let text = reply.status(200).text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["state"], &last["bookingId"]), (&json!("TURN"), &booking["bookingId"]), "{last}");
    let payment = json!({ "bookingId": last["bookingId"], "idempotencyKey": "k", "walletToken": "wal_1" });
    front.call(&person, "POST", "/payments", Some(payment.clone())).await.status(201);
    front.call(&person, "POST", "/payments", Some(payment)).await.status(200);
}

#[tokio::test]
async fn what_is_internal_is_not_reachable() {
    let front = front().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", front.gateway.address())).unwrap();
    let mut inventory = TicketInventoryClient::new(endpoint.connect_lazy());
    let request = GetReservationRequest { reservation_id: "rsv-1".to_owned() };
    assert_eq!(inventory.get_reservation(request).await.expect_err("a refusal").code(), Code::Unimplemented);
    // A neighbour on the same instance is.
    let mut tickets = TicketServiceClient::new(endpoint.connect_lazy());
    let request = GetEventByIdRequest { event_id: EVENT.to_owned() };
    assert_eq!(tickets.get_event_by_id(request).await.unwrap().into_inner().event_id, EVENT);
}
