//! The test protos, compiled once per process from `tests/it/protos` and `proto`.

use std::path::Path;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;

static LIBRARY: LazyLock<(Vec<u8>, DescriptorPool)> = LazyLock::new(|| compile(&["library.proto"]));

static RULES: LazyLock<(Vec<u8>, DescriptorPool)> = LazyLock::new(|| compile(&["rules.proto"]));

/// The `FileDescriptorSet` of a test proto, by its name without extension.
pub(crate) fn descriptors(name: &str) -> Vec<u8> {
    match name {
        "library" => LIBRARY.0.clone(),
        "rules" => RULES.0.clone(),
        other => compile(&[&format!("{other}.proto")]).0,
    }
}

/// A method of the test protos, by `pkg.Service/Method`.
pub(crate) fn method(path: &str) -> MethodDescriptor {
    let (service, method) = path.trim_start_matches('/').split_once('/').expect("pkg.Service/Method");
    let pool = if service.starts_with("rules.") { &RULES.1 } else { &LIBRARY.1 };
    let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("no service {service}"));
    service.methods().find(|found| found.name() == method).unwrap_or_else(|| panic!("no method {path}"))
}

/// Compiles files of `tests/it/protos`, options and comments kept.
pub(crate) fn compile(files: &[&str]) -> (Vec<u8>, DescriptorPool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("tests/it/protos"), root.join("proto")]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(files).unwrap();
    (compiler.encode_file_descriptor_set(), compiler.descriptor_pool())
}

/// ProtoJSON → wire.
pub(crate) fn encode(message: &MessageDescriptor, json: &Value) -> Vec<u8> {
    let message = DynamicMessage::deserialize(message.clone(), json);
    prost::Message::encode_to_vec(&message.expect("the test's JSON fits its message"))
}

/// Wire → ProtoJSON, with names as in the .proto.
pub(crate) fn decode(message: &MessageDescriptor, wire: &[u8]) -> Value {
    let message = DynamicMessage::decode(message.clone(), wire);
    let message = message.unwrap_or_else(|error| panic!("{error}: {wire:?}"));
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Compiles one file, given as text.
pub(crate) fn compile_text(name: &str, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([folder.path(), &proto]).unwrap();
    compiler.include_imports(true).open_files([name]).unwrap();
    compiler.encode_file_descriptor_set()
}
