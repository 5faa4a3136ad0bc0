//! `ticket.TicketService` and, for the other services, `ticket.TicketInventory`.

mod catalogue;
mod house;
mod inventory;
mod show;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::inventory::{Filter, Inventory, Wanted};
use super::clock::Clock;
use super::page::Pages;
use super::proto::ticket::ticket_inventory_server::TicketInventory;
use super::proto::ticket::ticket_service_server::TicketService;
use super::proto::ticket::{
    Category, ClaimReservationRequest, Event, EventAvailability, GetAvailableTicketsRequest,
    GetAvailableTicketsResponse, GetEventByIdRequest, GetEventsRequest, GetEventsResponse, GetReservationRequest,
    ListCategoriesRequest, ListCategoriesResponse, ListUserTicketsRequest, ListUserTicketsResponse,
    ReleaseReservationRequest, Reservation, ReserveTicketsRequest, SellReservationRequest, WatchEventRequest, event,
};
use super::refusal::Refusal;
use super::service::{created, max_duration, place, time, watchers};
use super::token::{Tokens, id};

/// How often seats are looked for that were held too long. What a call asks about is looked at by the call itself.
const SWEEP: Duration = Duration::from_secs(1);

/// The events and seats that all instances share.
pub(super) struct Ticket {
    tokens: Arc<Tokens>,
    clock: Clock,
    inventory: Mutex<Inventory>,
    pages: Pages,
    watchers: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Ticket {
    pub(super) fn new(tokens: Arc<Tokens>, clock: Clock, hold_for: Duration, stopping: CancellationToken) -> Arc<Self> {
        let inventory = Mutex::new(Inventory::new(hold_for, clock.now()));
        let ticket =
            Arc::new(Self { tokens, clock, inventory, pages: Pages::default(), watchers: watchers(), stopping });
        tokio::spawn(Arc::clone(&ticket).sweep());
        ticket
    }

    /// Gives seats back that were held too long, so that those who watch see it.
    async fn sweep(self: Arc<Self>) {
        loop {
            let next = self.clock.now() + SWEEP;
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.clock.reaches(next) => self.inventory.lock().sweep(self.clock.now()),
            }
        }
    }

    /// Sends an event's seats to one watcher until it has seen the end, leaves, or has watched long enough.
    async fn watch(
        self: Arc<Self>,
        event_id: String,
        until: SystemTime,
        watcher: mpsc::Sender<Result<EventAvailability, Status>>,
    ) {
        let Ok((mut changed, start)) = self.inventory.lock().follow(&event_id) else { return };
        let mut seen = None;
        loop {
            changed.mark_unchanged();
            let now = self.clock.now();
            let Ok(availability) = self.inventory.lock().availability(&event_id, now) else { return };
            let news = (availability.available_seats, availability.sold_seats, availability.state);
            let ended = availability.state() == event::State::Over
                || availability.available_seats + availability.reserved_seats == 0;
            if seen != Some(news) {
                seen = Some(news);
                tokio::select! {
                    sent = watcher.send(Ok(availability)) => if sent.is_err() { return },
                    () = self.clock.reaches(until) => return,
                    () = self.stopping.cancelled() => return,
                }
            }
            if ended {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = self.clock.reaches(start) => {}
                () = self.clock.reaches(until) => return,
                () = watcher.closed() => return,
                () = self.stopping.cancelled() => {
                    let _ = watcher.try_send(Err(Status::unavailable("the service is stopping")));
                    return;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl TicketService for Ticket {
    type WatchEventStream = Pin<Box<dyn Stream<Item = Result<EventAvailability, Status>> + Send>>;

    async fn get_events(
        self: Arc<Self>,
        request: Request<GetEventsRequest>,
    ) -> Result<Response<GetEventsResponse>, Status> {
        let request = request.into_inner();
        if request.query.chars().count() > 100 {
            return Err(Refusal::field("query", "must be at most 100 characters").into());
        }
        let filter = Filter {
            category: request.category,
            city: request.city,
            query: request.query.to_lowercase(),
            starts_after: request.starts_after.map(|after| time("starts_after", after)).transpose()?,
        };
        let (size, from) = self.pages.open(request.page_size, &request.page_token, ("events", &filter))?;
        let from = usize::try_from(from.unwrap_or(0)).unwrap_or(usize::MAX);
        let (mut page, total) = self.inventory.lock().events(&filter, from, size + 1, self.clock.now());
        let next_page_token = self.next(&mut page, size, ("events", &filter));
        Ok(Response::new(GetEventsResponse {
            events: page.into_iter().map(|(_, event)| event).collect(),
            next_page_token,
            total_size: i32::try_from(total).unwrap_or(i32::MAX),
        }))
    }

    async fn get_event_by_id(
        self: Arc<Self>,
        request: Request<GetEventByIdRequest>,
    ) -> Result<Response<Event>, Status> {
        let event = self.inventory.lock().event(&request.into_inner().event_id, self.clock.now())?;
        Ok(Response::new(event))
    }

    async fn list_categories(
        self: Arc<Self>,
        _request: Request<ListCategoriesRequest>,
    ) -> Result<Response<ListCategoriesResponse>, Status> {
        let now = self.clock.now();
        let inventory = self.inventory.lock();
        let categories = catalogue::CATEGORIES.map(|(category, display_name)| Category {
            category: category.to_owned(),
            display_name: display_name.to_owned(),
            event_count: i32::try_from(inventory.count(category, now)).unwrap_or(i32::MAX),
        });
        Ok(Response::new(ListCategoriesResponse { categories: categories.into() }))
    }

    async fn get_available_tickets(
        self: Arc<Self>,
        request: Request<GetAvailableTicketsRequest>,
    ) -> Result<Response<GetAvailableTicketsResponse>, Status> {
        self.tokens.caller(request.metadata())?;
        let request = request.into_inner();
        let list = ("tickets", &request.event_id, &request.section);
        let (size, from) = self.pages.open(request.page_size, &request.page_token, list)?;
        let from = usize::try_from(from.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut page = {
            let mut inventory = self.inventory.lock();
            inventory.sweep(self.clock.now());
            inventory.free(&request.event_id, &request.section, from, size + 1)?
        };
        let next_page_token = self.next(&mut page, size, list);
        let tickets = page.into_iter().map(|(_, ticket)| ticket).collect();
        Ok(Response::new(GetAvailableTicketsResponse { tickets, next_page_token }))
    }

    async fn reserve_tickets(
        self: Arc<Self>,
        request: Request<ReserveTicketsRequest>,
    ) -> Result<Response<Reservation>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let request = request.into_inner();
        let wanted = match (&request.ticket_ids[..], request.quantity) {
            ([], 0) => return Err(Refusal::field("quantity", "say how many seats, or name them in ticket_ids").into()),
            ([], quantity) => Wanted::Best(usize::try_from(quantity).unwrap_or(0), &request.section),
            (tickets, 0) if request.section.is_empty() => Wanted::Named(tickets),
            _ => return Err(Refusal::field("ticket_ids", "must stand alone, without quantity or section").into()),
        };
        let id = id("rsv")?;
        let now = self.clock.now();
        let reservation = self.inventory.lock().reserve(id, &caller.user_id, &request.event_id, &wanted, now)?;
        Ok(created(reservation))
    }

    async fn list_user_tickets(
        self: Arc<Self>,
        request: Request<ListUserTicketsRequest>,
    ) -> Result<Response<ListUserTicketsResponse>, Status> {
        let user = self.tokens.caller(request.metadata())?.user_id;
        let request = request.into_inner();
        let (size, before) = self.pages.open(request.page_size, &request.page_token, ("bought", &user))?;
        let mut page = self.inventory.lock().bought(&user, before, size + 1);
        // Newest first: the next page holds what was sold before the last of this one.
        let more = page.len() > size;
        page.truncate(size);
        let last = page.last().filter(|_| more).map(|(sale, _)| *sale);
        let next_page_token = last.map(|sale| self.pages.token(sale, ("bought", &user))).unwrap_or_default();
        let tickets = page.into_iter().map(|(_, ticket)| ticket).collect();
        Ok(Response::new(ListUserTicketsResponse { tickets, next_page_token }))
    }

    async fn watch_event(
        self: Arc<Self>,
        request: Request<WatchEventRequest>,
    ) -> Result<Response<Self::WatchEventStream>, Status> {
        self.tokens.watcher(request.metadata())?;
        let request = request.into_inner();
        let until = self.clock.now() + max_duration(request.max_duration)?;
        self.inventory.lock().event(&request.event_id, self.clock.now())?;
        let place = place(&self.watchers)?;
        let (watcher, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = place;
            self.watch(request.event_id, until, watcher).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Ticket {
    /// Cuts a page to its size; the token of the next one, if something was left over.
    fn next<T>(&self, page: &mut Vec<(u64, T)>, size: usize, list: impl std::hash::Hash) -> String {
        let next = page.get(size).map(|(position, _)| self.pages.token(*position, list));
        page.truncate(size);
        next.unwrap_or_default()
    }
}

#[tonic::async_trait]
impl TicketInventory for Ticket {
    async fn get_reservation(
        self: Arc<Self>,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        self.tokens.service_caller(request.metadata())?;
        let request = request.into_inner();
        Ok(Response::new(self.inventory.lock().reservation(&request.reservation_id, self.clock.now())?))
    }

    async fn claim_reservation(
        self: Arc<Self>,
        request: Request<ClaimReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        self.tokens.service_caller(request.metadata())?;
        let request = request.into_inner();
        let now = self.clock.now();
        let until = request.hold_until.ok_or_else(|| Refusal::field("hold_until", "is needed"))?;
        let until = time("hold_until", until)?;
        let mut inventory = self.inventory.lock();
        Ok(Response::new(inventory.claim(&request.reservation_id, &request.user_id, &request.holder, until, now)?))
    }

    async fn sell_reservation(
        self: Arc<Self>,
        request: Request<SellReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        self.tokens.service_caller(request.metadata())?;
        let request = request.into_inner();
        let now = self.clock.now();
        Ok(Response::new(self.inventory.lock().sell(&request.reservation_id, &request.holder, now)?))
    }

    async fn release_reservation(
        self: Arc<Self>,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        self.tokens.service_caller(request.metadata())?;
        let request = request.into_inner();
        let now = self.clock.now();
        Ok(Response::new(self.inventory.lock().release(&request.reservation_id, &request.holder, now)?))
    }
}
