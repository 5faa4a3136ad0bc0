//! `Snapshot::compile`: configuration and schema become what runs, or every problem is told at once.

mod auth;
mod builtin;
mod cache;
mod demands;
mod moot;
mod names;
mod notes;
mod own_paths;
mod rpc;
mod tls;
mod token_endpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tonic_reflection::pb::{v1, v1alpha};
use transom_transcode::plan::{BindPlan, OutPlan};
use transom_transcode::router::RouterBuilder;
use transom_transcode::schema::{self, HttpRule, Method, Schema, Service};
use transom_transcode::template::Template;
use transom_transcode::validate;

use self::rpc::Flaw;
use self::tls::Certificates;
use super::cached::Caches;
use super::caller::Judge;
use super::canary::Canary;
use super::reflection::Reflection;
use super::renewal::Renewal;
use super::route::{Action, Binding, Route, Rpc};
use super::rules::Rules;
use super::settings::Origin;
use super::snapshot::{Serving, Snapshot};
use crate::config::{self, Config, Expose, PublicEndpoint};
use crate::policy::auth::{Auth, SessionIssuer};
use crate::policy::burst::BurstGuard;
use crate::policy::cors::Cors;
use crate::policy::overload::Places;
use crate::sources::Problem;
use crate::telemetry::{Logged, Metrics};
use crate::upstream::Upstream;

/// JSON is longer than the protobuf that it says; an answer may be this many times `limits.receive`.
const JSON_GROWTH: usize = 8;

/// The option by which a service names its upstream.
const UPSTREAM: &str = "(transom.service).upstream";

impl Snapshot {
    /// Builds what runs. Endpoints of `previous` that stay are kept, connections and all; until the upstreams are enacted
    /// nothing that runs changes.
    ///
    /// # Errors
    /// Every problem of the configuration's references into the schema, of the HTTP rules, and between them.
    pub fn compile(
        config: &Arc<Config>,
        schema: impl Into<Arc<Schema>>,
        metrics: &Arc<Metrics>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        Self::compile_of(config, (schema.into(), true), metrics, previous)
    }

    /// What is wrong with a part of a schema, whatever the rest of it says: what configuration, or an option, names may be there.
    pub fn flaws_of_part(config: &Arc<Config>, part: Schema) -> Vec<Problem> {
        let compiled = Self::compile_of(config, (part.into(), false), &Metrics::new(), None);
        let mut found = compiled.err().unwrap_or_default();
        found.retain(|problem| matches!(problem, Problem::Schema(_)));
        found
    }

    /// A schema, and whether it is whole.
    fn compile_of(
        config: &Arc<Config>,
        (schema, whole): (Arc<Schema>, bool),
        metrics: &Arc<Metrics>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        let validation = Arc::new(validate::Rules::compile(&schema));
        let mut problems = Vec::new();
        let certificates = Certificates::compile(config, previous, &mut problems);
        let notes = [certificates.warnings(Timestamp::now()), moot::notes(config)].concat();
        let upstreams = upstreams(config, metrics, previous, &certificates);
        let canaries = Canary::of(config);
        let mut compiler = Compiler {
            config,
            schema: &schema,
            validation,
            standard: None,
            metrics,
            upstreams: &upstreams,
            canaries,
            auth: None,
            judge: None,
            issuer: None,
            renewing: None,
            renewal: None,
            places: Places::compile(config, metrics, previous.map(|previous| &previous.places)),
            serving: BTreeMap::new(),
            notes,
            unreflected: BTreeSet::new(),
            flawed: BTreeSet::new(),
            caches: Caches::of(config, previous),
            version: OnceLock::new(),
            rest: RouterBuilder::new(),
            rpcs: hashbrown::HashMap::default(),
            routes: Vec::new(),
            problems,
        };
        let rules = Rules::of(config);
        compiler.assign_services();
        compiler.check_method_keys();
        compiler.check_selectors(&rules);
        compiler.check_headers();
        compiler.compile_auth(previous);
        compiler.note_proxies();
        compiler.builtins();
        compiler.token_endpoints();
        for service in &schema.services {
            compiler.service(service, &rules);
        }
        compiler.own_paths();
        compiler.note_unexposed();
        if whole {
            compiler.link_caches();
        }
        let Compiler {
            auth, places, caches, serving: services, notes, unreflected, rest, rpcs, routes, problems, ..
        } = compiler;
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|problem| problem.located(config, &config.folder)).collect());
        }
        let (rest, tls) = (rest.build(), certificates.own);
        let reflection = reflection(config, &schema, &routes);
        let cors = Cors::compile(&config.cors).map(Arc::new);
        let kept = previous.and_then(|previous| previous.burst_guard.as_ref());
        let burst_guard = BurstGuard::compile(config, metrics, kept);
        let shared = cors.is_some() || rpcs.values().any(|route| route.is_shared());
        let config = config.clone();
        Ok(Self {
            config,
            schema,
            auth,
            tls,
            caches,
            upstreams,
            services,
            notes,
            unreflected,
            reflection,
            burst_guard,
            places,
            cors,
            shared,
            rest,
            rpcs,
            routes,
        })
    }
}

/// What is wrong with the files that a configuration names beside its schemas: all that is certain without those.
pub fn check_files(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    Certificates::compile(config, None, &mut problems);
    let keys = config.auth.as_ref().map(|auth| Auth::compile(auth, &config.folder, &Metrics::new(), None));
    for (key, message) in keys.and_then(Result::err).unwrap_or_default() {
        problems.push(Problem::of(config, format!("auth.{key}"), message));
    }
    problems
}

fn upstreams(
    config: &Config,
    metrics: &Arc<Metrics>,
    previous: Option<&Snapshot>,
    certificates: &Certificates,
) -> BTreeMap<String, Arc<Upstream>> {
    let compile = |name: &str, written: &config::Upstream| {
        let tls = certificates.upstreams.get(name).cloned();
        match previous.and_then(|previous| previous.upstreams.get(name)) {
            Some(kept) if kept.config() == written && kept.has_tls(tls.as_ref()) => kept.clone(),
            Some(before) => before.recompile(written, tls, metrics),
            None => Upstream::compile_with(name, written, tls, metrics),
        }
    };
    let mut all: BTreeMap<_, _> =
        config.upstreams.iter().map(|(name, written)| (name.clone(), compile(name, written))).collect();
    for (name, written) in &config.upstreams {
        let canary = written.canary.as_ref().and_then(|canary| all.get(&canary.upstream)).cloned();
        if let (Some(upstream), Some(canary)) = (all.get_mut(name), canary) {
            *upstream = upstream.with_canary(&canary);
        }
    }
    all
}

/// What server reflection answers, where it is public.
fn reflection(config: &Config, schema: &Schema, routes: &[Arc<Route>]) -> Option<Reflection> {
    let public = |endpoint| config.public_endpoints.contains(&endpoint);
    let mut builtin = vec![v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET];
    if public(PublicEndpoint::Health) {
        builtin.push(tonic_health::pb::FILE_DESCRIPTOR_SET);
    }
    let exposed = routes.iter().filter_map(|route| route.rpc.split_once('/')).map(|(service, _)| service).collect();
    public(PublicEndpoint::Reflection).then(|| Reflection::compile(schema, &exposed, &builtin))
}

struct Compiler<'a> {
    config: &'a Config,
    schema: &'a Arc<Schema>,
    /// What the schema says that messages must be.
    validation: Arc<validate::Rules>,
    /// The same without CEL, once a method wants that.
    standard: Option<Arc<validate::Rules>>,
    metrics: &'a Metrics,
    upstreams: &'a BTreeMap<String, Arc<Upstream>>,
    /// By the upstream that they are a canary of.
    canaries: BTreeMap<&'a str, Arc<Canary>>,
    auth: Option<Arc<Auth>>,
    judge: Option<Arc<Judge>>,
    /// What signs tokens of the gateway's own; how tokens are renewed for who asks for it or logs out, and for all calls.
    issuer: Option<Arc<SessionIssuer>>,
    renewing: Option<Arc<Renewal>>,
    renewal: Option<Arc<Renewal>>,
    places: Arc<Places>,
    caches: Caches,
    /// Stands for the schema, where replies are kept.
    version: OnceLock<[u8; 32]>,
    serving: BTreeMap<Box<str>, Serving>,
    notes: Vec<String>,
    unreflected: BTreeSet<String>,
    /// RPCs that cannot be served as they are wished to be: that they are not there is no other problem.
    flawed: BTreeSet<Box<str>>,
    rest: RouterBuilder<Arc<Route>>,
    rpcs: hashbrown::HashMap<Box<str>, Arc<Route>, foldhash::fast::RandomState>,
    routes: Vec<Arc<Route>>,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    /// Which upstream serves which service: what `services` says, then what the services say themselves.
    fn assign_services(&mut self) {
        for (name, upstream) in &self.config.upstreams {
            for (at, service) in upstream.services.iter().enumerate() {
                let path = format!("{}[{at}]", config::place(&["upstreams", name, "services"]));
                let known = self.schema.services.iter().any(|known| *known.name == **service);
                if !known && self.config.schema.reflection.contains(name) {
                    self.notes.push(format!("{path}: `{service}` is not served until `{name}` reflects it"));
                    self.unreflected.insert(name.clone());
                } else if !known {
                    let names = self.schema.services.iter().map(|known| &*known.name);
                    self.unknown(path.clone(), "service", service, names);
                }
                let serving = Serving { upstream: name.as_str().into(), from: Origin::Written(path.into()) };
                self.serving.insert(service.as_str().into(), serving);
            }
        }
        for service in &self.schema.services {
            let upstream = &service.policy.upstream;
            // Who answers a call is not for a server to say.
            if upstream.is_empty() || service.reflected || self.serving.contains_key(&service.name) {
                continue;
            }
            let from = Origin::option(&service.file, &service.name, UPSTREAM);
            if self.config.upstreams.contains_key(&**upstream) {
                self.serving.insert(service.name.clone(), Serving { upstream: upstream.clone(), from });
            } else {
                let names = self.config.upstreams.keys().map(String::as_str);
                let hint = match config::nearest(upstream, names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "add it under `upstreams` to serve this".to_owned(),
                };
                self.notes.push(format!("{from} names `{upstream}`, which no upstream is called; {hint}"));
            }
        }
        self.note_unserved();
        for name in self.config.upstreams.keys() {
            let is_canary = self.config.upstreams.values().filter_map(|upstream| upstream.canary.as_ref());
            let is_canary = is_canary.map(|canary| &canary.upstream).any(|upstream| upstream == name);
            if !is_canary && !self.serving.values().any(|serving| *serving.upstream == **name) {
                let path = config::place(&["upstreams", name]);
                self.notes.push(format!(
                    "{path} serves nothing: name its `services`, or say `option {UPSTREAM} = \"{name}\"` in theirs"
                ));
            }
        }
    }

    /// The routes of a service. Its rules are checked also where no upstream serves it.
    fn service(&mut self, service: &'a Service, rules: &Rules<'_>) {
        let upstream = self.serving.get(&service.name).and_then(|serving| self.upstreams.get(&*serving.upstream));
        for method in &service.methods {
            let (http, rule) = rules.for_method(service, method);
            let place = Place { service, method, rule: &rule };
            let plans: Vec<_> = http.iter().filter_map(|rule| self.plan(&place, rule)).collect();
            let Some(upstream) = upstream else { continue };
            let path = format!("/{}/{}", service.name, method.name);
            // Built-in services win over an upstream's own.
            if !self.exposed(service, method, !http.is_empty()) || self.rpcs.contains_key(path.as_str()) {
                continue;
            }
            let by_get = http.iter().any(|rule| &*rule.method == "GET");
            match self.rpc(upstream, service, method, (&path, by_get)) {
                Ok(rpc) => self.routes_of(&rpc, &place, path, plans),
                Err(flaws) => {
                    self.flawed.insert(path[1..].into());
                    for Flaw { place: written, why } in flaws {
                        match written {
                            Some(written) => self.config_problem(written.into(), why),
                            None => self.rule_problem(&place, None, why),
                        }
                    }
                }
            }
        }
    }

    fn exposed(&self, service: &Service, method: &Method, has_rule: bool) -> bool {
        match self.config.schema.expose {
            Expose::All => true,
            Expose::Annotated => {
                has_rule || self.config.methods.contains_key(&format!("{}/{}", service.name, method.name))
            }
        }
    }

    /// The RPC's own route and that of each of its bindings.
    fn routes_of(&mut self, rpc: &Arc<Rpc>, place: &Place<'_>, path: String, plans: Vec<Plan<'_>>) {
        let Place { service, method, rule: written } = place;
        let unannotated = plans.is_empty();
        for Plan { rule, template, mut bind, mut out } in plans {
            bind.unknown = rpc.settings.unknown_fields.value;
            out.options = rpc.settings.output();
            let route = Arc::new(Route {
                method: rule.method.clone(),
                template: rule.template.clone(),
                rpc: rpc.name.clone(),
                own_path: false,
                logged: Logged::new(&rule.template, &rpc.name),
                metrics: self.metrics.route(&service.name, &method.name, &rule.template),
                action: Action::Call(Binding::new(rpc, bind, out, (*written).clone())),
            });
            match self.rest.insert(&rule.method, &template, route.clone()) {
                Ok(()) => self.routes.push(route),
                Err(conflict) => {
                    let other = self.rest.route(conflict.with);
                    let other = if other.rpc.is_empty() { "the gateway's own endpoint" } else { &other.rpc };
                    let why = format!(
                        "{} {} matches the same requests as {other}: change one of the two",
                        rule.method, rule.template
                    );
                    self.rule_problem(place, None, why);
                }
            }
        }
        let mut bind = BindPlan::whole(method.input);
        bind.unknown = rpc.settings.unknown_fields.value;
        let out = OutPlan::whole(method.output, rpc.settings.output());
        let route = Arc::new(Route {
            method: if unannotated { "".into() } else { "POST".into() },
            template: path.as_str().into(),
            rpc: rpc.name.clone(),
            own_path: true,
            logged: Logged::new(&path, &rpc.name),
            metrics: self.metrics.route(&service.name, &method.name, &path),
            action: Action::Call(Binding::new(rpc, bind, out, Origin::Default)),
        });
        if unannotated {
            self.routes.push(route.clone());
        }
        self.rpcs.insert(path.into(), route);
    }

    /// A rule's template and plans, or its problem.
    fn plan<'r>(&mut self, place: &Place<'_>, rule: &'r HttpRule) -> Option<Plan<'r>> {
        let method = place.method;
        let template = match Template::parse(&rule.template) {
            Ok(template) => template,
            Err(error) => {
                self.rule_problem(place, Some(error.column), error.message);
                return None;
            }
        };
        let unknown = transom_transcode::plan::Unknown::default();
        let options = transom_transcode::plan::OutOptions::default();
        let bind = BindPlan::compile(self.schema, method.input, &template, rule, unknown);
        let out = OutPlan::compile(self.schema, method.output, &rule.response_body, options);
        match (bind, out) {
            (Ok(bind), Ok(out)) => Some(Plan { rule, template, bind, out }),
            (bind, out) => {
                let bind = bind.err().into_iter().flatten().map(|why| (why.column, why.message));
                for (column, why) in bind.chain(out.err().map(|why| (None, why))) {
                    self.rule_problem(place, column, format!("{} {}: {why}", rule.method, rule.template));
                }
                None
            }
        }
    }

    fn unknown<'n>(&mut self, path: String, what: &str, written: &str, names: impl Iterator<Item = &'n str>) {
        let hint = match config::nearest(written, names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "add its descriptors under `schema`, or remove it".to_owned(),
        };
        self.config_problem(path, format!("no loaded schema has the {what} `{written}`; {hint}"));
    }

    fn config_problem(&mut self, path: String, message: String) {
        self.problem(Problem::of(self.config, path, message));
    }

    /// A problem, once: a method that others are asked by is compiled for them too.
    fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// What is no problem and may still surprise, once.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A problem of a rule, where that is written: in configuration or in the schema.
    fn rule_problem(&mut self, place: &Place<'_>, column: Option<usize>, why: String) {
        let Place { service, method, rule } = place;
        if let Origin::Written(path) = rule {
            let column = column.map_or_else(String::new, |column| format!(" (column {column} of the template)"));
            return self.config_problem(path.to_string(), format!("{why}{column}"));
        }
        let symbol = format!("{}.{}", service.name, method.name);
        let mut problem = schema::Problem::new(&*service.file, symbol, why);
        problem.column = column;
        self.problems.push(Problem::Schema(problem));
    }
}

/// A method, and where its rules are written.
struct Place<'a> {
    service: &'a Service,
    method: &'a Method,
    rule: &'a Origin,
}

/// An HTTP rule, understood.
struct Plan<'r> {
    rule: &'r HttpRule,
    template: Template,
    bind: BindPlan,
    out: OutPlan,
}
