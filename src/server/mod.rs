//! Server: listeners, workers, connections, and their end.
//!
//! ```text
//! limits      what clients may take
//! open_files  how many files the process may have, and whose they are
//! listen      sockets, bound before any thread starts
//! phase       serving → draining → closing → gone
//! preface     HTTP/1.1 or HTTP/2, by the first bytes
//! frames      where a client is in HTTP/2's frames
//! activity    what a connection is doing; when it is idle
//! unread      what a connection keeps of answers that its client has not taken
//! upload      a request's body: whether it is whole, and what nobody takes of it
//! on_wake     waits beside a connection without being polled with it
//! hangup      a client that left while nobody reads what it sent
//! farewell    a close before which what was said last arrives
//! patience    calls of HTTP/2 end with their time, read or not
//! connection  one connection from its first byte to its close
//! redirect    plain HTTP is sent on to https://
//! expiry      warns of certificates that end
//! worker      one thread with its listener and connections
//! run         all of it, from start to drain
//! ```

mod activity;
mod connection;
mod expiry;
mod farewell;
mod frames;
mod hangup;
mod limits;
mod listen;
mod on_wake;
mod open_files;
mod patience;
mod phase;
mod preface;
mod redirect;
mod run;
mod unread;
mod upload;
mod worker;

pub use limits::Limits;
pub use listen::Listeners;
pub use open_files::OpenFiles;
pub use run::{Server, run};
