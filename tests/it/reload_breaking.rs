//! What a change of schema breaks for REST clients: each kind of break is told with its file and symbol, widening is not.

use std::sync::Arc;

use transom::config;
use transom::gateway::{Snapshot, breaking};
use transom::telemetry::Metrics;
use transom_transcode::schema::Schema;

use crate::support::gateway::{Builder, gateway};
use crate::support::protos;

const PROTO: &str = r#"syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
service Shop {
  rpc GetItem(GetItemRequest) returns (Item) { option (google.api.http) = { get: "/v1/{name=items/*}" }; }
  rpc AddItem(AddItemRequest) returns (Receipt) { option (google.api.http) = { post: "/v1/items" body: "item" response_body: "item" }; }
}
service Files {
  rpc Get(File) returns (File) { option (google.api.http) = { get: "/v1/files/{path=**}" }; }
  rpc Any(File) returns (File) { option (google.api.http) = { custom { kind: "*" path: "/v1/any/{path}" } }; }
  rpc One(File) returns (File) { option (google.api.http) = { get: "/v1/one/{path}" }; }
  rpc Self(File) returns (File) { option (google.api.http) = { get: "/v1/self/{path}" response_body: "size" }; }
  rpc Two(File) returns (File) { option (google.api.http) = { get: "/v1/two/{path}" }; }
}
message File { string path = 1; string other = 2; int64 size = 3; }
message GetItemRequest { string name = 1; }
message AddItemRequest { Item item = 1; string note = 2; }
message Receipt { Item item = 1; int32 number = 2; }
message Item {
  string name = 1;
  int32 price = 2;
  repeated int32 sizes = 3;
  Colour colour = 4;
  google.protobuf.Timestamp made = 5;
  Item part_of = 6;
  string first = 7;
  map<string, int32> stock = 8;
  oneof kind { string left = 20; int32 right = 21; }
  optional int32 rest = 23;
}
enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }
"#;

fn descriptors(proto: &str) -> Vec<u8> {
    protos::compile_text("shop.proto", proto)
}

fn snapshot(proto: &str) -> Snapshot {
    let text = "schema: { descriptor_sets: [x] }\nupstreams: { shop: { services: [shop.v1.Shop, shop.v1.Files], endpoints: ['h:1'] } }";
    let config = Arc::new(config::parse(text, &|_| None).unwrap());
    let mut schema = Schema::builder();
    schema.add(&descriptors(proto), "test").unwrap();
    Snapshot::compile(&config, schema.build().unwrap(), &Metrics::new(), None).unwrap_or_else(|why| panic!("{why:?}"))
}

fn change(edits: &[(&str, &str)]) -> Vec<String> {
    let mut proto = PROTO.to_owned();
    for (from, to) in edits {
        assert!(proto.contains(from), "{from}");
        proto = proto.replace(from, to);
    }
    breaking(&snapshot(PROTO), &snapshot(&proto)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_break_is_told_once_with_its_file_and_symbol() {
    for (edits, told) in [
        (&[("int32 price = 2;", "")][..], &["shop.proto: shop.v1.Item.price: was removed"][..]),
        (&[("price = 2", "price = 12")], &["shop.proto: shop.v1.Item.price: has the number 12 and had 2"]),
        (&[("int32 price", "int64 price")], &["shop.proto: shop.v1.Item.price: is int64 and was int32"]),
        (&[("int32 price", "Colour price")], &["shop.proto: shop.v1.Item.price: is shop.v1.Colour and was int32"]),
        (&[("int32 price", "string cost")], &["shop.proto: shop.v1.Item.price: is called `cost` now"]),
        (
            &[("price = 2", "price = 2 [json_name = \"cost\"]")],
            &["shop.proto: shop.v1.Item.price: is `cost` in JSON and was `price`"],
        ),
        (&[("repeated int32 sizes", "int32 sizes")], &["shop.proto: shop.v1.Item.sizes: is singular and was repeated"]),
        (
            &[("map<string, int32> stock", "map<string, bool> stock")],
            &["shop.proto: shop.v1.Item.StockEntry.value: is bool and was int32"],
        ),
        (
            &[("string first = 7;", "oneof one { string first = 7; string other = 17; }")],
            &["shop.proto: shop.v1.Item.first: is in the oneof `one`, where it excludes others, and was not"],
        ),
        // Who has been there all the while has not come; of those that come together, that is the first.
        (
            &[(
                "oneof kind { string left = 20; int32 right = 21; }\n  optional int32 rest = 23;",
                "oneof kind { string left = 20; int32 right = 21; int32 rest = 23; }",
            )],
            &["shop.proto: shop.v1.Item.rest: is in the oneof `kind`, where it excludes `left`, `right`, and was not"],
        ),
        (
            &[("string path = 1; string other = 2;", "oneof one { string path = 1; string other = 2; }")],
            &["shop.proto: shop.v1.File.other: is in the oneof `one`, where it excludes `path`, and was not"],
        ),
        // Of a field that is a reply by itself too, and that requests set by their path.
        (&[("int64 size = 3", "int64 size = 4")], &["shop.proto: shop.v1.File.size: has the number 4 and had 3"]),
        (
            &[("string path = 1; string other", "string path = 9; string other")],
            &["shop.proto: shop.v1.File.path: has the number 9 and had 1"],
        ),
        (
            &[("Receipt { Item item = 1", "Receipt { Item item = 9")],
            &["shop.proto: shop.v1.Receipt.item: has the number 9 and had 1"],
        ),
        (&[("RED = 1; ", "")], &["shop.proto: shop.v1.Colour.RED: was removed"]),
        (&[("RED = 1", "RED = 5")], &["shop.proto: shop.v1.Colour.RED: has the number 5 and had 1"]),
        (
            &[("enum Colour {", "enum Colour { option allow_alias = true;"), ("RED = 1", "SCARLET = 1; RED = 1")],
            &["shop.proto: shop.v1.Colour.RED: is printed as `SCARLET` now"],
        ),
        (&[("enum Colour {", "enum Colour { option allow_alias = true;"), ("RED = 1", "RED = 1; SCARLET = 1")], &[]),
        (
            &[("google.protobuf.Timestamp made", "Item made")],
            &[
                "google/protobuf/timestamp.proto: google.protobuf.Timestamp: its JSON is that of shop.v1.Item and was that of google.protobuf.Timestamp",
            ],
        ),
        (
            &[("/v1/{name=items/*}", "/v2/{name=items/*}")],
            &["shop.proto: shop.v1.Shop.GetItem: GET /v1/{name=items/*} is gone"],
        ),
        (
            &[("get: \"/v1/{name=items/*}", "delete: \"/v1/{name=items/*}")],
            &["shop.proto: shop.v1.Shop.GetItem: GET /v1/{name=items/*} is gone"],
        ),
        (
            &[("returns (Item)", "returns (stream Item)")],
            &["shop.proto: shop.v1.Shop.GetItem: GET /v1/{name=items/*} is a server stream and was unary"],
        ),
        (
            &[("body: \"item\" response", "body: \"*\" response")],
            &["shop.proto: shop.v1.Shop.AddItem: POST /v1/items takes the whole message as its body and took `item`"],
        ),
        (
            &[(" response_body: \"item\"", "")],
            &["shop.proto: shop.v1.Shop.AddItem: POST /v1/items answers the whole message and answered `item`"],
        ),
        // Paths of some lengths, and requests of some methods.
        (
            &[("/v1/files/{path=**}", "/v1/files/{path}/{other}")],
            &[
                "shop.proto: shop.v1.Files.Get: GET /v1/files/{path=**} is gone for some of its requests",
                "shop.proto: shop.v1.Files.Get: GET /v1/files/{path=**} sets `path`, `other` by its path and set `path`",
            ],
        ),
        (
            &[("custom { kind: \"*\" path: \"/v1/any/{path}\" }", "get: \"/v1/any/{path}\"")],
            &["shop.proto: shop.v1.Files.Any: * /v1/any/{path} is gone for some of its requests"],
        ),
        // The same URL, and something else behind it.
        (
            &[("/v1/one/", "/v1/three/"), ("/v1/two/", "/v1/one/"), ("/v1/three/", "/v1/two/")],
            &[
                "shop.proto: shop.v1.Files.One: GET /v1/one/{path} calls shop.v1.Files/Two and called shop.v1.Files/One",
                "shop.proto: shop.v1.Files.Two: GET /v1/two/{path} calls shop.v1.Files/One and called shop.v1.Files/Two",
            ],
        ),
        // A new literal or verb takes what was a variable's value, also of two templates of which neither is the narrower.
        (
            &[("/v1/two/{path}", "/v1/one/top")],
            &[
                "shop.proto: shop.v1.Files.One: GET /v1/one/{path} took GET /v1/one/top, which GET /v1/one/top of shop.v1.Files/Two takes now",
                "shop.proto: shop.v1.Files.Two: GET /v1/two/{path} is gone",
            ],
        ),
        (
            &[(
                "rpc Two",
                "rpc Watch(File) returns (File) { option (google.api.http) = { get: \"/v1/two/{path}:watch\" }; }\n  rpc Two",
            )],
            &[
                "shop.proto: shop.v1.Files.Two: GET /v1/two/{path} took GET /v1/two/~:watch, which GET /v1/two/{path}:watch of shop.v1.Files/Watch takes now",
            ],
        ),
        (
            &[(
                "rpc Two",
                "rpc Tagged(File) returns (File) { option (google.api.http) = { get: \"/v1/{path}/tags/{other}\" }; }\n  rpc Two",
            )],
            &[],
        ),
        (
            &[(
                "rpc Two",
                "rpc Tagged(File) returns (File) { option (google.api.http) = { get: \"/v1/files/tags/{other}\" }; }\n  rpc Two",
            )],
            &[
                "shop.proto: shop.v1.Files.Get: GET /v1/files/{path=**} took GET /v1/files/tags/~, which GET /v1/files/tags/{other} of shop.v1.Files/Tagged takes now",
            ],
        ),
        // Another binding of the same method counts where it sets something else.
        (
            &[("get: \"/v1/two/{path}\"", "get: \"/v1/two/{path}\" additional_bindings { get: \"/v1/two/top\" }")],
            &[
                "shop.proto: shop.v1.Files.Two: GET /v1/two/{path} took GET /v1/two/top, which GET /v1/two/top of shop.v1.Files/Two takes now",
            ],
        ),
        (
            &[("/v1/one/{path}", "/v1/one/{other}")],
            &["shop.proto: shop.v1.Files.One: GET /v1/one/{path} sets `other` by its path and set `path`"],
        ),
        (
            &[
                (
                    "get: \"/v1/one/{path}\" };",
                    "get: \"/v1/one/{path}\" }; option (transom.method).output = { proto_names: true, enums_as_numbers: true };",
                ),
                (
                    "import \"google/protobuf/timestamp.proto\";",
                    "import \"google/protobuf/timestamp.proto\"; import \"transom/options.proto\";",
                ),
            ],
            &[
                "shop.proto: shop.v1.Files.One: GET /v1/one/{path} prints with `enums_as_numbers: true` and did with `enums_as_numbers: false`",
                "shop.proto: shop.v1.Files.One: GET /v1/one/{path} prints with `proto_names: true` and did with `proto_names: false`",
            ],
        ),
        (
            &[("optional int32 rest", "int32 rest")],
            &["shop.proto: shop.v1.Item.rest: no longer tells its default from its absence"],
        ),
        (
            &[("int32 right = 21; }", "int32 right = 21; string first = 7; }"), ("string first = 7;\n", "\n")],
            &["shop.proto: shop.v1.Item.first: is in the oneof `kind`, where it excludes `left`, `right`, and was not"],
        ),
        (
            &[("string note = 2;", ""), ("int32 price = 2;", "")],
            &["shop.proto: shop.v1.AddItemRequest.note: was removed", "shop.proto: shop.v1.Item.price: was removed"],
        ),
    ] {
        let mut found = change(edits);
        found.sort();
        assert_eq!(found, told, "{edits:?}");
    }
}

#[test]
fn what_only_widens_breaks_nobody() {
    for edits in [
        &[][..],
        &[("string first = 7;", "string first = 7; string last = 17;")],
        &[("BLUE = 2;", "BLUE = 2; GREEN = 3;")],
        // The same path with less of it in the field, and a wider one.
        &[("{name=items/*}", "items/{name}")],
        &[("{name=items/*}", "{name=items/**}")],
        // A oneof is nobody's business but its members'.
        &[(
            "oneof kind { string left = 20; int32 right = 21; }",
            "oneof sort { string left = 20; int32 right = 21; bool up = 22; }",
        )],
        &[("int32 price = 2;", "optional int32 price = 2;")],
        // Nobody sees it: the reply is its field `item`.
        &[("int32 number = 2;", "")],
        // How repeated numbers lie on the wire is no client's business.
        &[("sizes = 3", "sizes = 3 [packed = false]")],
        &[("price = 2;", "price = 2; oneof new { string a = 18; string b = 19; }")],
        // Another method's requests, a path that nobody had, and what a binding of the same method understands alike.
        &[(
            "rpc Two",
            "rpc Put(File) returns (File) { option (google.api.http) = { put: \"/v1/one/top\" }; }\n  rpc Two",
        )],
        &[(
            "rpc Two",
            "rpc Up(File) returns (File) { option (google.api.http) = { get: \"/v1/one/top/up\" }; }\n  rpc Two",
        )],
        &[(
            "get: \"/v1/files/{path=**}\"",
            "get: \"/v1/files/{path=**}\" additional_bindings { get: \"/v1/files/{path=top/*}\" }",
        )],
    ] {
        assert_eq!(change(edits), Vec::<String>::new(), "{edits:?}");
    }
}

fn shop(proto: &str, breaking: &str) -> Builder {
    let schema = format!("schema: {{ descriptor_sets: [in-memory], breaking: {breaking} }}");
    let endpoints = ["127.0.0.1:1".to_owned()];
    gateway().descriptor_set(descriptors(proto)).config(&schema).upstream_at(
        "shop",
        "shop.v1.Shop, shop.v1.Files",
        &endpoints,
        "",
    )
}

#[tokio::test]
async fn a_break_is_refused_or_told_as_configuration_wishes() {
    let gateway = shop(PROTO, "refuse").start().await;
    let broken = PROTO.replace("int32 price = 2;", "");
    let refused = gateway.reload(&shop(&broken, "refuse")).await.unwrap_err();
    let line = "shop.proto: shop.v1.Item.price: was removed";
    assert_eq!(refused.breaking[0].to_string(), line);
    let problem = refused.problems[0].to_string();
    assert!(problem.starts_with(line) && problem.contains("`schema.breaking: refuse`"), "{problem}");
    assert_eq!(gateway.state.reloads.loaded().version, 1);
    // What is added goes through.
    let wider = PROTO.replace("string first = 7;", "string first = 7; string last = 17;");
    assert!(gateway.reload(&shop(&wider, "refuse")).await.unwrap().breaking.is_empty());
    let taking = wider.replace("/v1/two/{path}", "/v1/one/top");
    let refused = gateway.reload(&shop(&taking, "refuse")).await.unwrap_err();
    assert!(refused.problems.iter().any(|why| why.to_string().contains("took GET /v1/one/top, which")), "{refused:?}");
    let applied = gateway.reload(&shop(&broken, "warn")).await.unwrap();
    assert_eq!(applied.version, 3);
    assert_eq!(applied.breaking.len(), 2, "`last` is gone, too: {:?}", applied.breaking);
}
