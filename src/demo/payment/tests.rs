use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use super::{Method, Payments, ProcessPaymentRequest};
use crate::demo::clock::Clock;
use crate::demo::peer::Peer;
use crate::demo::proto::booking::{Booking, SettleBookingRequest};
use crate::demo::token::{Caller, Secrets, Tokens};

/// What the booking service was told was paid for, and how often the connection breaks before it answers that.
#[derive(Default)]
struct Ledger {
    settled: Vec<String>,
    breaks: usize,
}

/// A booking service that sells what it is told to, and is then cut off.
async fn booking_service(ledger: &Arc<Mutex<Ledger>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Arc::clone(ledger);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(tcp, Arc::clone(&ledger)));
        }
    });
    address
}

/// Ends, and the connection with it, where an answer is to be lost.
async fn serve(tcp: TcpStream, ledger: Arc<Mutex<Ledger>>) {
    let mut connection = h2::server::handshake(tcp).await.unwrap();
    let mut working = tokio::task::JoinSet::new();
    loop {
        let (request, mut respond) = tokio::select! {
            Some(call) = connection.accept() => call.unwrap(),
            Some(lost) = working.join_next() => if lost.unwrap() { return } else { continue },
            else => return,
        };
        let ledger = Arc::clone(&ledger);
        working.spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut message = Vec::new();
            while let Some(data) = body.data().await {
                message.extend_from_slice(&data.unwrap());
            }
            if head.uri.path() == "/booking.BookingLedger/SettleBooking" {
                let told = SettleBookingRequest::decode(&message[5..]).unwrap();
                let mut ledger = ledger.lock();
                ledger.settled.push(told.payment_id);
                if ledger.breaks > 0 {
                    ledger.breaks -= 1;
                    return true;
                }
            }
            let booking = Booking { booking_id: "b1".to_owned(), total: 7, ..Booking::default() }.encode_to_vec();
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            let length = u32::try_from(booking.len()).unwrap().to_be_bytes();
            send.send_data(Bytes::from([&[0], &length[..], &booking].concat()), false).unwrap();
            let ok = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            send.send_trailers(ok).unwrap();
            false
        });
    }
}

#[tokio::test]
async fn a_payment_whose_settling_broke_off_is_tried_again_under_its_key_and_charged_once() {
    let ledger = Arc::new(Mutex::new(Ledger { breaks: 2, ..Ledger::default() }));
    let peer = Peer::at(&[booking_service(&ledger).await], None).unwrap();
    let clock = Clock::machine();
    let hour = Duration::from_secs(3600);
    let tokens = Arc::new(Tokens::new(&Secrets::new("access", "refresh"), clock.clone(), hour, hour));
    let payments = Payments::new(tokens, clock, peer);
    let pay = |key: &str| {
        let caller = Caller { user_id: "u1".to_owned(), session: None, bearer: "token".to_owned() };
        let request = ProcessPaymentRequest {
            booking_id: "b1".to_owned(),
            idempotency_key: key.to_owned(),
            method: Some(Method::CardToken("tok_visa".to_owned())),
            ..ProcessPaymentRequest::default()
        };
        Arc::clone(&payments).process(caller, request)
    };

    // The seats are sold by now, and nobody said so.
    for _ in 0..2 {
        let broken = pay("one-key").await.unwrap_err();
        assert!(matches!(broken.code(), Code::Unavailable | Code::Internal), "{broken:?}");
        assert!(payments.books.lock().payments.is_empty());
    }
    let (new, paid) = pay("one-key").await.unwrap();
    assert!(new);
    let (again, same) = pay("one-key").await.unwrap();
    assert!(!again);
    assert_eq!(paid, same);
    let told = ledger.lock().settled.clone();
    assert_eq!(told, [&*paid.payment_id; 3], "the booking is settled by one payment, however often");
    assert_eq!(payments.books.lock().payments.len(), 1);
}
