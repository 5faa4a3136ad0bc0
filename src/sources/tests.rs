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
