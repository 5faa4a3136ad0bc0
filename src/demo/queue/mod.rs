//! `booking.BookingWorker`: the queue in front of events in high demand, and the worker that moves it.

mod line;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use self::line::{Added, Lines};
use super::clock::Clock;
use super::peer::Peer;
use super::proto::booking::booking_ledger_client::BookingLedgerClient;
use super::proto::booking::booking_worker_server::BookingWorker;
use super::proto::booking::{
    AdmitBookingRequest, Booking, EnqueueRequest, GetQueueEntryRequest, InspectBookingRequest, QueueEntry,
    WatchQueueEntryRequest, booking, queue_entry::State,
};
use super::proto::ticket::ticket_inventory_client::TicketInventoryClient;
use super::proto::ticket::{ClaimReservationRequest, GetReservationRequest};
use super::refusal::{Refusal, relayed};
use super::service::{created, max_duration, place, to_the_end, watchers};
use super::token::{Caller, Tokens, id};

/// The name in the tokens by which this service proves itself to the others.
const NAME: &str = "queue-service";

/// How long the seats of one who waits are held.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 60 * 60);

/// How often the worker asks what became of those whose turn it is.
const TICK: Duration = Duration::from_millis(250);

/// The queue that all instances share.
pub(super) struct Queue {
    tokens: Arc<Tokens>,
    clock: Clock,
    lines: Mutex<Lines>,
    /// Someone joined.
    joined: Notify,
    pay_within: Duration,
    turns: usize,
    peers: Peers,
    watchers: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// The services that this one calls.
pub(super) struct Peers {
    pub(super) ticket: Peer,
    pub(super) booking: Peer,
}

impl Queue {
    /// A queue that lets `turns` entries pay at once for each event.
    pub(super) fn new(
        tokens: Arc<Tokens>,
        clock: Clock,
        pay_within: Duration,
        turns: usize,
        peers: Peers,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let queue = Arc::new(Self {
            tokens,
            clock,
            lines: Mutex::default(),
            joined: Notify::new(),
            pay_within,
            turns,
            peers,
            watchers: watchers(),
            stopping,
        });
        tokio::spawn(Arc::clone(&queue).work());
        queue
    }

    /// Moves the lines for as long as the system runs.
    async fn work(self: Arc<Self>) {
        loop {
            let idle = self.lines.lock().is_empty();
            let next = self.clock.now() + TICK;
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.joined.notified() => {}
                () = self.clock.reaches(next), if !idle => {}
            }
            self.collect().await;
            self.admit().await;
        }
    }

    /// Takes back the turns of those who have paid, or have not in time.
    async fn collect(&self) {
        let turns = self.lines.lock().turns();
        for entry in turns {
            let state = match self.inspect(&entry.booking_id).await {
                Ok(booking) => booking.state(),
                Err(status) if status.code() == Code::NotFound => booking::State::Expired,
                // The booking service does not answer: ask again at the next tick.
                Err(_) => continue,
            };
            let now = self.clock.now();
            match state {
                booking::State::Queued | booking::State::AwaitingPayment => {}
                booking::State::Confirmed => self.lines.lock().end(&entry.entry_id, State::Done, now),
                booking::State::Unspecified | booking::State::Cancelled | booking::State::Expired => {
                    self.lines.lock().end(&entry.entry_id, State::Lost, now);
                }
            }
        }
    }

    /// Gives free turns to the first who wait.
    async fn admit(&self) {
        let mut tried = Vec::new();
        loop {
            let Some(entry) = self.lines.lock().next(self.turns, &tried) else { return };
            let pay_until = self.clock.now() + self.pay_within;
            match self.open_booking(&entry, pay_until).await {
                Ok(booking) => self.lines.lock().give_turn(&entry.entry_id, booking.booking_id, pay_until),
                Err(status) => match status.code() {
                    Code::NotFound | Code::FailedPrecondition | Code::AlreadyExists => {
                        self.lines.lock().end(&entry.entry_id, State::Lost, self.clock.now());
                    }
                    // Nobody's fault: the entry keeps its place until the next tick.
                    _ => tried.push(entry.entry_id),
                },
            }
        }
    }

    async fn open_booking(&self, entry: &QueueEntry, pay_until: SystemTime) -> Result<Booking, Status> {
        let request = AdmitBookingRequest {
            entry_id: entry.entry_id.clone(),
            user_id: entry.user_id.clone(),
            reservation_id: entry.reservation_id.clone(),
            pay_until: Some(pay_until.into()),
        };
        let admit = |channel, request| async move { BookingLedgerClient::new(channel).admit_booking(request).await };
        self.peers.booking.call(&self.tokens.service(NAME)?, request, admit).await
    }

    async fn inspect(&self, booking_id: &str) -> Result<Booking, Status> {
        let request = InspectBookingRequest { booking_id: booking_id.to_owned() };
        let inspect =
            |channel, request| async move { BookingLedgerClient::new(channel).inspect_booking(request).await };
        self.peers.booking.call(&self.tokens.service(NAME)?, request, inspect).await
    }

    /// Holds a reservation's seats for as long as it may wait, and lets it join its event's line.
    async fn enqueue(self: Arc<Self>, caller: Caller, reservation_id: String) -> Result<(bool, QueueEntry), Status> {
        let service = self.tokens.service(NAME)?;
        let request = GetReservationRequest { reservation_id: reservation_id.clone() };
        let get = |channel, request| async move { TicketInventoryClient::new(channel).get_reservation(request).await };
        let reservation = self.peers.ticket.call(&service, request, get).await.map_err(|status| relayed(&status))?;
        if reservation.user_id != caller.user_id {
            return Err(Refusal::not_found("reservation", &reservation_id).into());
        }
        let now = self.clock.now();
        let mut entry = QueueEntry {
            entry_id: id("ent")?,
            user_id: caller.user_id,
            event_id: reservation.event_id,
            reservation_id: reservation_id.clone(),
            create_time: Some(now.into()),
            ..Default::default()
        };
        entry.set_state(State::Waiting);
        if let Added::Known(entry) = self.lines.lock().add(&entry, now)? {
            return Ok((false, entry));
        }
        let request = ClaimReservationRequest {
            reservation_id: reservation_id.clone(),
            user_id: entry.user_id.clone(),
            holder: entry.entry_id.clone(),
            hold_until: Some((now + LONGEST_WAIT).into()),
        };
        let claim =
            |channel, request| async move { TicketInventoryClient::new(channel).claim_reservation(request).await };
        if let Err(status) = self.peers.ticket.call(&service, request, claim).await {
            self.lines.lock().forget(&reservation_id);
            return Err(relayed(&status));
        }
        let entry = self.lines.lock().join(entry);
        self.joined.notify_one();
        Ok((true, entry))
    }

    /// Sends an entry to its owner until its turn has come or was lost, they leave, or it was long enough.
    async fn watch(
        self: Arc<Self>,
        id: String,
        user_id: String,
        until: SystemTime,
        watcher: mpsc::Sender<Result<QueueEntry, Status>>,
    ) {
        let mut seen = None;
        loop {
            // Subscribed before the entry is read: a move in between is not missed.
            let moved = self.lines.lock().follow(&id);
            let Ok(entry) = self.lines.lock().owned(&id, &user_id) else { return };
            let waits = entry.state() == State::Waiting;
            if seen != Some((entry.state, entry.position)) {
                seen = Some((entry.state, entry.position));
                tokio::select! {
                    sent = watcher.send(Ok(entry)) => if sent.is_err() { return },
                    () = self.clock.reaches(until) => return,
                    () = self.stopping.cancelled() => return,
                }
            }
            let Some(mut moved) = moved.filter(|_| waits) else { return };
            tokio::select! {
                _ = moved.changed() => {}
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
impl BookingWorker for Queue {
    type WatchQueueEntryStream = Pin<Box<dyn Stream<Item = Result<QueueEntry, Status>> + Send>>;

    async fn enqueue(self: Arc<Self>, request: Request<EnqueueRequest>) -> Result<Response<QueueEntry>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let reservation_id = request.into_inner().reservation_id;
        if reservation_id.is_empty() {
            return Err(Refusal::field("reservation_id", "is needed").into());
        }
        let (new, entry) = to_the_end(Self::enqueue(self, caller, reservation_id)).await?;
        Ok(if new { created(entry) } else { Response::new(entry) })
    }

    async fn get_queue_entry(
        self: Arc<Self>,
        request: Request<GetQueueEntryRequest>,
    ) -> Result<Response<QueueEntry>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        Ok(Response::new(self.lines.lock().owned(&request.into_inner().entry_id, &caller.user_id)?))
    }

    async fn watch_queue_entry(
        self: Arc<Self>,
        request: Request<WatchQueueEntryRequest>,
    ) -> Result<Response<Self::WatchQueueEntryStream>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let request = request.into_inner();
        let until = self.clock.now() + max_duration(request.max_duration)?;
        self.lines.lock().owned(&request.entry_id, &caller.user_id)?;
        let place = place(&self.watchers)?;
        let (watcher, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let _place = place;
            self.watch(request.entry_id, caller.user_id, until, watcher).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
