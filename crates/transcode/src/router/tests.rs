//! Each rule by example, and the trie against a matcher written straight from the rules.

use proptest::prelude::*;

use super::*;
use crate::template::{Segment, Template, decode};

fn router(routes: &[(&str, &'static str)]) -> Router<&'static str> {
    let mut builder = RouterBuilder::new();
    for (method, template) in routes {
        builder.insert(method, &Template::parse(template).unwrap(), *template).unwrap();
    }
    builder.build()
}

/// The template found, with the captures behind it; or what was found instead.
fn find(router: &Router<&'static str>, method: &str, path: &str) -> String {
    let mut captures = Captures::default();
    match router.find(method, path, &mut captures) {
        Found::Route(template) => captures.iter(path).fold((*template).to_owned(), |out, value| out + " " + value),
        Found::MethodNotAllowed(allow) => format!("405 {allow}"),
        Found::NotFound => "404".to_owned(),
        Found::BadEscape => "400".to_owned(),
    }
}

#[test]
fn precedence_is_literal_then_one_then_rest_with_backtracking() {
    let router = router(&[
        ("GET", "/v1/{name=**}"),
        ("GET", "/v1/{a}/b"),
        ("GET", "/v1/shelves"),
        ("GET", "/v1/shelves/c"),
        ("GET", "/v1/{a}/{b}"),
        ("GET", "/v1/{name=**}/tail"),
        ("GET", "/v1/{name=**}/{x}/tail"),
    ]);
    for (path, found) in [
        ("/v1/shelves", "/v1/shelves"),
        ("/v1/shelves/b", "/v1/{a}/b shelves"),
        ("/v1/shelves/c", "/v1/shelves/c"),
        ("/v1/shelves/d", "/v1/{a}/{b} shelves d"),
        ("/v1/a", "/v1/{name=**} a"),
        ("/v1", "/v1/{name=**} "),
        ("/v1/a/b/c/d", "/v1/{name=**} a/b/c/d"),
        ("/v1/a/b/tail", "/v1/{name=**}/{x}/tail a b"),
        ("/v1/a//tail", "/v1/{name=**}/tail a/"),
        ("/v1/tail", "/v1/{name=**}/tail "),
    ] {
        assert_eq!(find(&router, "GET", path), found, "{path}");
    }
}

#[test]
fn each_method_is_matched_alone() {
    let router =
        router(&[("POST", "/a/b"), ("GET", "/a/{x}"), ("*", "/any"), ("PUT", "/any"), ("HEAD", "/h"), ("GET", "/h")]);
    assert_eq!(find(&router, "GET", "/a/b"), "/a/{x} b");
    assert_eq!(find(&router, "POST", "/a/b"), "/a/b");
    assert_eq!(find(&router, "HEAD", "/a/b"), "/a/{x} b");
    assert_eq!(find(&router, "DELETE", "/a/b"), "405 GET, HEAD, POST");
    assert_eq!(find(&router, "BREW", "/a/c"), "405 GET, HEAD");
    assert_eq!(find(&router, "BREW", "/any"), "/any");
    assert_eq!(find(&router, "GET", "/b"), "404");
    let both = router.candidates("/any");
    assert_eq!(both, [("*", &"/any"), ("PUT", &"/any")]);
}

#[test]
fn a_head_binding_goes_before_gets() {
    let mut builder = RouterBuilder::new();
    let template = Template::parse("/h").unwrap();
    for method in ["GET", "HEAD", "*"] {
        builder.insert(method, &template, method).unwrap();
    }
    let router = builder.build();
    for (method, found) in [("HEAD", "HEAD"), ("GET", "GET"), ("PUT", "*")] {
        assert_eq!(router.find(method, "/h", &mut Captures::default()), Found::Route(&found));
    }
}

#[test]
fn a_verb_is_split_off_only_where_it_is_registered() {
    let router = router(&[
        ("GET", "/v1/things/{id}"),
        ("POST", "/v1/things/{id}:cancel"),
        ("GET", "/v1/things/{id}:custom:custom"),
        ("GET", "/v1/things/{id}:custom"),
        ("GET", "/v1/{name=**}:watch"),
        ("GET", "/v1/things:list"),
    ]);
    for (method, path, found) in [
        ("GET", "/v1/things/a:b", "/v1/things/{id} a:b"),
        ("POST", "/v1/things/a:b:cancel", "/v1/things/{id}:cancel a:b"),
        ("GET", "/v1/things/a:cancel", "/v1/things/{id} a:cancel"),
        ("GET", "/v1/things/a:custom:custom", "/v1/things/{id}:custom:custom a"),
        ("GET", "/v1/things/a:custom", "/v1/things/{id}:custom a"),
        ("GET", "/v1/things/a%3Acustom", "/v1/things/{id} a%3Acustom"),
        ("GET", "/v1/things/a:%63ustom", "/v1/things/{id}:custom a"),
        ("GET", "/v1/things/a:watch", "/v1/{name=**}:watch things/a"),
        ("GET", "/v1:watch", "/v1/{name=**}:watch "),
        ("GET", "/v1/things:list", "/v1/things:list"),
        ("GET", "/v1/things%3Alist", "404"),
        ("GET", "/v1/things/:custom", "/v1/things/{id} :custom"),
        ("PUT", "/v1/things/a:cancel", "405 GET, HEAD, POST"),
    ] {
        assert_eq!(find(&router, method, path), found, "{method} {path}");
    }
}

#[test]
fn segments_are_split_before_they_are_decoded() {
    let router = router(&[("GET", "/a%20b/{x}"), ("GET", "/a%2Fb/{x}"), ("GET", "/é"), ("GET", "/")]);
    for (path, found) in [
        ("/%61%20b/1%2F2", "/a%20b/{x} 1%2F2"),
        ("/a%2fb/x", "/a%2Fb/{x} x"),
        ("/a/b/x", "404"),
        ("/%C3%A9", "/é"),
        ("/", "/"),
        ("", "404"),
        ("*", "404"),
        ("//", "404"),
        ("/a%20b/", "404"),
        ("/a%20b/x/", "404"),
        ("/a%2", "400"),
        ("/%zz/x", "400"),
        ("/nowhere/%", "400"),
    ] {
        assert_eq!(find(&router, "GET", path), found, "{path}");
    }
}

#[test]
fn bindings_of_the_same_requests_conflict() {
    for (one, other) in [
        ("/a/{x}", "/a/*"),
        ("/a/{x}", "/a/{y.z}"),
        ("/{a=x/*}", "/x/{b}"),
        ("/a%20b", "/%61%20b"),
        ("/{a}:v", "/*:%76"),
        ("/{a=**}", "/**"),
        ("/**/*/{b}", "/*/{x=**}/*"),
    ] {
        let mut builder = RouterBuilder::new();
        builder.insert("GET", &Template::parse("/first").unwrap(), "first").unwrap();
        builder.insert("GET", &Template::parse(one).unwrap(), one).unwrap();
        let other = Template::parse(other).unwrap();
        let conflict = builder.insert("GET", &other, "other").expect_err(one);
        assert_eq!(*builder.route(conflict.with), one);
        assert_eq!(builder.same("GET", &other), Some(&one));
        assert_eq!((builder.same("POST", &other), builder.same("*", &other)), (None, None));
        builder.insert("POST", &other, "another method").unwrap();
        builder.insert("*", &other, "any method").unwrap();
    }
}

/// A trie in which every level has a literal and a `*`, and paths of many segments and colons.
#[test]
fn hostile_paths_take_no_longer_than_the_trie_is_large() {
    let mut builder = RouterBuilder::new();
    let mut templates = 0;
    for bits in 0..256u32 {
        let text: String = (0..8).map(|bit| if bits >> bit & 1 == 0 { "/a" } else { "/*" }).collect();
        for tail in ["/x", "/**/y", "/**/*/z:v"] {
            builder.insert("GET", &Template::parse(&(text.clone() + tail)).unwrap(), templates).unwrap();
            templates += 1;
        }
    }
    let router = builder.build();
    let mut captures = Captures::default();
    for path in ["/a".repeat(30_000), "/a/".repeat(20_000), format!("/a{}", ":v".repeat(30_000)), "/%61".repeat(16_000)]
    {
        let mut visits = 0;
        let found = router.search(&path, &mut captures, |_, _| {
            visits += 1;
            None
        });
        assert!(matches!(found, Ok(None)) && visits <= templates, "{visits}");
    }
}

/// What a matcher written straight from the rules finds: the index of the route and its captures.
fn naive(routes: &[(String, Template)], method: &str, path: &str) -> Option<(usize, Vec<String>)> {
    let text = |raw: &str| {
        let mut out = Vec::new();
        assert!(decode(raw.as_bytes(), &mut out));
        out
    };
    let mut best: Option<(Vec<usize>, usize, Vec<String>)> = None;
    for (index, (of, template)) in routes.iter().enumerate() {
        let by_method = match &**of {
            of if of == method => 0,
            "GET" if method == "HEAD" => 1,
            "*" => 2,
            _ => continue,
        };
        let last = path.rfind('/').unwrap();
        let ends = path.match_indices(':').map(|(at, _)| at).filter(|at| *at > last);
        for end in ends.chain([path.len()]) {
            let verb = (end < path.len()).then(|| text(&path[end + 1..]));
            if verb.as_deref() != template.verb() {
                continue;
            }
            let path = &path[..end];
            let parts: Vec<&str> = if path == "/" && verb.is_none() { vec![] } else { path[1..].split('/').collect() };
            let rest = template.segments().iter().position(|segment| *segment == Segment::Rest);
            let fixed = template.segments().len() - usize::from(rest.is_some());
            if parts.len() < fixed || (rest.is_none() && parts.len() != fixed) {
                continue;
            }
            // Each segment's parts, and its rank.
            let mut at = 0;
            let mut spans = Vec::new();
            let mut rank = vec![end];
            let matches = template.segments().iter().all(|segment| {
                let taken = if *segment == Segment::Rest { parts.len() - fixed } else { 1 };
                spans.push(parts[at..at + taken].join("/"));
                let fits = match segment {
                    Segment::Literal(literal) => {
                        rank.push(0);
                        text(parts[at]) == **literal
                    }
                    Segment::One => {
                        rank.push(1);
                        !parts[at].is_empty()
                    }
                    Segment::Rest => {
                        rank.extend([2, 1000 - (template.segments().len() - spans.len())]);
                        true
                    }
                };
                at += taken;
                fits
            });
            if !matches {
                continue;
            }
            rank.push(0);
            rank.push(by_method);
            // A template that ends goes before `**` that matches nothing.
            if best.as_ref().is_none_or(|best| rank < best.0) {
                let nothing = |segment: usize| template.segments()[segment] == Segment::Rest && parts.len() == fixed;
                let value = |variable: &crate::template::Variable| {
                    let segments = (variable.start..variable.end).filter(|segment| !nothing(*segment));
                    segments.map(|segment| spans[segment].clone()).collect::<Vec<_>>().join("/")
                };
                best = Some((rank, index, template.variables().iter().map(value).collect()));
            }
        }
    }
    best.map(|(_, index, captures)| (index, captures))
}

fn templates() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "%61", "a%3Ab"]).prop_map(str::to_owned),
        2 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        2 => Just("{_}".to_owned()),
        1 => prop::sample::select(vec!["{_=**}", "{_=a/*}", "{_=*/**}", "{_=**/b}"]).prop_map(str::to_owned),
    ];
    let verb = prop::sample::select(vec!["", "", "", ":v", ":b", ":v:b", ":a:v"]);
    (prop::collection::vec(segment, 1..4), verb).prop_map(|(segments, verb)| {
        let named = segments.iter().enumerate().map(|(at, segment)| segment.replace('_', &format!("x{at}")));
        format!("/{}{verb}", named.collect::<Vec<_>>().join("/"))
    })
}

fn paths() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "a", "b", "%61", "%62", "c", "", "a%3ab", "a%2Fb", "a:v"]);
    let verb = prop::sample::select(vec!["", "", ":v", ":b", ":v:b", ":%76", ":a:v:b", "%3Av"]);
    (prop::collection::vec(segment, 1..6), verb).prop_map(|(segments, verb)| format!("/{}{verb}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_trie_agrees_with_the_rules(
        given in prop::collection::vec((prop::sample::select(vec!["GET", "POST", "HEAD", "*"]), templates()), 1..12),
        asked in prop::collection::vec((prop::sample::select(vec!["GET", "POST", "HEAD", "PUT"]), paths()), 16),
    ) {
        let mut builder = RouterBuilder::new();
        let mut routes = Vec::new();
        for (method, text) in given {
            let Ok(template) = Template::parse(&text) else { continue };
            if builder.insert(method, &template, routes.len()).is_ok() {
                routes.push((method.to_owned(), template));
            }
        }
        let router = builder.build();
        let mut captures = Captures::default();
        for (method, path) in asked {
            let found = router.find(method, &path, &mut captures);
            match naive(&routes, method, &path) {
                Some((index, values)) => {
                    prop_assert_eq!(found, Found::Route(&index), "{} {} in {:?}", method, path, routes);
                    prop_assert_eq!(captures.iter(&path).collect::<Vec<_>>(), values);
                }
                None => {
                    let allow = ["GET", "HEAD", "POST"].into_iter().filter(|method| naive(&routes, method, &path).is_some());
                    let allow = allow.collect::<Vec<_>>().join(", ");
                    let expected = if allow.is_empty() { Found::NotFound } else { Found::MethodNotAllowed(allow) };
                    prop_assert_eq!(found, expected, "{} {} in {:?}", method, path, routes);
                }
            }
        }
    }
}
