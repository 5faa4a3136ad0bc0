//! `proto/` → prost structs with pbjson, the fastest codec of the field to compare with; and the descriptors for the others.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["../proto"])?;
    compiler.include_imports(true).open_files(["booking/booking.proto", "ticket/ticket.proto"])?;
    let descriptors = compiler.file_descriptor_set();
    let bytes = descriptors.encode_to_vec();
    std::fs::write(out.join("booking.binpb"), compiler.encode_file_descriptor_set())?;
    prost_build::Config::new()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new().register_descriptors(&bytes)?.build(&[".ticket", ".booking"])?;
    Ok(())
}
