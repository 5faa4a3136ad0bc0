//! `transom descriptors`: a folder of `.proto` files as one `FileDescriptorSet`, and the file that is theirs to import.

use std::fs;
use std::path::Path;

use crate::sources;

use super::{Refusal, output};

/// Compiles the folder; the same files give the same bytes.
pub(super) fn descriptors(protos: &Path, output: &Path) -> Result<(), Refusal> {
    let set = sources::compile_folder(protos).map_err(|problems| Refusal::of(&problems))?;
    fs::write(output, set).map_err(|error| Refusal::new(format!("{}: cannot be written: {error}", output.display())))
}

/// Prints the options by which `.proto` files speak to the gateway.
pub(super) fn options() -> Result<(), Refusal> {
    output::print(sources::OPTIONS)
}
