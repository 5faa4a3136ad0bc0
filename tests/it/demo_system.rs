//! The system as a whole: descriptors, health, reflection, instances that stop.

use tokio_stream::StreamExt;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use transom::demo::proto::ticket::ticket_inventory_client::TicketInventoryClient;
use transom::demo::proto::ticket::{GetReservationRequest, WatchEventRequest};
use transom::demo::{self, Service};

use crate::demo_client::{EVENT, options, refused, system};
use crate::support::soon;

const SERVES: [(Service, &[&str]); 5] = [
    (Service::Auth, &["auth.AuthService"]),
    (Service::Ticket, &["ticket.TicketService", "ticket.TicketInventory"]),
    (Service::Booking, &["booking.BookingService", "booking.BookingLedger"]),
    (Service::Queue, &["booking.BookingWorker"]),
    (Service::Payment, &["payment.PaymentService"]),
];

#[tokio::test]
async fn every_instance_is_healthy_under_each_of_its_names() {
    let system = system().await;
    for (service, names) in SERVES {
        for instance in 0..2 {
            let mut health = HealthClient::new(system.channel(service, instance));
            for name in names.iter().chain(&[""]) {
                let request = HealthCheckRequest { service: (*name).to_owned() };
                let status = health.check(request).await.unwrap().into_inner().status();
                assert_eq!(status, ServingStatus::Serving, "{name}");
            }
            let request = HealthCheckRequest { service: "no.Such".to_owned() };
            assert_eq!(health.check(request).await.expect_err("unknown").code(), Code::NotFound);
        }
    }
}

#[tokio::test]
async fn every_instance_describes_itself_options_and_all() {
    let system = system().await;
    for (service, names) in SERVES {
        for instance in 0..2 {
            let channel = system.channel(service, instance);
            let ask = async |question: MessageRequest| {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                let stream = tokio_stream::once(request);
                let mut answers = ServerReflectionClient::new(channel.clone())
                    .server_reflection_info(Request::new(stream))
                    .await
                    .unwrap()
                    .into_inner();
                let answer: ServerReflectionResponse = answers.next().await.unwrap().unwrap();
                answer.message_response.unwrap()
            };
            let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
            else {
                panic!("no list of services")
            };
            let listed: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            assert!(names.iter().all(|name| listed.iter().any(|listed| listed == name)), "{listed:?}");

            let question = MessageRequest::FileContainingSymbol(names[0].to_owned());
            let MessageResponse::FileDescriptorResponse(file) = ask(question).await else { panic!("no file") };
            let bytes = file.file_descriptor_proto.concat();
            let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(holds(b"/api/v1/"), "{}: its REST paths were lost", names[0]);
        }
    }
}

#[tokio::test]
async fn people_cannot_call_what_is_internal() {
    let system = system().await;
    let person = system.person("curious").await;
    let mut inventory = TicketInventoryClient::new(system.channel(Service::Ticket, 0));
    let request = GetReservationRequest { reservation_id: "rsv-1".to_owned() };
    let as_person = refused(inventory.get_reservation(person.says(request.clone())).await);
    assert_eq!((as_person.code, as_person.reason.as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));
    assert_eq!(refused(inventory.get_reservation(request).await).reason, "TOKEN_MISSING");
}

#[tokio::test]
async fn services_move_to_the_instance_that_is_there() {
    let mut system = system().await;
    let person = system.person("steady").await;
    let gone = system.running.ticket[0];
    system.running.stop(gone).await;
    for _ in 0..4 {
        system.reserve_and_book(&person, EVENT, 1).await;
    }
    let gone = system.running.ticket[1];
    let reservation = system.reserve(&person, EVENT, 1).await.unwrap();
    system.running.stop(gone).await;
    let refused = refused(system.book(&person, &reservation.reservation_id).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "DEPENDENCY_DOWN"));
}

#[tokio::test]
async fn one_service_runs_alone() {
    let (options, _hand) = options();
    let running = demo::serve_one(Service::Auth, "127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    assert_eq!((running.auth.len(), running.ticket.len()), (1, 0));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", running.auth[0])).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let request = HealthCheckRequest { service: "auth.AuthService".to_owned() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status(), ServingStatus::Serving);
    running.shutdown().await;
}

#[tokio::test]
async fn stopping_ends_streams() {
    let system = system().await;
    let person = system.person("last").await;
    let request = WatchEventRequest { event_id: EVENT.to_owned(), max_duration: None };
    let mut stream = system.tickets().watch_event(person.says(request)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    soon("the shutdown", system.running.shutdown()).await;

    let end = soon("the end of the stream", stream.message()).await;
    assert_eq!(end.expect_err("a status").code(), Code::Unavailable);
}
