//! Every file of the fuzz corpora, replayed; and the fuzz targets' descriptor set held equal to its `.proto` files.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a check fails by panicking")]

#[path = "../../../fuzz/checks.rs"]
mod checks;

use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut files = 0;
    for entry in std::fs::read_dir(fuzz().join("corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let held = std::panic::catch_unwind(|| check(&data));
        assert!(held.is_ok(), "{}", path.display());
        files += 1;
    }
    assert!(files > 0, "the corpus of {target} is empty");
}

#[test]
fn the_template_corpus_holds() {
    replay("template", checks::template);
}

#[test]
fn the_json_to_wire_corpus_holds() {
    replay("json_to_wire", checks::json_to_wire);
}

#[test]
fn the_wire_to_json_corpus_holds() {
    replay("wire_to_json", checks::wire_to_json);
}

#[test]
fn the_sound_corpus_holds() {
    replay("sound", checks::sound);
}

#[test]
fn the_descriptor_set_corpus_holds() {
    replay("descriptor_set", checks::descriptor_set);
}

#[test]
fn the_frame_corpus_holds() {
    replay("frame", checks::frame);
}

#[test]
fn the_connect_corpus_holds() {
    replay("connect", checks::connect);
}

#[test]
fn the_grpc_web_corpus_holds() {
    replay("grpc_web", checks::grpc_web);
}

/// With `TRANSOM_WRITE=1` the file is written anew instead of compared.
#[test]
fn the_descriptor_set_is_that_of_the_protos() {
    let mut compiler = protox::Compiler::new([fuzz().join("proto")]).unwrap();
    compiler.open_files(["open.proto", "closed.proto"]).unwrap();
    let compiled = compiler.encode_file_descriptor_set();
    let path = fuzz().join("fuzz.binpb");
    if std::env::var_os("TRANSOM_WRITE").is_some() {
        std::fs::write(&path, &compiled).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == compiled, "write it anew with TRANSOM_WRITE=1");
}
