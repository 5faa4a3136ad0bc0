//! `google/protobuf/descriptor.proto` as this crate reads it.
//!
//! Options are kept as the raw bytes that they came in, so that none is lost, and are decoded a second time with the
//! structs at the end, in which editions' features, `google.api.http` and `transom.*` are ordinary fields.

use prost::Message;

/// `FileDescriptorSet`, its files still encoded.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) files: Vec<Vec<u8>>,
}

/// `FileDescriptorProto` without its source positions.
#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) package: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) messages: Vec<MessageType>,
    #[prost(message, repeated, tag = "5")]
    pub(super) enums: Vec<EnumType>,
    #[prost(message, repeated, tag = "6")]
    pub(super) services: Vec<ServiceType>,
    #[prost(message, repeated, tag = "7")]
    pub(super) extensions: Vec<FieldType>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) options: Vec<Vec<u8>>,
    #[prost(string, tag = "12")]
    pub(super) syntax: String,
    #[prost(int32, tag = "14")]
    pub(super) edition: i32,
}

/// `DescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MessageType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) fields: Vec<FieldType>,
    #[prost(message, repeated, tag = "3")]
    pub(super) messages: Vec<MessageType>,
    #[prost(message, repeated, tag = "4")]
    pub(super) enums: Vec<EnumType>,
    #[prost(message, repeated, tag = "6")]
    pub(super) extensions: Vec<FieldType>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub(super) options: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "8")]
    pub(super) oneofs: Vec<OneofType>,
}

/// `FieldDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) extendee: String,
    #[prost(int32, tag = "3")]
    pub(super) number: i32,
    #[prost(int32, tag = "4")]
    pub(super) label: i32,
    #[prost(int32, tag = "5")]
    pub(super) kind: i32,
    #[prost(string, tag = "6")]
    pub(super) type_name: String,
    #[prost(string, optional, tag = "7")]
    pub(super) default_value: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) options: Vec<Vec<u8>>,
    #[prost(int32, optional, tag = "9")]
    pub(super) oneof_index: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) json_name: Option<String>,
    #[prost(bool, tag = "17")]
    pub(super) proto3_optional: bool,
}

/// `FieldDescriptorProto.Label`: `LABEL_REQUIRED`.
pub(super) const LABEL_REQUIRED: i32 = 2;
/// `FieldDescriptorProto.Label`: `LABEL_REPEATED`.
pub(super) const LABEL_REPEATED: i32 = 3;

/// `OneofDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneofType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) options: Vec<Vec<u8>>,
}

/// `EnumDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) values: Vec<EnumValue>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) options: Vec<Vec<u8>>,
}

/// `EnumValueDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumValue {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) number: i32,
}

/// `ServiceDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) methods: Vec<MethodType>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) options: Vec<Vec<u8>>,
}

/// `MethodDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) input: String,
    #[prost(string, tag = "3")]
    pub(super) output: String,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) options: Vec<Vec<u8>>,
    #[prost(bool, tag = "5")]
    pub(super) client_streaming: bool,
    #[prost(bool, tag = "6")]
    pub(super) server_streaming: bool,
}

/// `FileOptions`: what is read of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FileOptions {
    #[prost(message, optional, tag = "50")]
    pub(super) features: Option<FeatureSet>,
}

/// `MessageOptions`: what is read of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MessageOptions {
    #[prost(bool, tag = "1")]
    pub(super) message_set: bool,
    #[prost(bool, tag = "7")]
    pub(super) map_entry: bool,
    /// `deprecated_legacy_json_field_conflicts`: two fields may have one JSON name.
    #[prost(bool, tag = "11")]
    pub(super) legacy_json: bool,
    #[prost(message, optional, tag = "12")]
    pub(super) features: Option<FeatureSet>,
}

/// `FieldOptions`: what is read of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldOptions {
    #[prost(bool, optional, tag = "2")]
    pub(super) packed: Option<bool>,
    #[prost(message, optional, tag = "21")]
    pub(super) features: Option<FeatureSet>,
}

/// `OneofOptions`: what is read of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneofOptions {
    #[prost(message, optional, tag = "1")]
    pub(super) features: Option<FeatureSet>,
}

/// `EnumOptions`: what is read of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumOptions {
    #[prost(message, optional, tag = "7")]
    pub(super) features: Option<FeatureSet>,
}

/// `ServiceOptions`: what is read of it, the `transom.service` extension as an ordinary field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServiceOptions {
    #[prost(message, optional, tag = "87267")]
    pub(super) policy: Option<ServicePolicy>,
}

/// `MethodOptions`: what is read of it, the `google.api.http` and `transom.method` extensions as ordinary fields.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodOptions {
    #[prost(int32, tag = "34")]
    pub(super) idempotency: i32,
    #[prost(message, optional, tag = "87267")]
    pub(super) policy: Option<MethodPolicy>,
    #[prost(message, optional, tag = "72295728")]
    pub(super) http: Option<HttpRule>,
}

/// `FeatureSet`: the features that decide how bytes and JSON look.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct FeatureSet {
    #[prost(int32, optional, tag = "1")]
    pub(super) field_presence: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(super) enum_type: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub(super) repeated_field_encoding: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub(super) utf8_validation: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub(super) message_encoding: Option<i32>,
    #[prost(int32, optional, tag = "6")]
    pub(super) json_format: Option<i32>,
}

/// `google.api.HttpRule`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpRule {
    #[prost(string, tag = "7")]
    pub(super) body: String,
    #[prost(message, repeated, tag = "11")]
    pub(super) additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    pub(super) response_body: String,
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pub(super) pattern: Option<Pattern>,
}

/// `google.api.HttpRule.pattern`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(CustomPattern),
}

/// `google.api.CustomHttpPattern`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CustomPattern {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) path: String,
}

/// `transom.ServicePolicy`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServicePolicy {
    #[prost(string, tag = "1")]
    pub(super) upstream: String,
    #[prost(message, optional, tag = "2")]
    pub(super) methods: Option<MethodPolicy>,
}

/// `transom.MethodPolicy`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MethodPolicy {
    #[prost(message, optional, tag = "1")]
    pub(super) timeout: Option<Duration>,
    #[prost(int32, tag = "2")]
    pub(super) unknown_fields: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) output: Option<Output>,
    #[prost(message, optional, tag = "4")]
    pub(super) limits: Option<RequestLimits>,
    #[prost(message, optional, tag = "5")]
    pub(super) auth: Option<Auth>,
    #[prost(string, repeated, tag = "6")]
    pub(super) rate_limits: Vec<String>,
    #[prost(message, optional, tag = "7")]
    pub(super) retry: Option<Retry>,
    #[prost(bool, optional, tag = "8")]
    pub(super) compress: Option<bool>,
    #[prost(message, optional, tag = "9")]
    pub(super) headers: Option<Headers>,
    #[prost(int32, tag = "16")]
    pub(super) priority: i32,
    #[prost(message, optional, tag = "10")]
    pub(super) cache: Option<Cache>,
}

/// `transom.Cache`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Cache {
    #[prost(message, optional, tag = "1")]
    pub(super) ttl: Option<Duration>,
    #[prost(message, optional, tag = "2")]
    pub(super) stale_while_revalidate: Option<Duration>,
    #[prost(bool, tag = "3")]
    pub(super) public: bool,
    #[prost(message, optional, tag = "4")]
    pub(super) vary: Option<Vary>,
    #[prost(message, repeated, tag = "5")]
    pub(super) invalidated_by: Vec<Invalidation>,
    #[prost(bool, optional, tag = "6")]
    pub(super) shared: Option<bool>,
    #[prost(message, optional, tag = "7")]
    pub(super) stale_if_error: Option<Duration>,
}

/// `transom.Vary`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vary {
    #[prost(string, repeated, tag = "1")]
    pub(super) headers: Vec<String>,
}

/// `transom.Invalidation`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Invalidation {
    #[prost(string, tag = "1")]
    pub(super) rpc: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) fields: std::collections::BTreeMap<String, String>,
}

/// `transom.Auth`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Auth {
    #[prost(bool, tag = "1")]
    pub(super) public: bool,
    #[prost(string, repeated, tag = "2")]
    pub(super) scopes: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(super) roles: Vec<String>,
}

/// `transom.Retry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Retry {
    #[prost(uint32, optional, tag = "1")]
    pub(super) attempts: Option<u32>,
    #[prost(int32, repeated, tag = "2")]
    pub(super) on: Vec<i32>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) budget: Option<u32>,
    #[prost(message, optional, tag = "4")]
    pub(super) backoff: Option<Duration>,
    #[prost(message, optional, tag = "5")]
    pub(super) max_backoff: Option<Duration>,
    #[prost(message, optional, tag = "6")]
    pub(super) per_try_timeout: Option<Duration>,
    #[prost(message, optional, tag = "7")]
    pub(super) hedge: Option<Duration>,
}

/// `transom.Headers`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Headers {
    #[prost(string, repeated, tag = "1")]
    pub(super) request: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) response: Vec<String>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Duration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// `transom.Output`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Output {
    #[prost(bool, optional, tag = "1")]
    pub(super) emit_defaults: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) enums_as_numbers: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(super) proto_names: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) int64_as_numbers: Option<bool>,
}

/// `transom.Limits`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestLimits {
    #[prost(uint64, optional, tag = "1")]
    pub(super) body: Option<u64>,
}

/// Decodes options from the raw bytes of all their occurrences: concatenated they are merged.
pub(super) fn decode<T: Message + Default>(options: &[Vec<u8>]) -> Result<T, String> {
    T::decode(options.concat().as_slice()).map_err(|error| format!("its options cannot be read: {error}"))
}
