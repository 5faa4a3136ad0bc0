//! The protos of the booking system: the REST map that clients rely on, and a comment on every name.

use std::collections::HashSet;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use transom::demo::DESCRIPTORS;
use transom_transcode::schema::{Idempotency, Schema};

const REST: [&str; 25] = [
    "GET /api/v1/bookings booking.BookingService/ListBookings",
    "GET /api/v1/bookings/{booking_id} booking.BookingService/GetBooking",
    "GET /api/v1/categories ticket.TicketService/ListCategories",
    "GET /api/v1/events ticket.TicketService/GetEvents",
    "GET /api/v1/events/{event_id} ticket.TicketService/GetEventById",
    "GET /api/v1/events/{event_id}/tickets ticket.TicketService/GetAvailableTickets",
    "GET /api/v1/events/{event_id}:watch ticket.TicketService/WatchEvent",
    "GET /api/v1/payments/{payment_id} payment.PaymentService/GetPaymentStatus",
    "GET /api/v1/queue/{entry_id} booking.BookingWorker/GetQueueEntry",
    "GET /api/v1/queue/{entry_id}:watch booking.BookingWorker/WatchQueueEntry",
    "GET /api/v1/tickets ticket.TicketService/ListUserTickets",
    "GET /api/v1/user/profile auth.AuthService/GetUserProfile",
    "PATCH /api/v1/bookings/{booking_id} booking.BookingService/UpdateBooking",
    "POST /api/v1/auth/login auth.AuthService/Login",
    "POST /api/v1/auth/logout auth.AuthService/Logout",
    "POST /api/v1/auth/refresh auth.AuthService/RefreshToken",
    "POST /api/v1/auth/register auth.AuthService/Register",
    "POST /api/v1/bookings booking.BookingService/CreateBooking",
    "POST /api/v1/bookings/{booking_id}:cancel booking.BookingService/CancelBooking",
    "POST /api/v1/events/{event_id}/tickets:reserve ticket.TicketService/ReserveTickets",
    "POST /api/v1/payments payment.PaymentService/ProcessPayment",
    "POST /api/v1/payments/{payment_id}:refund payment.PaymentService/RefundPayment",
    "POST /api/v1/queue booking.BookingWorker/Enqueue",
    "PUT /api/v1/user/profile auth.AuthService/UpdateUserProfile",
    // It has no REST form.
    "auth.AuthService/ValidateToken",
];

/// Services that only services call: nothing of them has a REST form.
const INTERNAL: [&str; 2] = ["ticket.TicketInventory", "booking.BookingLedger"];

#[test]
fn the_rest_map_is_as_promised() {
    let mut builder = Schema::builder();
    builder.add(DESCRIPTORS, "booking.binpb").unwrap();
    let schema = builder.build().unwrap();
    let mut map = Vec::new();
    for service in &schema.services {
        for method in &service.methods {
            let name = format!("{}/{}", service.name, method.name);
            if INTERNAL.contains(&&*service.name) {
                assert!(method.http.is_empty(), "{name}");
                continue;
            }
            let reads = method.http.iter().any(|rule| &*rule.method == "GET") || name.ends_with("/ValidateToken");
            assert_eq!(reads, method.idempotency == Idempotency::NoSideEffects, "{name}");
            match &method.http[..] {
                [] => map.push(name),
                rules => map.extend(rules.iter().map(|rule| format!("{} {} {name}", rule.method, rule.template))),
            }
        }
    }
    map.sort();
    assert_eq!(map, REST);
}

/// Paths of what must have a comment: numbers of `descriptor.proto`, as in `SourceCodeInfo.Location.path`.
fn message(path: &[i32], message: &DescriptorProto, paths: &mut Vec<Vec<i32>>) {
    let below = |parts: &[i32]| [path, parts].concat();
    paths.push(path.to_vec());
    paths.extend((0..).zip(&message.field).map(|(at, _)| below(&[2, at])));
    for (at, nested) in (0..).zip(&message.enum_type) {
        enumeration(&below(&[4, at]), nested, paths);
    }
}

fn enumeration(path: &[i32], enumeration: &EnumDescriptorProto, paths: &mut Vec<Vec<i32>>) {
    paths.push(path.to_vec());
    paths.extend((0..).zip(&enumeration.value).map(|(at, _)| [path, &[2, at]].concat()));
}

#[test]
fn every_name_has_a_comment() {
    let mut looked_at = 0;
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let foreign = |package: &str| package.starts_with("google.") || package == "buf.validate";
    for file in set.file.iter().filter(|file| !foreign(file.package())) {
        let mut paths = Vec::new();
        for (at, service) in (0..).zip(&file.service) {
            paths.push(vec![6, at]);
            paths.extend((0..).zip(&service.method).map(|(method, _)| vec![6, at, 2, method]));
        }
        for (at, declared) in (0..).zip(&file.message_type) {
            message(&[4, at], declared, &mut paths);
        }
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let commented: HashSet<_> =
            locations.filter(|location| !location.leading_comments().trim().is_empty()).map(|at| &at.path).collect();
        for path in &paths {
            assert!(commented.contains(path), "{}: nothing is said at {path:?}", file.name());
        }
        looked_at += paths.len();
    }
    assert!(looked_at > 250, "{looked_at}");
}
