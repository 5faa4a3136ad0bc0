//! `${VAR}` and `${VAR:-default}` inside a value.
//!
//! ```text
//! value    = { text | "$${" | variable }
//! variable = "${" NAME [ ":-" value ] "}"          ; the default holds where NAME is unset or empty
//! NAME     = ( letter | "_" ) { letter | digit | "_" }
//! ```
//!
//! `$${` stands for the characters `${`; every other `$` is itself. What a variable holds is never expanded again and,
//! since YAML has been parsed before, never becomes structure.

use super::problem::quote;

/// Defaults within defaults.
const MAX_DEPTH: usize = 8;

/// Looks up what a name stands for: an environment variable, or a secret that is kept elsewhere (`file:…`, `vault:…`).
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value with its variables replaced; an error says what is wrong with which.
pub(super) fn expand(value: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    expand_into(value, lookup, MAX_DEPTH, &mut out)?;
    Ok(out)
}

/// A secret's text that says where it is kept: `file:PATH`, `vault:MOUNT/PATH#KEY`.
pub(super) fn is_elsewhere(text: &str) -> bool {
    text.starts_with("file:") || text.starts_with("vault:")
}

/// Whether a text holds anything beside plain `${VAR}` references.
pub(super) fn is_reference(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    is_elsewhere(value) || value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(is_name)
}

fn expand_into(mut rest: &str, lookup: Lookup<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = closing_brace(inner) else {
            return Err(format!(
                "{} has no closing `}}`; write `$${{` for the characters themselves",
                quote(&rest[at..])
            ));
        };
        variable(&inner[..end], lookup, depth, out)?;
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(())
}

fn variable(inner: &str, lookup: Lookup<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(format!(
            "{} is not a variable; write `${{NAME}}` or `${{NAME:-default}}`",
            quote(&format!("${{{inner}}}"))
        ));
    }
    match (lookup(name), default) {
        (Some(value), _) if !value.is_empty() => out.push_str(&value),
        (_, Some(_)) if depth == 0 => return Err(format!("the defaults of `{name}` are nested too deeply")),
        (_, Some(default)) => expand_into(default, lookup, depth - 1, out)?,
        (Some(_), None) => {}
        (None, None) => {
            return Err(format!(
                "the environment variable `{name}` is not set; set it, or write `${{{name}:-default}}`"
            ));
        }
    }
    Ok(())
}

/// Where the brace that was opened before `text` closes.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("3000".into()),
            "W" => Some("60000".into()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${PORT}".into()),
            _ => None,
        }
    }

    #[test]
    fn values_expand() {
        for (written, value) in [
            ("plain", "plain"),
            ("${PORT}", "3000"),
            ("0.0.0.0:${PORT:-1}", "0.0.0.0:3000"),
            ("0.0.0.0:${UNSET:-1}", "0.0.0.0:1"),
            ("${W}ms", "60000ms"),
            ("${PORT}${W}", "300060000"),
            ("a${EMPTY}b", "ab"),
            ("${EMPTY:-x}", "x"),
            ("${UNSET:-}", ""),
            ("${UNSET:-${PORT}}", "3000"),
            ("${UNSET:-${ALSO_UNSET:-deep}}!", "deep!"),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${TRICK}", "${PORT}"),
            ("$${PORT}", "${PORT}"),
            ("$$${PORT}", "$${PORT}"),
            ("cost $5", "cost $5"),
            ("${PORT}}", "3000}"),
            ("ü${PORT}ü", "ü3000ü"),
        ] {
            assert_eq!(expand(written, &lookup).as_deref(), Ok(value), "{written}");
        }
    }

    #[test]
    fn wrong_variables_are_named() {
        for (written, message) in [
            ("${UNSET}", "the environment variable `UNSET` is not set; set it, or write `${UNSET:-default}`"),
            ("x${PORT", "`${PORT` has no closing `}`; write `$${` for the characters themselves"),
            ("${}", "`${}` is not a variable; write `${NAME}` or `${NAME:-default}`"),
            ("${1X}", "`${1X}` is not a variable; write `${NAME}` or `${NAME:-default}`"),
            ("${PORT-1}", "`${PORT-1}` is not a variable; write `${NAME}` or `${NAME:-default}`"),
            ("${a b}", "`${a b}` is not a variable; write `${NAME}` or `${NAME:-default}`"),
        ] {
            assert_eq!(expand(written, &lookup), Err(message.to_owned()), "{written}");
        }
        let nested = format!("{}x{}", "${U:-".repeat(20), "}".repeat(20));
        assert_eq!(expand(&nested, &lookup), Err("the defaults of `U` are nested too deeply".into()));
    }
}
