//! The grammar, and every refusal with its column.

use super::*;

/// Segments as text, `fields=start..end` of the variables (`+` for several segments), the verb.
fn shape(text: &str) -> String {
    let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut out = String::new();
    for segment in template.segments() {
        out.push('/');
        match segment {
            Segment::Literal(literal) => out.push_str(std::str::from_utf8(literal).unwrap()),
            Segment::One => out.push('*'),
            Segment::Rest => out.push_str("**"),
        }
    }
    if let Some(verb) = template.verb() {
        out.push(':');
        out.push_str(std::str::from_utf8(verb).unwrap());
    }
    for variable in template.variables() {
        let plus = if variable.multi { "+" } else { "" };
        out.push_str(&format!(" {}={}..{}{plus}", variable.field, variable.start, variable.end));
    }
    out
}

#[test]
fn templates_of_googleapis_style_load() {
    for (text, expected) in [
        ("/", ""),
        ("/v1/shelves", "/v1/shelves"),
        ("/v1:batchGet", "/v1:batchGet"),
        ("/v1/{name=shelves/*/books/*}", "/v1/shelves/*/books/* name=1..5+"),
        ("/v1/{shelf}/books/{book.id}", "/v1/*/books/* shelf=1..2 book.id=3..4"),
        ("/v1/{name=operations/**}:cancel", "/v1/operations/**:cancel name=1..3+"),
        ("/v1/{resource=**}:getIamPolicy", "/v1/**:getIamPolicy resource=1..2+"),
        (
            "/compute/v1/projects/{project}/zones/{zone}/instances/{instance}",
            "/compute/v1/projects/*/zones/*/instances/* project=3..4 zone=5..6 instance=7..8",
        ),
        (
            "/v1/{parent=projects/*/databases/*/documents/*/**}/{collection_id}",
            "/v1/projects/*/databases/*/documents/*/**/* parent=1..8+ collection_id=8..9",
        ),
        (
            "/v1beta1/{parent=projects/*/databases/*/documents}/{collection_id}",
            "/v1beta1/projects/*/databases/*/documents/* parent=1..6+ collection_id=6..7",
        ),
        ("/v1/{id}:custom:custom", "/v1/*:custom:custom id=1..2"),
        ("/v1/{a=**}/{b}", "/v1/**/* a=1..2+ b=2..3"),
        ("/v1/{x=only}", "/v1/only x=1..2"),
        ("/v1/*/**/tail:go", "/v1/*/**/tail:go"),
        ("/v1/a:b/c", "/v1/a:b/c"),
        ("/a%20b/%c3%a9:v%65rb", "/a b/é:verb"),
        ("/é/{x}", "/é/* x=1..2"),
        ("/.well-known/a@b,c;d=e!$&'()+~_", "/.well-known/a@b,c;d=e!$&'()+~_"),
    ] {
        assert_eq!(shape(text), expected, "{text}");
    }
}

#[test]
fn wrong_templates_are_refused_with_their_column() {
    for (text, column, part) in [
        ("", 1, "begins with"),
        ("v1/a", 1, "begins with"),
        ("/v1/", 4, "cannot end with"),
        ("/v1//a", 5, "empty segment"),
        ("//", 2, "empty segment"),
        ("/:verb", 2, "empty segment"),
        ("/v1/{a=}", 8, "empty segment"),
        ("/v1/{a=b/}", 10, "empty segment"),
        ("/v1/x{a}", 6, "text beside"),
        ("/v1/{a}x", 8, "text beside"),
        ("/v1/{a}{b}", 8, "text beside"),
        ("/v1/*x", 6, "text beside"),
        ("/v1/x*", 6, "text beside"),
        ("/v1/***", 7, "text beside"),
        ("/v1/**/**", 8, "second"),
        ("/v1/{a=**}/{b=**}", 15, "second"),
        ("/v1/{a=x/{b}}", 10, "inside a variable"),
        ("/v1/{a=x{b}}", 9, "inside a variable"),
        ("/v1/{a}/{a}", 10, "bound twice"),
        ("/v1/{}", 6, "field's name"),
        ("/v1/{1a}", 6, "field's name"),
        ("/v1/{a.}", 8, "field's name"),
        ("/v1/{a..b}", 8, "field's name"),
        ("/v1/{a", 7, "not closed"),
        ("/v1/{a=b", 9, "not closed"),
        ("/v1/{a=b/", 10, "not closed"),
        ("/v1/{a-b}", 7, "expected here"),
        ("/v1/{a=b:c}", 9, "colon inside"),
        ("/v1/a}", 6, "closes no variable"),
        ("/v1/a:", 7, "verb after"),
        ("/v1/{a}:", 9, "verb after"),
        ("/v1/{a}:b/c", 8, "verb ends"),
        ("/v1/a:b*", 8, "plain text"),
        ("/v1/a b", 6, "percent escape"),
        ("/v1/a?b=c", 6, "percent escape"),
        ("/v1/%zz", 5, "two hex digits"),
        ("/v1/%4", 5, "two hex digits"),
        ("/é/{", 5, "field's name"),
    ] {
        let error = Template::parse(text).expect_err(text);
        assert!(error.message.contains(part) && error.column == column, "{text}: {error}");
    }
    assert!(Template::parse(&"/a".repeat(101)).is_err());
    assert!(Template::parse(&"/a".repeat(100)).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_columns_are_inside(text in "[/{}=*:.a%0é ]{0,24}") {
        match Template::parse(&text) {
            Ok(template) => {
                assert_eq!(template.text(), text);
                let inside = |variable: &Variable| variable.start < variable.end && variable.end <= template.segments().len();
                assert!(template.variables().iter().all(inside));
            }
            Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
        }
    }
}
