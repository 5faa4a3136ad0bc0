//! The files that a process may have open: clients never get all of them, so services, probes and reloads find some.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::client::Call;
use crate::support::process::{Process, send};

const EVENT: &str = "/api/v1/events/evt-001";

/// A gateway before a ticket service, with as many files as that: at first, and at most.
fn gateway(files: (u32, u32), service: SocketAddr) -> Process {
    let variables =
        [("PORT", "0"), ("ADMIN_PORT", "0"), ("WORKERS", "1"), ("GRPC_TICKET_SERVICE_URL", &service.to_string())];
    Process::start_with_files(files, &["serve", "--config", "examples/booking/bench.yaml"], &variables)
}

/// A connection, of a test without a runtime.
#[expect(clippy::disallowed_methods, reason = "there is no worker that it could block")]
fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("accepted")
}

/// So many connections that say nothing: those of them that the gateway keeps.
fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut sockets: Vec<_> = (0..count).map(|_| connect(address)).collect();
    sockets.retain_mut(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
        // One that is turned away is closed or reset.
        socket.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    sockets
}

#[test]
fn a_low_limit_is_raised_as_far_as_the_process_may() {
    let service = Process::start(&["demo", "--service", "ticket", "--port", "0"], &[]);
    let gateway = gateway((64, 1024), service.address);
    let kept = idle(gateway.address, 300);
    assert_eq!(kept.len(), 300);
    gateway.get(EVENT).status(200);
}

#[test]
fn clients_leave_enough_for_services_and_probes() {
    let service = Process::start(&["demo", "--service", "ticket", "--port", "0"], &[]);
    let gateway = gateway((128, 128), service.address);
    let mut client = connect(gateway.address);
    let kept = idle(gateway.address, 200);
    assert_eq!(kept.len(), 95, "three of four, less one");
    // The admin port has room, and the first call finds a connection to its service.
    send(Call::new(gateway.admin.expect("an admin port"), "GET", "/livez")).status(200);
    client.write_all(format!("GET {EVENT} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = [0; 15];
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}
