//! Sources on disk, good and broken.

use std::fs;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use transom_transcode::schema::Symbol;

use super::folder::BUILT_IN;
use super::*;

const BOOKS: &str = r#"
    syntax = "proto3";
    package library;
    import "google/api/annotations.proto";
    import "google/rpc/status.proto";
    import "parts/book.proto";
    // Lends books.
    service Library {
      rpc GetBook(Book) returns (google.rpc.Status) { option (google.api.http) = { get: "/v1/{name=books/*}" }; }
    }
"#;
const BOOK: &str = "syntax = \"proto3\"; package library; message Book { string name = 1; }";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn protos(paths: &[&str]) -> Config {
    from(&format!("protos: [{}]", paths.join(", ")))
}

fn from(sources: &str) -> Config {
    let text = format!("schema: {{ {sources} }}\nupstreams: {{}}\n");
    config::parse(&text, &|_| None).unwrap()
}

fn read_all(config: &Config, folder: &tempfile::TempDir) -> Result<Schema, Vec<Problem>> {
    load(config, folder.path(), &Reflections::default()).map_err(Vec::from)
}

fn problems(folder: &tempfile::TempDir, config: &Config) -> Vec<String> {
    let problems = read_all(config, folder).unwrap_err();
    let prefix = format!("{}/", folder.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

#[test]
fn a_folder_needs_no_copy_of_googles_files() {
    let folder = folder(&[("protos/books.proto", BOOKS), ("protos/parts/book.proto", BOOK)]);
    let schema = read_all(&protos(&["protos"]), &folder).unwrap();
    let Some(Symbol::Service(at)) = schema.symbol("library.Library") else { panic!() };
    let method = &schema.services[at as usize].methods[0];
    assert_eq!(&*method.http[0].template, "/v1/{name=books/*}");
    assert_eq!(&*schema.message(method.output).name, "google.rpc.Status");
}

#[test]
fn what_google_has_for_everybody_is_built_in() {
    let mut text = "syntax = \"proto3\"; package all;\n".to_owned();
    for (name, _) in BUILT_IN {
        text.push_str(&format!("import \"{name}\";\n"));
    }
    text.push_str("message Price { google.type.Money money = 1 [(google.api.field_behavior) = REQUIRED]; }");
    let folder = folder(&[("protos/price.proto", &text)]);
    let schema = read_all(&protos(&["protos"]), &folder).unwrap();
    assert!(matches!(schema.symbol("google.type.Money"), Some(Symbol::Message(_))));
}

#[test]
fn a_folder_and_its_descriptor_set_are_the_same_schema() {
    let folder = folder(&[("protos/books.proto", BOOKS), ("protos/parts/book.proto", BOOK)]);
    let bytes = compile_folder(&folder.path().join("protos")).unwrap();
    assert_eq!(bytes, compile_folder(&folder.path().join("protos")).unwrap());
    assert!(bytes.windows(12).any(|window| window == b"Lends books."), "comments are documentation");
    let googles = b"Defines the HTTP configuration";
    assert!(!bytes.windows(googles.len()).any(|window| window == googles), "google's are not ours");
    fs::write(folder.path().join("books.binpb"), bytes).unwrap();
    let both = from("protos: [protos], descriptor_sets: [books.binpb]");
    assert_eq!(read_all(&both, &folder).unwrap().services.len(), 1);
}

#[test]
fn every_broken_file_is_named_with_line_and_column() {
    let folder = folder(&[
        ("protos/a.proto", "syntax = \"proto3\";\nmessage A { Missing m = 1;\n  Absent n = 2; }"),
        ("protos/b.proto", "syntax = \"proto3\";\nimport \"a.proto\";\nmessage B { string = 1; }"),
        ("protos/c.proto", "syntax = \"proto3\";\nimport \"nowhere.proto\";"),
        ("protos/d.proto", "// new\nedition = \"2023\";"),
        ("protos/e.proto", "syntax = \"proto3\"; import \"../../secret.proto\";"),
        ("secret.proto", BOOK),
        ("empty/readme.txt", ""),
        ("set.binpb", "not one"),
    ]);
    let sources =
        from("protos: [protos, empty, absent, secret.proto], descriptor_sets: [set.binpb, absent.binpb, empty]");
    let found = problems(&folder, &sources);
    for expected in [
        "1: schema.descriptor_sets[0]: set.binpb: not a FileDescriptorSet",
        "1: schema.descriptor_sets[1]: absent.binpb: cannot be read: there is no such file; write",
        "protos/a.proto:2:13: name 'Missing' is not defined",
        "protos/a.proto:3:3: name 'Absent' is not defined",
        "protos/b.proto:3:20: expected",
        "protos/c.proto:2:1: import 'nowhere.proto' not found; looked for in ",
        "protos/d.proto:2:1: editions are not read from .proto files",
        "protos/e.proto:1:27: invalid",
        "1: schema.protos[1]: empty: holds no .proto file",
        "1: schema.protos[2]: absent: cannot be read: there is no such folder; write",
        "1: schema.protos[3]: secret.proto: is a file; write the folder that it is in",
        "1: schema.descriptor_sets[2]: empty: is a folder, and no file; write",
    ] {
        assert_eq!(found.iter().filter(|line| line.starts_with(expected)).count(), 1, "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn a_problem_says_what_to_change_and_hides_no_other() {
    let option = "syntax = \"proto3\"; package o; import \"transom/options.proto\"; message M {}\n\
                  service S { rpc Get(M) returns (M) {\n  option (transom.method) = { timeuot: { seconds: 1 } };\n} }";
    let rule = "syntax = \"proto3\"; package r; message M {}\n\
                service S { rpc Get(M) returns (M) {\n  option (google.api.http) = { get: \"/x\" };\n} }";
    let folder = folder(&[
        ("protos/cut.proto", "syntax = \"proto3\";\nmessage A { string x = 1;\n\n"),
        ("protos/edition.proto", "/* A licence.\n * edition */ // more\n\nedition = \"2023\";"),
        ("protos/imports.proto", "syntax = \"proto3\"; import \"latin.proto\"; message B { Name name = 1; }"),
        ("protos/imports_that.proto", "syntax = \"proto3\"; import \"imports.proto\"; message C { B b = 1; }"),
        ("protos/option.proto", option),
        ("protos/mask.proto", "syntax = \"proto3\";\nmessage F { google.protobuf.FieldMask m = 1; }"),
        ("protos/rule.proto", rule),
        ("protos/other.proto", "syntax = \"proto3\";\nmessage D { Missing m = 1; }"),
    ]);
    fs::write(folder.path().join("protos/latin.proto"), b"// \xe9\nsyntax = \"proto3\"; message Name {}").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("protos/link.proto")).unwrap();
    let found = problems(&folder, &protos(&["protos"]));
    for expected in [
        "protos/cut.proto:2:26: expected a message field",
        "protos/edition.proto:4:1: editions are not read from .proto files",
        "protos/latin.proto: its text or name is not UTF-8",
        "protos/link.proto: cannot be read: there is no such file where this link leads",
        "protos/option.proto:3:3: invalid value of type 'transom.MethodPolicy' for option '(transom.method)': field 'timeuot'",
        "protos/other.proto:2:13: name 'Missing' is not defined",
        "protos/mask.proto:2:13: name 'google.protobuf.FieldMask' is not defined; write `import \"google/protobuf/field_mask.proto\";`",
        "protos/rule.proto:3:3: 'google.api.http' resolves to 'google.api.http', which is not defined; write `import \"google/api/annotations.proto\";`",
    ] {
        assert_eq!(found.iter().filter(|line| line.starts_with(expected)).count(), 1, "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn folders_import_from_one_another_and_from_sets() {
    let books = BOOKS.replace("    import \"parts/book", "    import \"shelf.proto\"; import \"parts/book");
    let shelf = "syntax = \"proto3\"; package library; import \"parts/book.proto\"; message Shelf { Book book = 1; }";
    let folder = folder(&[
        ("own/books.proto", &books),
        ("alone/books.proto", BOOKS),
        ("parts/parts/book.proto", BOOK),
        ("set/shelf.proto", shelf),
        ("set/parts/book.proto", BOOK),
    ]);
    for order in [["alone", "parts"], ["parts", "alone"]] {
        let schema = read_all(&protos(&order), &folder).unwrap();
        assert!(matches!(schema.symbol("library.Library"), Some(Symbol::Service(_))), "{order:?}");
    }
    let bytes = compile_folder(&folder.path().join("set")).unwrap();
    fs::write(folder.path().join("shelf.binpb"), bytes).unwrap();
    for order in ["own, parts", "parts, own"] {
        let schema = read_all(&from(&format!("protos: [{order}], descriptor_sets: [shelf.binpb]")), &folder).unwrap();
        assert!(matches!(schema.symbol("library.Library"), Some(Symbol::Service(_))), "{order}");
    }
    assert!(problems(&folder, &protos(&["own", "parts"]))[0].starts_with("own/books.proto:6:"), "the set's is missing");
    // A file's problem is its own, in its own folder and once, whoever imports it.
    fs::write(folder.path().join("parts/parts/book.proto"), BOOK.replace("string", "Missing")).unwrap();
    let found = problems(&folder, &from("protos: [own, parts], descriptor_sets: [shelf.binpb]"));
    assert!(found.len() == 1 && found[0].starts_with("parts/parts/book.proto:1:"), "{found:?}");
    // The file's own folder comes first.
    fs::create_dir(folder.path().join("own/parts")).unwrap();
    fs::write(folder.path().join("own/parts/book.proto"), BOOK).unwrap();
    read_all(&from("protos: [own], descriptor_sets: [shelf.binpb]"), &folder).unwrap();
}

#[test]
fn what_a_set_misses_of_a_broken_file_is_no_problem_of_its_own() {
    let folder = folder(&[("protos/books.proto", BOOKS), ("protos/parts/book.proto", BOOK)]);
    let mut set = FileDescriptorSet::decode(&*compile_folder(&folder.path().join("protos")).unwrap()).unwrap();
    set.file.retain(|file| file.name() != "parts/book.proto");
    fs::write(folder.path().join("books.binpb"), set.encode_to_vec()).unwrap();
    fs::remove_file(folder.path().join("protos/books.proto")).unwrap();
    let both = from("protos: [protos], descriptor_sets: [books.binpb]");
    read_all(&both, &folder).unwrap();
    fs::write(folder.path().join("protos/parts/book.proto"), BOOK.replace("string", "Missing")).unwrap();
    let found = problems(&folder, &both);
    assert!(found.len() == 1 && found[0].starts_with("protos/parts/book.proto:1:"), "{found:?}");
}

#[test]
fn the_standard_details_of_errors_are_known_without_an_import() {
    let own = "syntax = \"proto3\"; package google.rpc; message ErrorInfo { string why = 1; }";
    let folder = folder(&[("protos/book.proto", BOOK), ("own/copied/error_info.proto", own)]);
    for (sources, fields) in [(["protos"], 3), (["own"], 1)] {
        let schema = read_all(&protos(&sources), &folder).unwrap();
        let Some(Symbol::Message(info)) = schema.symbol("google.rpc.ErrorInfo") else { panic!() };
        assert_eq!(schema.message(info).fields.len(), fields);
    }
    let schema = read_all(&protos(&["protos"]), &folder).unwrap();
    for name in ["BadRequest", "RetryInfo", "QuotaFailure", "PreconditionFailure", "Help", "LocalizedMessage"] {
        assert!(matches!(schema.symbol(&format!("google.rpc.{name}")), Some(Symbol::Message(_))), "{name}");
    }
}

#[test]
fn two_sources_that_differ_are_both_named() {
    let other = BOOK.replace("= 1", "= 2");
    let folder = folder(&[("one/book.proto", BOOK), ("two/book.proto", &other)]);
    let found = problems(&folder, &protos(&["one", "two"]));
    assert!(found.len() == 1 && found[0].contains("one and two both declare this"), "{found:?}");
}

/// What each field is called in JSON, in order of their slots.
fn json_names(schema: &Schema, message: &str) -> Vec<String> {
    let Some(Symbol::Message(id)) = schema.symbol(message) else { panic!("{message}") };
    schema.message(id).fields.iter().map(|field| format!("{}={}", field.name, field.json_name)).collect()
}

#[test]
fn names_that_protoc_lets_stand_in_one_message_load() {
    let legacy = "option deprecated_legacy_json_field_conflicts = true;";
    for (syntax, body, names) in [
        ("proto3", "string userid = 1; string user_id = 2;", ["userid=userid", "user_id=userId"]),
        ("proto3", "string url = 1; string URL = 2;", ["url=url", "URL=URL"]),
        ("proto3", "string a = 1; string _a = 2;", ["a=a", "_a=A"]),
        ("proto3", "message N {} N ab = 1; map<string, N> a_b = 2;", ["ab=ab", "a_b=aB"]),
        ("proto2", "optional string foo_bar = 1; optional string fooBar = 2;", ["foo_bar=foo_bar", "fooBar=fooBar"]),
        ("proto2", "optional string x = 1 [json_name = \"b\"]; optional string b = 2;", ["x=x", "b=b"]),
        ("proto3", &format!("{legacy} string foo_bar = 1; string fooBar = 2;"), ["foo_bar=foo_bar", "fooBar=fooBar"]),
        (
            "proto2",
            &format!("{legacy} optional int32 x = 1 [json_name = \"q\"]; optional int32 y = 2 [json_name = \"q\"];"),
            ["x=q", "y=y"],
        ),
        ("proto3", "oneof _b { string a = 1; } optional string b = 2;", ["a=a", "b=b"]),
        ("proto3", "optional string X_b = 1; optional string _b = 2;", ["X_b=XB", "_b=B"]),
    ] {
        let text = format!("syntax = \"{syntax}\"; package p; message Out {{ message M {{ {body} }} }}");
        let folder = folder(&[("protos/m.proto", &text)]);
        let schema = read_all(&protos(&["protos"]), &folder).unwrap_or_else(|problems| panic!("{body}: {problems:?}"));
        assert_eq!(json_names(&schema, "p.Out.M"), names, "{body}");
        let set = compile_folder(&folder.path().join("protos")).unwrap();
        fs::write(folder.path().join("m.binpb"), set).unwrap();
        read_all(&from("protos: [protos], descriptor_sets: [m.binpb]"), &folder).unwrap();
    }
}

#[test]
fn names_that_protoc_refuses_are_refused() {
    for (syntax, body) in [
        ("proto3", "string foo_bar = 1; string fooBar = 2;"),
        ("proto3", "string a = 1; string a = 2;"),
        ("proto3", "option deprecated_legacy_json_field_conflicts = true; string a = 1; string a = 2;"),
        ("proto2", "optional int32 x = 1 [json_name = \"q\"]; optional int32 y = 2 [json_name = \"q\"];"),
        ("proto3", "oneof a { string b = 1; } string a = 2;"),
    ] {
        let text = format!("syntax = \"{syntax}\"; package p; message M {{ {body} }}");
        let folder = folder(&[("protos/m.proto", &text)]);
        let found = problems(&folder, &protos(&["protos"]));
        assert!(
            !found.is_empty() && found.iter().all(|line| line.starts_with("protos/m.proto:1:")),
            "{body}: {found:?}"
        );
    }
}

/// As protoc takes it with `-I proto -I proto/third_party`; what is below `third_party` names itself without that.
#[test]
fn what_a_repository_keeps_below_its_own_folder_is_found() {
    let a = "syntax = \"proto3\"; package acme.v1; import \"google/api/annotations.proto\"; import \"acme/v1/b.proto\";\n\
             import \"openapi/options/annotations.proto\"; message A { option (openapi.note) = { text: \"a\" }; B b = 1; }\n\
             service S { rpc Get(A) returns (A) { option (google.api.http) = { get: \"/v1/a\" }; } }";
    let http = BUILT_IN.iter().find(|(name, _)| *name == "google/api/http.proto").unwrap().1;
    let rule = BUILT_IN.iter().find(|(name, _)| *name == "google/api/annotations.proto").unwrap().1;
    let options = "syntax = \"proto3\"; package openapi; import 'google/protobuf/descriptor.proto';\n\
                   import public \"openapi/options/note.proto\"; extend google.protobuf.MessageOptions { Note note = 50005; }";
    let note = "syntax = \"proto3\"; package openapi; message Note { string text = 1; }";
    let folder = folder(&[
        ("proto/acme/v1/a.proto", a),
        ("proto/acme/v1/b.proto", "syntax = \"proto3\"; package acme.v1; message B { string name = 1; }"),
        ("proto/third_party/google/api/annotations.proto", rule),
        ("proto/third_party/google/api/http.proto", http),
        ("proto/third_party/openapi/options/annotations.proto", options),
        ("proto/third_party/openapi/options/note.proto", note),
    ]);
    for listed in [
        &["proto"][..],
        &["proto", "proto/third_party"],
        &["proto/third_party", "proto"],
        &["proto", "proto/acme"],
        &["proto/acme", "proto/third_party"],
    ] {
        let schema = read_all(&protos(listed), &folder).unwrap_or_else(|problems| panic!("{listed:?}: {problems:?}"));
        assert_eq!(schema.services.len(), 1, "{listed:?}");
        assert_eq!(schema.services[0].methods[0].http.len(), 1, "{listed:?}");
    }
    // Of two that differ none is meant.
    fs::create_dir_all(folder.path().join("proto/other/openapi/options")).unwrap();
    let copy = folder.path().join("proto/other/openapi/options/note.proto");
    fs::write(&copy, note).unwrap();
    read_all(&protos(&["proto"]), &folder).unwrap();
    fs::write(&copy, format!("{note} // newer")).unwrap();
    let found = problems(&folder, &protos(&["proto"]));
    assert!(found[0].contains("import 'openapi/options/note.proto' not found"), "{found:?}");
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    let marked = |text: &str| format!("\u{feff}{text}");
    let folder = folder(&[("protos/books.proto", &marked(BOOKS)), ("protos/parts/book.proto", &marked(BOOK))]);
    assert_eq!(read_all(&protos(&["protos"]), &folder).unwrap().services.len(), 1);
}

/// protoc's own folder of includes, or a copy of it, below the project's.
#[test]
fn protobufs_own_files_are_no_hurdle() {
    let declaration =
        "message FileOptions { extensions 1000 [declaration = { number: 1000 full_name: \".p.x\" type: \"int32\" }]; }";
    let descriptor = format!("syntax = \"proto2\"; package google.protobuf; {declaration}");
    let features = "syntax = \"proto2\"; package pb; import \"google/protobuf/descriptor.proto\";\n\
                    message Go { optional bool legacy = 1 [feature_support = { edition_introduced: EDITION_2023 }]; }";
    let option = "syntax = \"proto3\"; package p; import \"google/protobuf/descriptor.proto\";\n\
                  extend google.protobuf.FileOptions { string team = 50000; } option (team) = \"books\"; message M {}";
    let folder = folder(&[
        ("protos/google/protobuf/descriptor.proto", &descriptor),
        ("protos/google/protobuf/go_features.proto", features),
        ("protos/option.proto", option),
    ]);
    assert!(read_all(&protos(&["protos"]), &folder).unwrap().message_named("p.M").is_some());
    let importing = "syntax = \"proto3\"; import \"google/protobuf/go_features.proto\";";
    fs::write(folder.path().join("protos/option.proto"), importing).unwrap();
    let found = problems(&folder, &protos(&["protos"]));
    assert!(found.len() == 1 && found[0].starts_with("protos/google/protobuf/go_features.proto:2:"), "{found:?}");
}

#[test]
fn what_the_parser_does_not_know_has_a_way_out() {
    let option =
        "import \"buf/validate/validate.proto\"; message M { double d = 1 [(buf.validate.field).double.gt = -inf]; }";
    let range = "message M { extensions 200 [verification = UNVERIFIED]; }";
    let group = "import \"google/protobuf/descriptor.proto\"; message O { optional group Gr = 1 { optional int32 q = 1; } }\n\
                 extend google.protobuf.MessageOptions { optional O mo = 50001; } message A { option (mo) = { gr { q: 1 } }; }";
    for (syntax, body) in [("proto3", option), ("proto2", range), ("proto2", group)] {
        let text = format!("syntax = \"{syntax}\"; package p;\n{body}");
        let folder = folder(&[("protos/m.proto", &text)]);
        let found = problems(&folder, &protos(&["protos"]));
        let way_out =
            "; if protoc takes this file, compile it by `buf build -o x.binpb` and load that by schema.descriptor_sets";
        assert!(found.len() == 1 && found[0].starts_with("protos/m.proto:"), "{found:?}");
        assert!(found[0].ends_with(way_out), "{found:?}");
    }
}

#[test]
fn imports_that_lead_back_are_named() {
    let folder = folder(&[
        ("protos/a.proto", "syntax = \"proto3\";\nimport \"b.proto\";"),
        ("protos/b.proto", "syntax = \"proto3\";\n\nimport \"a.proto\";"),
        ("protos/c.proto", "syntax = \"proto3\"; import \"a.proto\"; import \"d.proto\";\nimport \"d.proto\";"),
        ("protos/d.proto", "syntax = \"proto3\";"),
    ]);
    let found = problems(&folder, &protos(&["protos"]));
    let expected = [
        "protos/b.proto:3:1: import 'a.proto' leads back to this file",
        "protos/c.proto:2:1: import 'd.proto' was listed twice",
    ];
    assert_eq!(found, expected);
}

#[test]
fn deep_nesting_is_a_problem_and_no_crash() {
    let depth = 50_000;
    let option = format!("message M {{ option (x) = {{ {} {} }}; }}", "a { ".repeat(depth), "} ".repeat(depth));
    let chain: Vec<(String, String)> = (0..500)
        .map(|at| (format!("deep/{at}.proto"), format!("syntax = \"proto3\"; import \"{}.proto\";", at + 1)))
        .collect();
    let mut files = vec![("option/a.proto", option.as_str()), ("deep/500.proto", "syntax = \"proto3\";")];
    files.extend(chain.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let folder = folder(&files);
    let found = problems(&folder, &protos(&["option"]));
    assert!(
        found.len() == 1 && found[0].contains("option/a.proto:1:422: brackets are nested deeper than 100"),
        "{found:?}"
    );
    assert!(read_all(&protos(&["deep"]), &folder).is_ok());
}
