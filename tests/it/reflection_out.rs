//! What the gateway says of itself by server reflection, asked by a real client.

use prost::Message;
use prost_types::FileDescriptorProto;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use transom_transcode::schema::DescriptorFile;

use crate::support::gateway::{Running, gateway};
use crate::support::protos::compile_text;
use crate::support::reply::ok;
use crate::support::{soon, upstream};

const PUBLIC: &str = "public_endpoints: [health, reflection]";

/// An open conversation.
struct Conversation {
    ask: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

async fn channel(gateway: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.address())).unwrap().connect().await.unwrap()
}

impl Conversation {
    async fn with(gateway: &Running) -> Self {
        let (ask, asked) = mpsc::channel(1);
        let mut client = ServerReflectionClient::new(channel(gateway).await);
        let answers = soon("a head", client.server_reflection_info(ReceiverStream::new(asked))).await.unwrap();
        Self { ask, answers: answers.into_inner() }
    }

    async fn ask(&mut self, question: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        self.ask.send(request).await.unwrap();
        soon("an answer", self.answers.message()).await.unwrap().unwrap().message_response.unwrap()
    }

    async fn services(&mut self) -> Vec<String> {
        match self.ask(MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|one| one.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The file of an answer; an error's code otherwise.
    async fn file(&mut self, question: MessageRequest) -> Result<Vec<u8>, i32> {
        match self.ask(question).await {
            MessageResponse::FileDescriptorResponse(files) => {
                Ok(files.file_descriptor_proto.into_iter().next().unwrap())
            }
            MessageResponse::ErrorResponse(error) => Err(error.error_code),
            other => panic!("{other:?}"),
        }
    }

    async fn symbol(&mut self, name: &str) -> Result<String, i32> {
        let file = self.file(MessageRequest::FileContainingSymbol(name.to_owned())).await?;
        Ok(FileDescriptorProto::decode(&*file).unwrap().name().to_owned())
    }
}

const BUILT_IN: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

#[tokio::test]
async fn exposed_services_and_all_that_they_need() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).config(PUBLIC).start().await;
    let mut talk = Conversation::with(&gateway).await;

    assert_eq!(talk.services().await, [&BUILT_IN[..], &["library.v1.Library"]].concat());
    for symbol in ["library.v1.Library", "library.v1.Library.GetBook", "library.v1.Book", "library.v1.Book.name"] {
        assert_eq!(talk.symbol(symbol).await.as_deref(), Ok("library.proto"), "{symbol}");
    }
    // What nobody reaches is not there, and an error does not end the conversation.
    for symbol in ["library.v1.Internals", "library.v1.Library.Nothing", "nothing.like.It", "library.v1", ""] {
        assert_eq!(talk.symbol(symbol).await, Err(5), "{symbol}");
    }
    assert_eq!(talk.symbol("grpc.health.v1.Health.Check").await.as_deref(), Ok("grpc/health/v1/health.proto"));

    // Every import can be had, with the options that stand in it.
    let mut waiting = vec!["library.proto".to_owned()];
    let mut seen = Vec::new();
    while let Some(name) = waiting.pop() {
        let file = talk.file(MessageRequest::FileByFilename(name.clone())).await.unwrap_or_else(|_| panic!("{name}"));
        waiting.extend(FileDescriptorProto::decode(&*file).unwrap().dependency);
        if name == "library.proto" {
            assert!(file.windows(4).any(|bytes| bytes == b"/v1/"), "its google.api.http rules");
        }
        seen.push(name);
    }
    assert!(seen.iter().any(|name| name == "google/protobuf/descriptor.proto"), "{seen:?}");
    let http =
        ExtensionRequest { containing_type: "google.protobuf.MethodOptions".to_owned(), extension_number: 72_295_728 };
    let file = talk.file(MessageRequest::FileContainingExtension(http)).await.unwrap();
    assert_eq!(FileDescriptorProto::decode(&*file).unwrap().name(), "google/api/annotations.proto");
}

#[tokio::test]
async fn a_files_name_is_its_users() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["health.proto", "reflection_v1.proto", "reflection_v1alpha1.proto", "grpc/health/v1/health.proto"];
    std::fs::create_dir_all(folder.path().join("grpc/health/v1")).unwrap();
    for (at, name) in names.iter().enumerate() {
        std::fs::write(folder.path().join(name), format!("syntax = \"proto3\"; package my; message M{at} {{}}"))
            .unwrap();
    }
    let imports: String = names.iter().map(|name| format!("import \"{name}\"; ")).collect();
    let service = format!(
        "syntax = \"proto3\"; package my; {imports} message All {{ M0 a = 1; M1 b = 2; M2 c = 3; M3 d = 4; }} \
         service S {{ rpc Get(All) returns (All); }}"
    );
    std::fs::write(folder.path().join("s.proto"), service).unwrap();
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    compiler.include_imports(true).open_files(["s.proto"]).unwrap();
    let set = compiler.encode_file_descriptor_set();
    let gateway = gateway().descriptor_set(set).expose_all().config(PUBLIC);
    let gateway = gateway.upstream_at("my", "my.S", &["127.0.0.1:9".to_owned()], "").start().await;
    let mut talk = Conversation::with(&gateway).await;
    for (at, name) in names.iter().enumerate() {
        let file = talk.file(MessageRequest::FileByFilename((*name).to_owned())).await.unwrap();
        let file = FileDescriptorProto::decode(&*file).unwrap();
        assert_eq!((file.name(), file.message_type[0].name()), (*name, format!("M{at}").as_str()));
    }
    let v1alpha = talk.symbol("grpc.reflection.v1alpha.ServerReflection").await;
    assert_eq!(v1alpha.as_deref(), Ok("grpc/reflection/v1alpha/reflection.proto"));
}

#[tokio::test]
async fn extensions_and_types_that_no_service_imports_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        (
            "b.proto",
            "syntax = \"proto2\"; package b; import \"google/api/annotations.proto\";
             message M { optional string id = 1; extensions 100 to 200; }
             service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/b/{id}\" }; } }",
        ),
        // Extensions beside a service that nobody reaches.
        (
            "ext.proto",
            "syntax = \"proto2\"; package b; import \"b.proto\"; extend M { optional int32 cost = 100; }
             message Detail { optional string why = 1; extensions 5; }
             message Scope { message In { extend M { optional int32 scoped = 101; } } } service Hidden { rpc Do(M) returns (M); }",
        ),
        // An extension of what is only there since.
        (
            "more.proto",
            "syntax = \"proto2\"; package b; import \"ext.proto\"; extend Detail { optional bool more = 5; }
             service Hidden2 { rpc Do(M2) returns (M2); } message M2 {}",
        ),
        ("loose.proto", "syntax = \"proto3\"; package c; message Loose {}"),
        (
            "secret.proto",
            "syntax = \"proto3\"; package d; message Secret {} service Own { rpc Do(Secret) returns (Secret); }",
        ),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([folder.path(), &proto]).unwrap();
    compiler.include_imports(true).open_files(files.map(|(name, _)| name)).unwrap();
    let upstream = upstream::grpc("b.S").start().await;
    let gateway = gateway().descriptor_set(compiler.encode_file_descriptor_set());
    let gateway = gateway.upstream("b", &upstream).config(PUBLIC).start().await;
    let mut talk = Conversation::with(&gateway).await;

    assert_eq!(talk.services().await, [&["b.S"], &BUILT_IN[..]].concat());
    for (symbol, file) in [
        ("b.cost", Ok("ext.proto")),
        ("b.Detail", Ok("ext.proto")),
        ("b.Scope.In.scoped", Ok("ext.proto")),
        ("b.Scope.In.nothing", Err(5)),
        ("b.more", Ok("more.proto")),
        ("c.Loose", Ok("loose.proto")),
        ("b.Hidden", Err(5)),
        ("b.Hidden2", Err(5)),
        ("d.Own", Err(5)),
        ("d.Secret", Err(5)),
    ] {
        assert_eq!(talk.symbol(symbol).await.as_deref().map_err(|code| *code), file, "{symbol}");
    }
    let cost = ExtensionRequest { containing_type: "b.M".to_owned(), extension_number: 100 };
    let file = talk.file(MessageRequest::FileContainingExtension(cost)).await.unwrap();
    assert_eq!(FileDescriptorProto::decode(&*file).unwrap().name(), "ext.proto");
    match talk.ask(MessageRequest::AllExtensionNumbersOfType("b.M".to_owned())).await {
        MessageResponse::AllExtensionNumbersResponse(numbers) => assert_eq!(numbers.extension_number, [100, 101]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn v1alpha_answers_the_same() {
    let gateway = gateway().config(PUBLIC).start().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&gateway).await);
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: "here".to_owned(), message_request: Some(list) };
    let asked = tokio_stream::iter([request.clone()]);
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
    assert_eq!((answer.valid_host.as_str(), answer.original_request), ("here", Some(request)));
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("no list")
    };
    assert_eq!(list.service.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), BUILT_IN);
    assert!(soon("the end", answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn it_is_not_there_unless_it_is_public() {
    let gateway = gateway().start().await;
    let mut client = ServerReflectionClient::new(channel(&gateway).await);
    let refused = client.server_reflection_info(tokio_stream::iter([ServerReflectionRequest::default()])).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn the_built_in_service_wins_over_an_upstreams_own() {
    let set = tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET.to_vec();
    let name = "grpc.reflection.v1.ServerReflection";
    let upstream = upstream::grpc(name).start().await;
    let config = format!("{PUBLIC}\nschema: {{ descriptor_sets: [in-memory], expose: all }}");
    let gateway = gateway().descriptor_set(set).upstream("other", &upstream).config(&config).start().await;
    assert_eq!(Conversation::with(&gateway).await.services().await, BUILT_IN);
    upstream.saw("ServerReflectionInfo").times(0);
}

#[tokio::test]
async fn editions_are_served_byte_for_byte() {
    let text = "syntax = \"proto3\"; package e; import \"google/api/annotations.proto\"; message M { string id = 1; }
        service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/e/{id}\" }; } }";
    let files = DescriptorFile::all(&compile_text("e.proto", text));
    let file = files.iter().find(|file| file.name() == "e.proto").unwrap();
    // `syntax = "editions"`, `edition = EDITION_2023` over what the compiler wrote: the last one counts.
    let edition = [file.bytes(), b"\x62\x08editions", b"\x70\xe8\x07"].concat();
    let set = prost_types::FileDescriptorSet::default().encode_to_vec();
    let others = files.iter().filter(|file| file.name() != "e.proto").map(DescriptorFile::bytes);
    let set = others.chain([&*edition]).fold(set, |mut set, file| {
        prost::encoding::bytes::encode(1, &file.to_vec(), &mut set);
        set
    });
    let upstream = upstream::grpc("e.S").start().await;
    let gateway = gateway().descriptor_set(set).upstream("e", &upstream).config(PUBLIC).start().await;
    let mut talk = Conversation::with(&gateway).await;
    assert_eq!(talk.file(MessageRequest::FileContainingSymbol("e.S.Get".to_owned())).await, Ok(edition));
}
