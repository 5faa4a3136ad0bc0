//! A command's answer on stdout.

use std::io::{ErrorKind, Write, stdout};

use super::Refusal;

/// Writes the answer. A reader that left early (`transom routes | head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Refusal> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Refusal::new(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
