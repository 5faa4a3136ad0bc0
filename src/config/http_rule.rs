//! `schema.http_rules`: the `http.rules` of a service configuration.

use transom_transcode::schema::unreached;

use super::kind::{self, Kind as _, checked, list, text};
use super::problem::quote;
use super::read::section;
use super::upstream::is_full_name;

/// Declares a section with the keys of a rule between others of its own.
macro_rules! rule {
    (
        $(#[doc = $about:literal])*
        pub struct $Name:ident {
            before { $($before:tt)* }
            after { $($after:tt)* }
        }
    ) => {
        section! {
            $(#[doc = $about])*
            pub struct $Name {
                $($before)*
                /// A path template, for GET.
                get: Option<String> = text("a path template").optional(),
                /// A path template, for PUT.
                put: Option<String> = text("a path template").optional(),
                /// A path template, for POST.
                post: Option<String> = text("a path template").optional(),
                /// A path template, for DELETE.
                delete: Option<String> = text("a path template").optional(),
                /// A path template, for PATCH.
                patch: Option<String> = text("a path template").optional(),
                /// Another HTTP method.
                custom: Option<CustomPattern> = kind::section().optional(),
                /// The request field that the body is, or `*` for the whole request.
                body: Option<String> = text("a field's name or `*`").optional(),
                /// The reply field that the answer is; by default the whole reply.
                response_body: Option<String> = text("a field's name").optional(),
                $($after)*
            }
        }

        impl $Name {
            /// Every pattern that it has, as HTTP method and template: one, if it is as it should be.
            pub fn patterns(&self) -> Vec<(&str, &str)> {
                let plain = [
                    ("GET", &self.get),
                    ("PUT", &self.put),
                    ("POST", &self.post),
                    ("DELETE", &self.delete),
                    ("PATCH", &self.patch),
                ];
                let plain = plain.into_iter().filter_map(|(method, path)| Some((method, path.as_deref()?)));
                plain.chain(self.custom.iter().map(|custom| (&*custom.kind, &*custom.path))).collect()
            }
        }
    };
}

rule! {
    /// A `google.api.HttpRule`: exactly one of `get`, `put`, `post`, `delete`, `patch` and `custom`.
    pub struct HttpRule {
        before {
            /// The method it is for.
            selector: String = checked("a method's full name such as `pkg.Service.Method`", selector).required(),
        }
        after {
            /// More ways to the same method.
            additional_bindings: Vec<AdditionalBinding> = list(kind::section()).or("[]"),
        }
    }
}

rule! {
    /// A further rule of the same method.
    pub struct AdditionalBinding {
        before {}
        after {}
    }
}

section! {
    /// A rule for any HTTP method.
    pub struct CustomPattern {
        /// The HTTP method, such as `HEAD`; `*` is every one.
        kind: String = checked("an HTTP method or `*`", method).required(),
        /// The path template.
        path: String = text("a path template").required(),
    }
}

/// `pkg.Service.Method`.
fn selector(text: &str) -> Result<String, String> {
    if is_full_name(text) && text.contains('.') {
        return Ok(text.to_owned());
    }
    Err(match text.split_once('/') {
        Some((service, method)) if is_full_name(service) && is_full_name(method) => {
            format!("{} has a slash; write `{service}.{method}`", quote(text))
        }
        _ if text.ends_with('*') => {
            format!("{} is a pattern, but a path leads to one method: write `pkg.Service.Method`", quote(text))
        }
        _ => format!("{} is not a method; write `pkg.Service.Method`", quote(text)),
    })
}

fn method(text: &str) -> Result<String, String> {
    match http::Method::from_bytes(text.as_bytes()) {
        Ok(_) => match unreached(text) {
            None => Ok(text.to_owned()),
            Some(why) => Err(format!("{} {why}", quote(text))),
        },
        Err(_) => Err(format!("{} is not an HTTP method; write a name such as `HEAD`, or `*` for all", quote(text))),
    }
}
