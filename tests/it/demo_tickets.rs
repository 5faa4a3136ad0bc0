//! The ticket service: events, seats, reservations.

use std::collections::HashSet;
use std::time::Duration;

use tonic::Code;
use transom::demo::Service;
use transom::demo::proto::google::rpc;
use transom::demo::proto::ticket::ticket_service_client::TicketServiceClient;
use transom::demo::proto::ticket::{
    Event, GetAvailableTicketsRequest, GetEventByIdRequest, GetEventsRequest, ListCategoriesRequest,
    ListUserTicketsRequest, ReserveTicketsRequest, WatchEventRequest, event,
};

use crate::demo_client::{EVENT, HOT, System, refused, system};
use crate::support::soon;

async fn events(system: &System, request: GetEventsRequest) -> Vec<Event> {
    let mut request = request;
    let mut all = Vec::new();
    loop {
        let page = system.tickets().get_events(request.clone()).await.unwrap().into_inner();
        assert!(page.events.len() <= 100);
        all.extend(page.events);
        if page.next_page_token.is_empty() {
            assert_eq!(all.len(), usize::try_from(page.total_size).unwrap());
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn pages_are_the_whole_list_in_order() {
    let system = system().await;
    let whole = events(&system, GetEventsRequest { page_size: 100, ..Default::default() }).await;
    let paged = events(&system, GetEventsRequest { page_size: 7, ..Default::default() }).await;

    assert_eq!(whole, paged);
    assert!(whole.len() > 100);
    assert!(whole.is_sorted_by_key(|event| event.start_time.map(|time| time.seconds)));
    assert_eq!(whole.iter().map(|event| &event.event_id).collect::<HashSet<_>>().len(), whole.len());
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let system = system().await;
    let music = events(&system, GetEventsRequest { category: "music".to_owned(), ..Default::default() }).await;
    assert!(!music.is_empty() && music.iter().all(|event| event.category == "music"));
    let lisbon = events(&system, GetEventsRequest { city: "lisbon".to_owned(), ..Default::default() }).await;
    assert!(!lisbon.is_empty() && lisbon.iter().all(|event| event.city == "Lisbon"));
    let swans = events(&system, GetEventsRequest { query: "SWAN".to_owned(), ..Default::default() }).await;
    assert_eq!(swans.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["Swan Lake"; 3]);
    let late = music.last().unwrap().start_time;
    let later = events(&system, GetEventsRequest { starts_after: late, ..Default::default() }).await;
    assert!(later.iter().all(|event| event.start_time.unwrap().seconds >= late.unwrap().seconds));
    let none = events(&system, GetEventsRequest { category: "knitting".to_owned(), ..Default::default() }).await;
    assert!(none.is_empty());

    let categories = system.tickets().list_categories(ListCategoriesRequest {}).await.unwrap().into_inner();
    let counted: i32 = categories.categories.iter().map(|category| category.event_count).sum();
    assert_eq!(usize::try_from(counted).unwrap(), events(&system, GetEventsRequest::default()).await.len());
}

#[tokio::test]
async fn a_page_token_of_another_list_is_refused() {
    let system = system().await;
    let first = system.tickets().get_events(GetEventsRequest::default()).await.unwrap().into_inner();
    let other =
        GetEventsRequest { page_token: first.next_page_token, category: "music".to_owned(), ..Default::default() };
    assert_eq!(refused(system.tickets().get_events(other).await).fields(), ["page_token"]);
    let negative = GetEventsRequest { page_size: -1, ..Default::default() };
    assert_eq!(refused(system.tickets().get_events(negative).await).fields(), ["page_size"]);
}

#[tokio::test]
async fn an_unknown_event_is_named() {
    let system = system().await;
    let request = GetEventByIdRequest { event_id: "evt-999".to_owned() };
    let refused = refused(system.tickets().get_event_by_id(request).await);
    assert_eq!(refused.code, Code::NotFound);
    let resource: rpc::ResourceInfo = refused.detail("ResourceInfo");
    assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("event", "evt-999"));
}

#[tokio::test]
async fn the_best_seats_are_side_by_side() {
    let system = system().await;
    let person = system.person("pair").await;

    let reservation = system.reserve(&person, EVENT, 3).await.unwrap();

    let seats: Vec<_> = reservation.tickets.iter().map(|ticket| ticket.ticket_id.as_str()).collect();
    assert_eq!(seats, ["evt-001-A1", "evt-001-A2", "evt-001-A3"]);
    assert_eq!(reservation.total, reservation.tickets.iter().map(|ticket| ticket.price).sum::<i64>());
    let request = GetAvailableTicketsRequest { event_id: EVENT.to_owned(), page_size: 2, ..Default::default() };
    let free = system.tickets().get_available_tickets(person.says(request)).await.unwrap().into_inner();
    assert_eq!(free.tickets[0].ticket_id, "evt-001-A4");
}

#[tokio::test]
async fn all_named_seats_are_reserved_or_none() {
    let system = system().await;
    let (first, second) = (system.person("one").await, system.person("two").await);
    let reserve = |seats: &[&str]| ReserveTicketsRequest {
        event_id: EVENT.to_owned(),
        ticket_ids: seats.iter().map(|seat| format!("{EVENT}-{seat}")).collect(),
        ..Default::default()
    };
    system.tickets().reserve_tickets(first.says(reserve(&["B5", "B6"]))).await.unwrap();
    let before = system.event(EVENT).await.available_seats;

    let refusal = refused(system.tickets().reserve_tickets(second.says(reserve(&["B6", "B7"]))).await);

    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::FailedPrecondition, "SEATS_TAKEN"));
    assert_eq!(system.event(EVENT).await.available_seats, before);
    assert!(system.tickets().reserve_tickets(second.says(reserve(&["B7"]))).await.is_ok());
    for (seats, code) in [
        (vec!["B8", "B8"], Code::InvalidArgument),
        (vec!["Z1"], Code::NotFound),
        (vec!["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"], Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
    ] {
        assert_eq!(refused(system.tickets().reserve_tickets(second.says(reserve(&seats))).await).code, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_seat_is_sold_twice() {
    let system = system().await;
    let total = usize::try_from(system.event(EVENT).await.total_seats).unwrap();
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(system.person(&format!("crowd-{number}")).await);
    }
    // Two seats at a time, half by number and half by name, over both instances, more than there are.
    let calls: Vec<_> = (0..total)
        .map(|number| {
            let person = people[number % people.len()].clone();
            let mut tickets = TicketServiceClient::new(system.channel(Service::Ticket, number % 2));
            let mut request = ReserveTicketsRequest { event_id: EVENT.to_owned(), ..Default::default() };
            if number % 4 < 2 {
                request.quantity = 2;
            } else {
                request.ticket_ids =
                    vec![format!("{EVENT}-A{}", number % 13 + 1), format!("{EVENT}-B{}", number % 7 + 1)];
            }
            tokio::spawn(async move { tickets.reserve_tickets(person.says(request)).await })
        })
        .collect();
    let mut held = Vec::new();
    for call in calls {
        if let Ok(reservation) = call.await.unwrap() {
            held.extend(reservation.into_inner().tickets.into_iter().map(|ticket| ticket.ticket_id));
        }
    }

    let distinct: HashSet<_> = held.iter().collect();
    assert_eq!(distinct.len(), held.len(), "a seat was held twice");
    assert_eq!(usize::try_from(system.event(EVENT).await.available_seats).unwrap(), total - held.len());
    assert!(held.len() > total / 4);
}

#[tokio::test]
async fn a_reservation_expires_and_its_seats_come_back() {
    let system = system().await;
    let person = system.person("late").await;
    let before = system.event(EVENT).await.available_seats;
    let reservation = system.reserve(&person, EVENT, 4).await.unwrap();
    assert_eq!(system.event(EVENT).await.available_seats, before - 4);

    system.hand.advance(Duration::from_secs(10 * 60));
    let person = system.person("later").await;

    let again = system.reserve(&person, EVENT, 4).await.unwrap();
    assert_eq!(again.tickets, reservation.tickets);
}

#[tokio::test]
async fn reservations_of_one_user_are_bounded() {
    let system = system().await;
    let person = system.person("hoarder").await;
    for _ in 0..20 {
        system.reserve(&person, EVENT, 1).await.unwrap();
    }
    assert_eq!(refused(system.reserve(&person, EVENT, 1).await).code, Code::ResourceExhausted);
}

#[tokio::test]
async fn an_event_that_has_begun_sells_nothing() {
    let system = system().await;
    let person = system.person("tardy").await;
    assert_eq!(system.event("evt-000").await.state(), event::State::Over);
    let refused = refused(system.reserve(&person, "evt-000", 1).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "EVENT_OVER"));
    let violation: rpc::PreconditionFailure = refused.detail("PreconditionFailure");
    assert_eq!(violation.violations[0].subject, "evt-000");
}

#[tokio::test]
async fn watching_an_event_shows_each_change_and_ends() {
    let system = system().await;
    let person = system.person("watcher").await;
    let watch = |event_id: &str, seconds| WatchEventRequest {
        event_id: event_id.to_owned(),
        max_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let mut stream = system.tickets().watch_event(person.says(watch(EVENT, 60))).await.unwrap().into_inner();

    let first = soon("the state", stream.message()).await.unwrap().unwrap();
    system.reserve(&person, EVENT, 2).await.unwrap();
    let second = soon("the change", stream.message()).await.unwrap().unwrap();
    assert_eq!(second.available_seats, first.available_seats - 2);
    assert_eq!(second.reserved_seats, 2);

    system.hand.advance(Duration::from_secs(60));
    assert!(soon("the end", stream.message()).await.unwrap().is_none());

    let mut over = system.tickets().watch_event(person.says(watch("evt-000", 60))).await.unwrap().into_inner();
    assert_eq!(soon("the state", over.message()).await.unwrap().unwrap().state(), event::State::Over);
    assert!(soon("the end", over.message()).await.unwrap().is_none());
    let negative = system.tickets().watch_event(person.says(watch(EVENT, -1))).await;
    assert_eq!(refused(negative).fields(), ["max_duration"]);
}

#[tokio::test]
async fn bought_tickets_are_listed_newest_first() {
    let system = system().await;
    let person = system.person("fan").await;
    let mut bought = Vec::new();
    for (number, event_id) in [EVENT, "evt-002", "evt-003"].into_iter().enumerate() {
        let booking = system.reserve_and_book(&person, event_id, 2).await;
        system.pay(&person, &booking.booking_id, &format!("key-{number}")).await.unwrap();
        bought.extend(booking.tickets.into_iter().map(|ticket| ticket.ticket_id));
    }
    bought.reverse();

    let mut listed = Vec::new();
    let mut request = ListUserTicketsRequest { page_size: 4, ..Default::default() };
    loop {
        let page = system.tickets().list_user_tickets(person.says(request.clone())).await.unwrap().into_inner();
        listed.extend(page.tickets.into_iter().map(|ticket| ticket.ticket_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }

    assert_eq!(listed, bought);
    assert!(system.event(HOT).await.high_demand);
}
