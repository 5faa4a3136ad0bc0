//! The built-in descriptor set holds what protobuf's own `.proto` files say.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::file::GoogleFileResolver;

const FILES: [&str; 11] = [
    "google/protobuf/any.proto",
    "google/protobuf/api.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/source_context.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/type.proto",
    "google/protobuf/wrappers.proto",
];

/// With `TRANSOM_WRITE=1` the file is written anew instead of compared.
#[test]
fn the_built_in_set_equals_the_compilers_bundle() {
    let mut compiler = protox::Compiler::with_file_resolver(GoogleFileResolver::new());
    let compiler = compiler.include_source_info(false).include_imports(true).open_files(FILES).unwrap();
    let bundle = compiler.encode_file_descriptor_set();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/google_protobuf.binpb");
    if std::env::var_os("TRANSOM_WRITE").is_some() {
        std::fs::write(path, &bundle).unwrap();
    }
    let built_in = std::fs::read(path).unwrap();
    assert_eq!(FileDescriptorSet::decode(built_in.as_slice()), FileDescriptorSet::decode(bundle.as_slice()));
    assert_eq!(FILES.len(), FileDescriptorSet::decode(built_in.as_slice()).unwrap().file.len());
}
