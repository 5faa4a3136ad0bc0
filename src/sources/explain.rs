//! What a compiler's faults say to those who wrote the files: where, what, and the way out.

use miette::{Diagnostic, SourceCode};
use transom_transcode::schema::Problem;

use super::compiler::Fault;
use super::folder::Folder;
use super::problem::words;

/// For what the parser does not know, or is stricter in than protoc.
const COMPILED: &str =
    "if protoc takes this file, compile it by `buf build -o x.binpb` and load that by schema.descriptor_sets";

/// Adds the problems of a fault. A file's own come up again in each folder that imports it: once is enough.
pub(super) fn explain(fault: &Fault, folder: &Folder, problems: &mut Vec<Problem>) {
    let error: &dyn Diagnostic = match fault {
        Fault::Import { file, at, message, absent } => {
            let mut place = path(folder, file);
            if let Some((line, column)) = at {
                place.push_str(&format!(":{}:{}", line + 1, column + 1));
            }
            let mut message = message.clone();
            if *absent {
                let folders: Vec<_> = folder.places().map(|place| place.folder.display().to_string()).collect();
                message.push_str(&format!(
                    "; looked for in {} and among what is built in: an import's path starts at a folder of `schema.protos`",
                    folders.join(", ")
                ));
            }
            return add(Problem::new(place, "", message), problems);
        }
        Fault::Parse(error) => error,
        Fault::Link(error) => error,
    };
    let file = match fault {
        Fault::Link(error) => error.file().unwrap_or_default(),
        Fault::Parse(error) => error.file(),
        Fault::Import { file, .. } => file,
    };
    let parse = matches!(fault, Fault::Parse(_));
    let source = error.source_code();
    let related = error.related().into_iter().flatten();
    for (error, first) in
        std::iter::once(error).chain(related).zip(std::iter::once(true).chain(std::iter::repeat(false)))
    {
        let mut message = error.to_string();
        if folder.text(file).is_some_and(|(_, text)| says_edition(text)) {
            "editions are not read from .proto files: compile them with buf or protoc, and load the result by \
             schema.descriptor_sets"
                .clone_into(&mut message);
        } else if let Some(cause) = error.diagnostic_source() {
            // What is wrong inside an option's value.
            message.push_str(&format!(": {cause}; {COMPILED}"));
        } else if let Some(way_out) = way_out(error, &message) {
            message.push_str(&format!("; {way_out}"));
        } else if parse && first {
            message.push_str(&format!("; {COMPILED}"));
        }
        add(Problem::new(place(error, source, file, folder), "", message), problems);
    }
}

fn add(problem: Problem, problems: &mut Vec<Problem>) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

fn path(folder: &Folder, file: &str) -> String {
    folder.text(file).map_or_else(|| file.to_owned(), |(path, _)| path.display().to_string())
}

/// `file:line:column` of an error, as far as it knows.
fn place(error: &dyn Diagnostic, source: Option<&dyn SourceCode>, file: &str, folder: &Folder) -> String {
    let mut place = path(folder, file);
    let label = error.labels().and_then(|mut labels| labels.next());
    let source = error.source_code().or(source);
    if let Some(contents) = label.zip(source).and_then(|(label, source)| source.read_span(label.inner(), 0, 0).ok()) {
        place.push_str(&format!(":{}:{}", contents.line() + 1, contents.column() + 1));
    } else if error.to_string().ends_with("reached end of file")
        && let Some((_, text)) = folder.text(file)
    {
        let text = text.trim_end();
        let last = text.rsplit('\n').next().unwrap_or_default();
        place.push_str(&format!(":{}:{}", text.matches('\n').count() + 1, last.chars().count() + 1));
    }
    place
}

/// What to write instead.
fn way_out(error: &dyn Diagnostic, message: &str) -> Option<String> {
    let undefined = message.split('\'').nth(1).filter(|_| message.ends_with("is not defined"));
    match undefined.and_then(home) {
        Some(file) => Some(format!("write `import \"{file}\";`")),
        None => error.help().map(|help| help.to_string()),
    }
}

/// The built-in file that declares what others forget to import.
fn home(name: &str) -> Option<&'static str> {
    let (package, last) = name.trim_start_matches('.').rsplit_once('.')?;
    Some(match (package, last) {
        ("buf.validate", _) => "buf/validate/validate.proto",
        ("google.api", "http") => "google/api/annotations.proto",
        ("google.api", "HttpBody") => "google/api/httpbody.proto",
        ("google.protobuf", "Any") => "google/protobuf/any.proto",
        ("google.protobuf", "Duration") => "google/protobuf/duration.proto",
        ("google.protobuf", "Empty") => "google/protobuf/empty.proto",
        ("google.protobuf", "FieldMask") => "google/protobuf/field_mask.proto",
        ("google.protobuf", "ListValue" | "NullValue" | "Struct" | "Value") => "google/protobuf/struct.proto",
        ("google.protobuf", "Timestamp") => "google/protobuf/timestamp.proto",
        ("google.protobuf", wrapper) if wrapper.ends_with("Value") => "google/protobuf/wrappers.proto",
        ("google.rpc", "Code") => "google/rpc/code.proto",
        ("google.rpc", "Status") => "google/rpc/status.proto",
        ("google.rpc", _) => "google/rpc/error_details.proto",
        ("transom", _) => "transom/options.proto",
        _ => return None,
    })
}

/// Its first statement is `edition = …`.
fn says_edition(text: &str) -> bool {
    words(text).next().is_some_and(|(_, _, word)| word == "edition")
}
