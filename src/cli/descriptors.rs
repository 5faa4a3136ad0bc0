//! `transom descriptors`: a folder of `.proto` files as one `FileDescriptorSet`.

use std::fs;
use std::path::Path;

use crate::sources;

use super::Refusal;

/// Compiles the folder; the same files give the same bytes.
pub(super) fn descriptors(protos: &Path, output: &Path) -> Result<(), Refusal> {
    let set = sources::compile_folder(protos).map_err(|problems| Refusal::of(&problems))?;
    fs::write(output, set).map_err(|error| Refusal::new(format!("{}: cannot be written: {error}", output.display())))
}
