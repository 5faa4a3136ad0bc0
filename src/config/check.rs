//! What must hold between keys.

mod upstreams;

use std::collections::{BTreeMap, HashMap};

use super::problem::quote;
use super::read::{Reader, nearest};
use super::units;
use super::{Access, Algorithm, Auth, Balance, By, Config, HashBy, Jwt, Normalize, Requirements, Subset, TokenSource};

/// Tells what no key alone can know.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    ports(config, reader);
    tls(config, reader);
    sources(config, reader);
    reflection(config, reader);
    upstreams::check(config, reader);
    aims(config, reader);
    rate_limits(config, reader);
    connect_tokens(config, reader);
    cors(config, reader);
    http_rules(config, reader);
    match &config.auth {
        Some(auth) => {
            verification(auth, reader);
            unissued(config, auth, reader);
        }
        None => unverified(config, reader),
    }
    sessions(config, reader);
    vault(config, reader);
}

fn vault(config: &Config, reader: &mut Reader) {
    let Some(vault) = &config.secrets.vault else {
        for (text, line, path) in std::mem::take(&mut reader.in_vault) {
            let message = format!("{} needs `secrets.vault`, which says where that is", quote(&text));
            reader.problems.push(line, path, message);
        }
        return;
    };
    let proofs = [vault.token.is_some(), vault.app_role.is_some(), vault.kubernetes.is_some()];
    if proofs.iter().filter(|proof| **proof).count() != 1 {
        let line = reader.line(&["secrets.vault", "secrets"]);
        let message = "write exactly one of `token`, `app_role` and `kubernetes`".to_owned();
        reader.problems.push(line, "secrets.vault".to_owned(), message);
    }
}

fn ports(config: &Config, reader: &mut Reader) {
    let (listen, admin) = (config.listen, config.admin.listen);
    let same_host = listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
    if listen.port() == admin.port() && listen.port() != 0 && same_host && listen.is_ipv4() == admin.is_ipv4() {
        let line = reader.line(&["admin.listen", "listen"]);
        let message = format!("is the port of `listen` too ({listen}); choose another");
        reader.problems.push(line, "admin.listen".to_owned(), message);
    }
}

fn tls(config: &Config, reader: &mut Reader) {
    let mut wrong = |keys: &[&str], message: String| {
        let line = reader.line(keys);
        reader.problems.push(line, keys[0].to_owned(), message);
    };
    if let Some(from) = config.tls.as_ref().and_then(|tls| tls.redirect_from) {
        if config.hosts.is_empty() {
            let message = "needs to know where to; write `hosts: [api.example.com]`".to_owned();
            wrong(&["tls.redirect_from"], message);
        }
        for (key, other) in [("listen", config.listen), ("admin.listen", config.admin.listen)] {
            if from.port() == other.port() && from.port() != 0 {
                wrong(&["tls.redirect_from"], format!("is the port of `{key}` too ({other}); choose another"));
            }
        }
    }
    for (name, upstream) in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        for (given, missing) in [(("cert", &tls.cert), ("key", &tls.key)), (("key", &tls.key), ("cert", &tls.cert))] {
            if given.1.is_some() && missing.1.is_none() {
                let path = super::place(&["upstreams", name, "tls", given.0]);
                wrong(&[&path], format!("is of no use alone; write its `{}` too", missing.0));
            }
        }
    }
}

fn sources(config: &Config, reader: &mut Reader) {
    let given = ["schema.protos", "schema.descriptor_sets", "schema.reflection"]
        .iter()
        .any(|key| reader.lines.contains_key(*key));
    if config.schema.protos.is_empty() && config.schema.descriptor_sets.is_empty() && !given {
        let line = reader.line(&["schema"]);
        reader.at_key("schema", |reader| {
            reader.tell(line, "names no source; write `descriptor_sets: [api.binpb]` or `protos: [proto]`");
        });
    }
}

fn reflection(config: &Config, reader: &mut Reader) {
    for (index, name) in config.schema.reflection.iter().enumerate() {
        let message = match config.upstreams.get(name) {
            None => match nearest(name, config.upstreams.keys().map(String::as_str)) {
                Some(known) => format!("no upstream is called {}; did you mean `{known}`?", quote(name)),
                None => format!("no upstream is called {}; write the name of one under `upstreams`", quote(name)),
            },
            Some(upstream) if upstream.services.is_empty() => {
                format!("only services that are assigned count; write those of `{name}` in `upstreams.{name}.services`")
            }
            Some(upstream) if upstream.endpoints.iter().all(|endpoint| endpoint.place.host().is_none()) => {
                format!(
                    "`{name}` can be asked only at an address or a host name; write one in `upstreams.{name}.endpoints` too"
                )
            }
            Some(_) => continue,
        };
        let path = format!("schema.reflection[{index}]");
        let line = reader.line(&[&path, "schema.reflection"]);
        reader.problems.push(line, path, message);
    }
}

/// A canary is another upstream, and who asks for a subset says which.
fn aims(config: &Config, reader: &mut Reader) {
    for (name, upstream) in &config.upstreams {
        let path = super::place(&["upstreams", name]);
        let unread = ["share", "header"].map(|key| format!("{path}.canary.{key}"));
        let unread = unread.iter().any(|key| reader.problems.within(key));
        let mut tell = |key: &str, message: String| {
            let place = format!("{path}.{key}");
            let line = reader.line(&[&place, &path]);
            reader.problems.push(line, place, message);
        };
        if let Some(subset) = &upstream.subset
            && subset.header.is_none()
            && subset.default.is_none()
        {
            tell("subset", "leaves open which; write `header: x-version`, `default: v1` or both".to_owned());
        }
        let Some(canary) = &upstream.canary else { continue };
        match config.upstreams.get(&canary.upstream) {
            None => {
                let hint = match nearest(&canary.upstream, config.upstreams.keys().map(String::as_str)) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "write the name of one under `upstreams`".to_owned(),
                };
                tell("canary.upstream", format!("no upstream is called {}; {hint}", quote(&canary.upstream)));
            }
            Some(_) if canary.upstream == *name => {
                tell("canary.upstream", "is the upstream itself; write another's name".to_owned());
            }
            Some(other) if other.canary.is_some() => {
                tell(
                    "canary.upstream",
                    "has a canary too: calls are passed on once; name that one, or remove it".to_owned(),
                );
            }
            Some(other) => {
                let asks = |subset: &Subset| (subset.header.clone(), subset.default.clone());
                if other.subset.is_some() && other.subset.as_ref().map(asks) != upstream.subset.as_ref().map(asks) {
                    tell(
                        "canary.upstream",
                        "has a `subset` that these calls do not ask for; write one of the same `header` and `default`"
                            .to_owned(),
                    );
                }
                if matches!(other.balance, Balance::Hash(_)) && other.balance != upstream.balance {
                    tell(
                        "canary.upstream",
                        "balances by a `hash` that these calls do not have; write the same".to_owned(),
                    );
                }
            }
        }
        if canary.share.0 == 0 && canary.header.is_none() && !unread {
            tell("canary", "gets no calls; write `share: 5%` or `header: x-canary`".to_owned());
        }
        if canary.value.is_some() && canary.header.is_none() {
            tell("canary.value", "is of no use without `header`".to_owned());
        }
    }
}

/// Every limit that a method names is there.
fn rate_limits(config: &Config, reader: &mut Reader) {
    for (name, limit) in &config.rate_limits {
        if let Some(penalty) = limit.penalty.as_ref().filter(|penalty| penalty.max < penalty.double) {
            let path = super::place(&["rate_limits", name, "penalty", "max"]);
            let line = reader.line(&[&path]);
            let (max, double) = (units::write(penalty.max), units::write(penalty.double));
            let message = format!("`{max}` is shorter than the first time, `double: {double}`; write as much or more");
            reader.problems.push(line, path, message);
        }
        if limit.by == By::Client && limit.normalize != Normalize::None {
            let path = super::place(&["rate_limits", name, "normalize"]);
            let line = reader.line(&[&path]);
            let message = "an address is written in one way; remove this, or count by something else".to_owned();
            reader.problems.push(line, path, message);
        }
    }
    for (method, policy) in &config.methods {
        let path = super::place(&["methods", method, "rate_limits"]);
        for (index, name) in policy.rate_limits.iter().flatten().enumerate() {
            if config.rate_limits.contains_key(name) {
                continue;
            }
            let hint = match nearest(name, config.rate_limits.keys().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "write it there, or remove it".to_owned(),
            };
            let line = reader.line(&[&format!("{path}[{index}]"), &path]);
            reader.problems.push(line, format!("{path}[{index}]"), format!("`rate_limits` has no `{name}`; {hint}"));
        }
    }
}

/// Tokens that open WebSockets are somebody's, and methods ask for those that there are.
fn connect_tokens(config: &Config, reader: &mut Reader) {
    let mut tell = |keys: &[&str], path: String, message: String| {
        let line = reader.line(&[&[path.as_str()], keys].concat());
        reader.problems.push(line, path, message);
    };
    let known = config.auth.as_ref().map(|auth| &auth.connect_tokens);
    for (method, policy) in &config.methods {
        let Some(Access::Required(Requirements { connect_token: Some(name), .. })) = &policy.auth else { continue };
        if known.is_some_and(|known| known.contains_key(name)) {
            continue;
        }
        let hint = match nearest(name, known.iter().flat_map(|known| known.keys().map(String::as_str))) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write it there".to_owned(),
        };
        let path = super::place(&["methods", method, "auth", "connect_token"]);
        tell(&[], path, format!("`auth.connect_tokens` has no `{name}`; {hint}"));
    }
    let Some(auth) = &config.auth else { return };
    for (name, written) in &auth.connect_tokens {
        let path = super::place(&["auth", "connect_tokens", name]);
        if written.parts().is_none() {
            tell(&[&path], format!("{path}.response"), "has not the text `{token}` once; write it there".to_owned());
        }
        // Where no issuer has a key nobody passes, and a note says so: a variable may be empty here and set there.
        let keyless = !auth.jwt.is_empty() && auth.jwt.iter().all(|jwt| jwt.key.is_none() && jwt.jwks.is_none());
        if written.secret.is_none() && auth.jwt.iter().all(|jwt| jwt.secret.is_none()) && !keyless {
            let message = "there is no `auth.jwt.secret` to sign them with; write one here";
            tell(&[&path], format!("{path}.secret"), message.to_owned());
        }
        if auth.token_type.accepted.contains(name) {
            let message = "is a type of access tokens, as `auth.token_type.accepted` has it; choose another";
            tell(&[], path.clone(), message.to_owned());
        }
        if name == auth.token_type.own() || name == "refresh" {
            let message = "is a type of the gateway's own tokens; choose another";
            tell(&[], path.clone(), message.to_owned());
        }
        for limit in written.rate_limits.iter().flatten().filter(|name| !config.rate_limits.contains_key(*name)) {
            tell(&[&path], format!("{path}.rate_limits"), format!("`rate_limits` has no `{limit}`"));
        }
    }
}

/// No `*` where cookies come with the calls, however entries are combined.
fn cors(config: &Config, reader: &mut Reader) {
    let top = (vec!["cors".to_owned()], config.cors.clone());
    let methods = config.methods.iter().map(|(name, method)| {
        let of_service = name.rsplit_once('/').map(|(service, _)| format!("{service}/*")).filter(|all| all != name);
        let all = of_service.as_ref().and_then(|all| Some((all, config.methods.get(all)?)));
        let mut merged = method.cors.clone();
        let mut places = vec![super::place(&["methods", name, "cors"])];
        if let Some((name, all)) = all {
            merged = merged.over(&all.cors);
            places.push(super::place(&["methods", name, "cors"]));
        }
        places.push("cors".to_owned());
        (places, merged.over(&config.cors))
    });
    let mut told = BTreeMap::new();
    for (places, cors) in std::iter::once(top).chain(methods) {
        let Some(key) = cors.conflict() else { continue };
        let paths: Vec<_> = places.iter().map(|place| format!("{place}.{key}")).collect();
        // Once, where it is written.
        if let Some((path, line)) = paths.iter().find_map(|path| reader.lines.get_key_value(path)) {
            told.insert(path.clone(), *line);
        }
    }
    for (path, line) in told {
        let message =
            "holds `*`, which browsers do not honour with `credentials: true`; write names, or leave that out";
        reader.problems.push(line, path, message.to_owned());
    }
}

fn http_rules(config: &Config, reader: &mut Reader) {
    const PATTERNS: &str = "`get`, `put`, `post`, `delete`, `patch` and `custom`";
    fn tell(reader: &mut Reader, path: String, message: String) {
        let line = reader.line(&[&path]);
        reader.problems.push(line, path, message);
    }
    let mut selected = HashMap::new();
    for (index, rule) in config.schema.http_rules.iter().enumerate() {
        let path = format!("schema.http_rules[{index}]");
        if rule.selector.is_empty() {
            // That is told already.
            continue;
        }
        if let Some(first) = selected.insert(&*rule.selector, index) {
            let message =
                format!("`schema.http_rules[{first}]` is for this method too; write `additional_bindings` there");
            tell(reader, format!("{path}.selector"), message);
        }
        let more = rule.additional_bindings.iter().enumerate();
        let more = more.map(|(at, rule)| (format!("{path}.additional_bindings[{at}]"), rule.patterns().len()));
        for (path, patterns) in [(path.clone(), rule.patterns().len())].into_iter().chain(more) {
            // One that cannot be read is one.
            if patterns != 1 && !reader.problems.within(&path) {
                tell(reader, path, format!("has {patterns} patterns; write exactly one of {PATTERNS}"));
            }
        }
    }
}

/// Tokens are verified in one way, and each issuer has one key.
fn verification(auth: &Auth, reader: &mut Reader) {
    let mut tell = |path: &str, message: &str| {
        let line = reader.line(&[path, "auth"]);
        reader.problems.push(line, path.to_owned(), message.to_owned());
    };
    match (auth.jwt.is_empty(), &auth.verify) {
        (true, None) => tell("auth", "says not how tokens are verified; write `jwt` or `verify`"),
        (false, Some(_)) => tell("auth.verify", "tokens are verified by `auth.jwt` already; keep one of the two"),
        (true, Some(verify)) if verify.rpc.is_some() == verify.url.is_some() => {
            tell("auth.verify", "write either `rpc` or `url`");
        }
        _ => {}
    }
    if auth.jwt.len() > MOST_ISSUERS {
        tell("auth.jwt", "has more than 16 issuers");
    }
    let listed = reader.lines.contains_key("auth.jwt[0]");
    for (index, jwt) in auth.jwt.iter().enumerate() {
        let path = if listed { format!("auth.jwt[{index}]") } else { "auth.jwt".to_owned() };
        if let Err(message) = one_key(jwt) {
            let line = reader.line(&[&path, "auth"]);
            reader.problems.push(line, path, message.to_owned());
        }
    }
}

/// No method asks for tokens that no issuer lets in: nobody would ever pass.
fn unissued(config: &Config, auth: &Auth, reader: &mut Reader) {
    if auth.jwt.is_empty() {
        return;
    }
    let issued = |issuer: &String| auth.jwt.iter().any(|jwt| jwt.issuer.is_empty() || jwt.issuer.contains(issuer));
    let meant = |audience: &String| auth.jwt.iter().any(|jwt| jwt.audience.contains(audience));
    for (method, policy) in &config.methods {
        let Some(Access::Required(asked)) = &policy.auth else { continue };
        let issuer = asked.issuer.iter().find(|issuer| !issued(issuer)).map(|name| ("issuer", "of", name));
        let audience = asked.audience.iter().find(|audience| !meant(audience)).map(|name| ("audience", "for", name));
        for (key, by, name) in issuer.into_iter().chain(audience) {
            let path = super::place(&["methods", method, "auth", key]);
            let line = reader.line(&[&path]);
            let message = format!("no `auth.jwt` takes tokens {by} {}; write it there, as `{key}`", quote(name));
            reader.problems.push(line, path, message);
        }
    }
}

/// Each is tried for a token that does not say whose it is.
const MOST_ISSUERS: usize = 16;

/// A secret signs by HMAC and a public key never does: who mixes them lets anyone sign with what is public.
fn one_key(jwt: &Jwt) -> Result<(), &'static str> {
    let hmac = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512);
    match (&jwt.secret, &jwt.key, &jwt.jwks) {
        (Some(_), None, None) if jwt.algorithms.iter().all(hmac) => Ok(()),
        (Some(_), None, None) => Err("a secret is of HS256, HS384 or HS512; write the others for a `key` or `jwks`"),
        (None, Some(_), None) | (None, None, Some(_)) if !jwt.algorithms.iter().any(hmac) => Ok(()),
        (None, Some(_), None) | (None, None, Some(_)) => {
            Err("HS256, HS384 and HS512 are of a `secret`; a public key is known to everyone")
        }
        // Nobody passes, and a note says so: a variable may be empty here and set there.
        (None, None, None) => Ok(()),
        _ => Err("write exactly one of `secret`, `key` and `jwks`; several keys are a list of issuers"),
    }
}

/// Without `auth` nothing can be asked of a caller.
fn unverified(config: &Config, reader: &mut Reader) {
    for (name, upstream) in &config.upstreams {
        if matches!(upstream.balance, Balance::Hash(HashBy::Claim(_))) {
            let path = super::place(&["upstreams", name, "balance"]);
            let line = reader.line(&[&path]);
            let message = "there are no claims; write an `auth` section, or go by something else".to_owned();
            reader.problems.push(line, path, message);
        }
    }
    for (name, limit) in &config.rate_limits {
        if matches!(limit.by, By::User | By::Claim(_)) {
            let path = super::place(&["rate_limits", name, "by"]);
            let line = reader.line(&[&path]);
            let message = "nobody can have a token; write an `auth` section, or `client`".to_owned();
            reader.problems.push(line, path, message);
        }
    }
    for (name, method) in &config.methods {
        let mut tell = |key: &str, message: &str| {
            let path = super::place(&["methods", name, key]);
            let line = reader.line(&[&path]);
            reader.problems.push(line, path, message.to_owned());
        };
        if matches!(method.auth, Some(Access::Required(_))) {
            tell("auth", "nobody can have a token; write an `auth` section");
        }
        if method.bind.as_ref().is_some_and(|bind| !bind.is_empty()) {
            tell("bind", "there are no claims; write an `auth` section");
        }
    }
}

/// Browsers take the cookies, and the gateway reads the one that opens things.
fn sessions(config: &Config, reader: &mut Reader) {
    let Some(sessions) = &config.sessions else { return };
    let unread = reader.problems.within("auth.jwt");
    let mut tell = |path: &str, message: String| {
        let line = reader.line(&[path, "sessions"]);
        reader.problems.push(line, path.to_owned(), message);
    };
    if let Some((path, message)) = sessions.flaw(&config.environment) {
        tell(path, message);
    }
    if let (Some(issue), Some(auth)) = (&sessions.issue, &config.auth) {
        let kind = &auth.token_type;
        let access = sessions.access_token.max_age;
        for (key, ends) in [("idle", issue.idle), ("absolute", issue.absolute)] {
            if ends <= access {
                let access = units::write(access);
                let message = format!(
                    "a session would end before its access token, which is good for {access}, and never be renewed; \
                     write more, or a shorter `sessions.access_token.max_age`"
                );
                tell(&format!("sessions.issue.{key}"), message);
            }
        }
        if auth.jwt.iter().all(|jwt| jwt.secret.is_none()) && !unread {
            tell("sessions.issue", "there is no `auth.jwt.secret` to sign tokens with".to_owned());
        }
        if issue.claims.contains_key(&kind.claim) {
            let message = format!("`{}` says of which type a token is; choose another name", kind.claim);
            tell("sessions.issue.claims", message);
        }
        if kind.refused.iter().any(|refused| refused == kind.own()) {
            let message = format!("`{}`, which the gateway's own access tokens are, is refused", kind.own());
            tell("auth.token_type.refused", message);
        }
        let own = ["sub", "sid", "auth_time", "jti", "iat", "exp"];
        let jwt = auth.jwt.iter().find(|jwt| jwt.secret.is_some());
        let says = |claim: &String| own.contains(&&**claim) || *claim == kind.claim || issue.claims.contains_key(claim);
        let missing = jwt.and_then(|jwt| jwt.required_claims.iter().find(|claim| !says(claim)));
        if let Some(missing) = missing {
            let message = format!("`auth.jwt.required_claims` asks for `{missing}`, which own tokens do not say");
            tell("sessions.issue.claims", message);
        }
    }
    let name = &sessions.access_token.cookie;
    let reads = |source: &TokenSource| matches!(source, TokenSource::Cookie(cookie) if cookie == name);
    if !config.auth.as_ref().is_some_and(|auth| auth.sources.iter().any(reads)) {
        let message = format!("`auth.sources` does not read it; write `{{cookie: {name}}}` there");
        tell("sessions.access_token.cookie", message);
    }
}
