//! What the programs of the comparison share: the three calls that are measured, and small pieces of gRPC.

pub mod generated;

use std::path::Path;
use std::{fs, io};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

/// One measured call: the RPC that answers it, and its canned reply.
#[derive(Debug, Clone)]
pub struct Canned {
    /// `/package.Service/Method`
    pub path: String,
    /// The reply, with its five-byte prefix.
    pub frame: Bytes,
}

/// Reads `<name>.json` for each `(name, rpc)` and encodes it as that RPC's reply type.
///
/// # Errors
/// A file that cannot be read, an RPC that the descriptors lack, JSON that is not its reply type.
pub fn canned(descriptors: &Path, folder: &Path, calls: &[(&str, &str)]) -> io::Result<Vec<Canned>> {
    let pool = DescriptorPool::decode(fs::read(descriptors)?.as_slice()).map_err(io::Error::other)?;
    calls
        .iter()
        .map(|(name, rpc)| {
            let (service, method) = rpc.rsplit_once('/').ok_or_else(|| io::Error::other("an RPC is Service/Method"))?;
            let output = pool
                .get_service_by_name(service)
                .and_then(|service| service.methods().find(|found| found.name() == method))
                .ok_or_else(|| io::Error::other(format!("the descriptors have no {rpc}")))?
                .output();
            let text = fs::read_to_string(folder.join(format!("{name}.json")))?;
            let mut json = serde_json::Deserializer::from_str(&text);
            let message = DynamicMessage::deserialize(output, &mut json).map_err(io::Error::other)?;
            Ok(Canned { path: format!("/{rpc}"), frame: frame(&message.encode_to_vec()) })
        })
        .collect()
}

/// A message behind its gRPC prefix: one flag byte, four bytes of length.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The RPCs of the comparison, by the name of their reply's file.
pub const CALLS: [(&str, &str); 3] = [
    ("get", "ticket.TicketService/GetEventById"),
    ("list", "ticket.TicketService/GetEvents"),
    ("post", "booking.BookingService/CreateBooking"),
];
