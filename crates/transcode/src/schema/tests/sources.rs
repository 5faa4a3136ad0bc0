//! Several sources that declare the same: when they agree, and who is named when they do not.

use super::*;

const PROTO: &str = r#"
    syntax = "proto3"; package p; import "google/api/annotations.proto";
    message M { string long_name = 1; Inner inner = 2; message Inner { int32 x = 1; } }
    enum E { ZERO = 0; }
    service S { rpc Get(M) returns (M) {
      option idempotency_level = NO_SIDE_EFFECTS; option (google.api.http) = { post: "/v1/m" body: "*" }; } }
    service Internal { rpc Get(M) returns (M); }"#;

/// Without the option that prost does not know and loses.
fn plain() -> String {
    PROTO.replace("option (google.api.http) = { post: \"/v1/m\" body: \"*\" };", "")
}

/// The set with its file `a.proto` changed.
fn changed(set: &[u8], change: impl Fn(&mut prost_types::FileDescriptorProto)) -> Vec<u8> {
    use prost::Message as _;
    let mut set = prost_types::FileDescriptorSet::decode(set).unwrap();
    set.file.iter_mut().filter(|file| file.name() == "a.proto").for_each(change);
    set.encode_to_vec()
}

fn both(first: &[u8], second: &[u8], reflected: bool) -> Result<Schema, Vec<Problem>> {
    let mut builder = Schema::builder();
    builder.add(first, "one")?;
    if reflected {
        builder.add_reflected(second, "two", |_| true)?;
    } else {
        builder.add(second, "two")?;
    }
    builder.build()
}

#[test]
fn the_same_under_another_name_is_the_same() {
    let set = descriptor_set(&plain());
    let renamed = changed(&set, |file| file.name = Some("protos/a.proto".to_owned()));
    let schema = both(&renamed, &set, false).unwrap();
    assert_eq!(schema.services.len(), 2);

    let more = descriptor_set(&format!("{} message More {{ M m = 1; }}", plain()));
    let schema = both(&renamed, &more, false).unwrap();
    assert!(schema.message_named("p.More").is_some());
}

/// A file's path is private to its own compilation.
#[test]
fn two_files_of_one_path_that_have_nothing_in_common_are_two() {
    let set = |package: &str| {
        let types =
            descriptor_set(&format!("syntax = \"proto3\"; package {package}; message T {{ string {package} = 1; }}"));
        let other = descriptor_set(&format!("syntax = \"proto3\"; package {package}; message U {{ string x = 1; }}"));
        let importing = changed(&other, |file| {
            file.name = Some("service.proto".to_owned());
            file.dependency = vec!["a.proto".to_owned()];
            file.message_type[0].field[0].r#type = Some(11);
            file.message_type[0].field[0].type_name = Some(format!(".{package}.T"));
        });
        [types, importing].concat()
    };
    for reflected in [false, true] {
        let mut builder = Schema::builder();
        for package in ["p", "q", "r", "q"] {
            match reflected {
                true => builder.add_reflected(&set(package), package, |_| true).unwrap(),
                false => builder.add(&set(package), package).unwrap(),
            }
        }
        let schema = builder.build().unwrap();
        for package in ["p", "q", "r"] {
            let u = &schema.messages[schema.message_named(&format!("{package}.U")).unwrap().0 as usize];
            assert_eq!(u.fields[0].kind, Kind::Message(schema.message_named(&format!("{package}.T")).unwrap()));
        }
        // For those who ask by reflection: each name once, each import there, and the right one.
        let names: Vec<_> = schema.files.iter().map(DescriptorFile::name).filter(|name| !name.contains('/')).collect();
        let expected = ["a.proto", "service.proto", "a~2.proto", "service~2.proto", "a~3.proto", "service~3.proto"];
        assert_eq!(names, expected);
        let second = schema.files.iter().find(|file| file.name() == "service~2.proto").unwrap();
        assert_eq!(
            (second.outline().imports, second.outline().symbols),
            (vec!["a~2.proto".to_owned()], vec!["q.U".to_owned()])
        );
        assert_eq!(DescriptorFile::all_of(&[second.bytes().to_vec()])[0].name(), "service~2.proto");
    }
}

#[test]
fn two_sources_that_disagree_about_a_symbol_are_both_named() {
    let set = descriptor_set(PROTO);
    for (name, reflected) in [("a.proto", false), ("b.proto", false), ("a.proto", true), ("b.proto", true)] {
        let other = changed(&set, |file| {
            file.name = Some(name.to_owned());
            file.message_type[0].nested_type[0].field[0].number = Some(2);
        });
        let problems = both(&set, &other, reflected).unwrap_err();
        let text = format!("{name}: p.M: one and two both declare this, and not the same: keep one of them");
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    }
}

#[test]
fn what_means_nothing_is_no_disagreement() {
    let set = descriptor_set(&plain());
    let other = changed(&set, |file| {
        for field in &mut file.message_type[0].field {
            field.json_name = None;
        }
        file.options.get_or_insert_default().java_package = Some("com.p".to_owned());
    });
    for reflected in [false, true] {
        assert!(both(&set, &other, reflected).is_ok());
    }
}

#[test]
fn a_server_may_lose_options_and_hide_services_but_not_change_them() {
    // Decoding by prost loses `google.api.http`, as many servers do.
    let set = descriptor_set(PROTO);
    let lost = changed(&set, |file| {
        file.service.pop();
    });
    let schema = both(&set, &lost, true).unwrap();
    assert_eq!((schema.services.len(), schema.services[0].methods[0].http.len()), (2, 1));
    assert!(!schema.services[0].reflected);
    assert!(both(&set, &lost, false).is_err(), "a file that says less is another file");

    let other = changed(&set, |file| {
        let options = file.service[0].method[0].options.get_or_insert_default();
        options.set_idempotency_level(prost_types::method_options::IdempotencyLevel::Idempotent);
    });
    assert!(both(&set, &other, true).is_err());
    let other = descriptor_set(&PROTO.replace("/v1/m", "/v2/m"));
    assert!(both(&set, &other, true).is_err(), "an option that is there and differs");
}

#[test]
fn options_in_another_order_are_the_same() {
    let set = descriptor_set(PROTO);
    let other = descriptor_set(&PROTO.replace(r#"post: "/v1/m" body: "*""#, r#"body: "*" post: "/v1/m""#));
    assert!(both(&set, &other, false).is_ok());
}

#[test]
fn of_a_reflected_file_only_the_services_to_be_kept_count() {
    let mut builder = Schema::builder();
    builder.add_reflected(&descriptor_set(PROTO), "two", |service| service == "p.S").unwrap();
    let schema = builder.build().unwrap();
    assert_eq!(schema.services.iter().map(|service| &*service.name).collect::<Vec<_>>(), ["p.S"]);
    assert!(schema.services[0].reflected);
    let file = schema.files.iter().find(|file| file.name() == "a.proto").unwrap();
    let outline = file.outline();
    assert_eq!(outline.symbols, ["p.M", "p.E", "p.ZERO", "p.S"]);
    assert_eq!(
        (outline.imports, outline.services),
        (vec!["google/api/annotations.proto".to_owned()], vec!["p.S".to_owned()])
    );
}
