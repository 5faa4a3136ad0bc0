//! From a file's name to a configuration and its schema, or to every problem as `file:line: path: message`.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use transom_transcode::schema::Schema;

use super::files::Files;
use crate::config::{self, Config, MAX_TEXT, Problems, Reading};
use crate::file;
use crate::gateway::{Problem, Snapshot, check_files};
use crate::secrets::{self, Kept};
use crate::sources::{self, Flawed, Reflections};
use crate::telemetry::Metrics;

/// Gives the environment's variables, or others in their place.
type Variables = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;
/// Gives what a configuration's `schema` names.
type Schemas = Box<dyn Fn(&Config) -> Result<Schema, Flawed> + Send + Sync>;

/// How long upstreams may take to say their schema before it goes on without, or with what they said last.
const PATIENCE: Duration = Duration::from_secs(3);

/// Stands for a secret while where it is kept is still to be read: long enough for any rule.
const STAND_IN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where a configuration comes from, as often as it is loaded.
pub struct Source {
    name: String,
    text: Text,
    variables: Variables,
    schemas: Schemas,
    reflections: Arc<Reflections>,
    secrets: Arc<Kept>,
}

enum Text {
    File(PathBuf),
    Fixed(&'static str),
}

/// What was loaded.
pub struct Loaded {
    /// What was written.
    pub config: Arc<Config>,
    /// What it names.
    pub schema: Schema,
    /// What is no problem and may still surprise, a line each.
    pub notes: Vec<String>,
}

impl Loaded {
    /// Compiles it; see [`Snapshot::compile`].
    ///
    /// # Errors
    /// Every problem.
    pub fn compile(self, metrics: &Arc<Metrics>, previous: Option<&Snapshot>) -> Result<Snapshot, Vec<Problem>> {
        let mut snapshot = Snapshot::compile(&self.config, self.schema, metrics, previous)?;
        snapshot.notes.extend(self.notes);
        Ok(snapshot)
    }
}

/// What loading brought.
pub struct Load {
    /// Every file it depends on, as it was just before it was read; none if the configuration itself cannot be read.
    pub files: Option<Files>,
    /// What was loaded, or a line for every problem.
    pub outcome: Result<Loaded, Vec<String>>,
    /// Something outside did not answer, and nothing else is wrong: the same may load in a moment.
    pub passes: bool,
}

impl Source {
    /// A file, with the environment's variables; relative paths in it start at its folder.
    pub fn file(path: &Path) -> Self {
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        let folder = base.clone();
        let reflections = Arc::<Reflections>::default();
        let said = Arc::clone(&reflections);
        Self {
            name: path.display().to_string(),
            text: Text::File(path.to_owned()),
            variables: with_files(folder, |name| env::var(name).ok()),
            schemas: Box::new(move |config| sources::load(config, &base, &said)),
            reflections,
            secrets: Arc::default(),
        }
    }

    /// A text of the program's own; `name` stands for it in problems. Files of secrets start at the working folder.
    pub fn fixed(
        name: &str,
        text: &'static str,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        schemas: impl Fn(&Config) -> Result<Schema, Flawed> + Send + Sync + 'static,
    ) -> Self {
        let (variables, schemas) = (with_files(PathBuf::new(), variables), Box::new(schemas));
        Self {
            name: name.to_owned(),
            text: Text::Fixed(text),
            variables,
            schemas,
            reflections: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// What stands for it in problems.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads everything. It blocks, and takes as long as compiling takes.
    pub fn load(&self) -> Load {
        let config = match self.config() {
            Ok(config) => config,
            Err(Unread { mut lines, flawed, passes }) => {
                if let Some(flawed) = flawed {
                    let (config, told) = *flawed;
                    lines.extend(self.beside(config, &told));
                }
                return Load { files: None, outcome: Err(lines), passes };
            }
        };
        let files = Files::read(self.paths(&config));
        let config = Arc::new(config);
        let outcome = self.ask(&config).and_then(|notes| match (self.schemas)(&config) {
            Ok(schema) => Ok(Loaded { config, schema, notes }),
            Err(flawed) => {
                let mut problems = certain(&config, flawed);
                problems.extend(check_files(&config));
                Err(lines(&self.name, &problems).into_iter().chain([self.more()]).collect())
            }
        });
        Load { files: Some(files), outcome, passes: false }
    }

    /// What else is wrong with a configuration that has problems: all that does not follow from them.
    fn beside(&self, config: Config, told: &Problems) -> Vec<String> {
        let mut found = check_files(&config);
        let config = Arc::new(config);
        let whole = match (self.schemas)(&config) {
            Err(flawed) => {
                found.extend(certain(&config, flawed));
                false
            }
            // Upstreams are not asked for what will not run.
            Ok(_) if !config.schema.reflection.is_empty() => false,
            Ok(schema) => {
                let compiled = Snapshot::compile(&config, schema, &Metrics::new(), None);
                let new = compiled.err().unwrap_or_default().into_iter();
                let new = new.filter(|problem| !found.contains(problem) && !is_told(problem, told));
                let (certain, others): (Vec<_>, Vec<_>) = new.partition(|problem| stands(problem, told));
                found.extend(certain);
                others.is_empty()
            }
        };
        let many = found.len();
        found.retain(|problem| !is_of(problem, told));
        let more = (!whole || found.len() < many).then(|| self.more());
        lines(&self.name, &found).into_iter().chain(more).collect()
    }

    /// Said where something could not be looked at.
    fn more(&self) -> String {
        format!("{}: more may follow once these are mended", self.name)
    }

    /// Asks upstreams for their schema, where configuration says so: a note for each that did not answer.
    fn ask(&self, config: &Config) -> Result<Vec<String>, Vec<String>> {
        if config.schema.reflection.is_empty() {
            return Ok(Vec::new());
        }
        wait(self.reflections.ask(config, PATIENCE)).map_err(|why| vec![why])
    }

    /// Hears from now on when an upstream that this configuration asks says another schema.
    pub fn follow(&self, config: &Config, changed: impl Fn(&str) + Clone + Send + Sync + 'static) {
        self.reflections.follow(config, changed);
    }

    /// Hears from now on when a secret that a Vault keeps is another.
    pub fn follow_secrets(&self, config: &Config, changed: impl Fn() + Send + 'static) {
        self.secrets.follow(config.secrets.vault.as_ref(), &config.folder, changed);
    }

    fn config(&self) -> Result<Config, Unread> {
        let read;
        let text = match &self.text {
            Text::Fixed(text) => text,
            Text::File(path) => {
                read = read_text(path).map_err(|why| Unread::from(vec![why]))?;
                &*read
            }
        };
        let unread = |name: &str| match name.starts_with("vault:") {
            true => Some(STAND_IN.to_owned()),
            false => (self.variables)(name),
        };
        let config = self.parse(text, &unread)?;
        let names: BTreeSet<_> =
            config.source.elsewhere().filter(|name| name.starts_with("vault:")).map(str::to_owned).collect();
        let Some(vault) = config.secrets.vault.as_ref().filter(|_| !names.is_empty()) else {
            self.secrets.clear();
            return Ok(config);
        };
        let kept = wait(self.secrets.read((vault, &config.folder), &names)).map_err(|why| Unread::from(vec![why]))?;
        let kept = kept.map_err(|secrets::Missing { lines, passes }| {
            let lines = lines.iter().map(|line| format!("{}: {line}", self.name)).collect();
            Unread { lines, flawed: None, passes }
        })?;
        self.parse(text, &|name| match kept.get(name) {
            Some(secret) => Some(secret.to_string()),
            None => (self.variables)(name),
        })
    }

    fn parse(&self, text: &str, lookup: config::Lookup<'_>) -> Result<Config, Unread> {
        let folder = Path::new(&*self.name).parent().unwrap_or(Path::new("")).to_owned();
        let Reading { config, problems } = Reading::of(text, lookup);
        match config.map(|config| Config { folder, ..config }) {
            Some(config) if problems.is_empty() => Ok(config),
            config => {
                let mut lines: Vec<_> = problems.iter().map(|problem| format!("{}:{problem}", self.name)).collect();
                if problems.more() > 0 {
                    lines.push(format!("{}: and {} more problems", self.name, problems.more()));
                }
                if config.is_none() {
                    lines.push(self.more());
                }
                Err(Unread { lines, flawed: config.map(|config| Box::new((config, problems))), passes: false })
            }
        }
    }

    /// The configuration's file and all that it names.
    pub(super) fn paths(&self, config: &Config) -> Vec<PathBuf> {
        let secrets = config.source.elsewhere().filter_map(|name| name.strip_prefix("file:")).map(Path::new);
        // What a text of the program's own names beside them is in the program.
        let Text::File(path) = &self.text else { return secrets.map(Path::to_owned).collect() };
        let base = path.parent().unwrap_or(Path::new(""));
        let named = config.schema.descriptor_sets.iter().chain(&config.schema.protos);
        let keys = config.auth.iter().flat_map(config::Auth::files);
        let own = config.tls.iter().flat_map(config::Tls::files);
        let services = config.upstreams.values().filter_map(|upstream| upstream.tls.as_ref());
        let certificates = own.chain(services.flat_map(config::UpstreamTls::files));
        let vault = config.secrets.vault.iter().filter_map(|vault| vault.ca.as_deref());
        let named = named.map(PathBuf::as_path).chain(keys).chain(certificates).chain(secrets).chain(vault);
        [path.clone()].into_iter().chain(named.map(|named| base.join(named))).collect()
    }
}

/// What is wrong with a schema's sources, and with what of them is sound.
fn certain(config: &Arc<Config>, flawed: Flawed) -> Vec<Problem> {
    let Flawed { mut problems, rest } = flawed;
    for problem in rest.map(|rest| Snapshot::flaws_of_part(config, *rest)).unwrap_or_default() {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

/// Why there is no configuration.
struct Unread {
    /// A line for each problem.
    lines: Vec<String>,
    /// What could be read of it all the same, and its problems.
    flawed: Option<Box<(Config, Problems)>>,
    /// What is wrong may be so only for a moment.
    passes: bool,
}

impl From<Vec<String>> for Unread {
    fn from(lines: Vec<String>) -> Self {
        Self { lines, flawed: None, passes: false }
    }
}

/// Whether a problem is of a place that has one already, or that is in such a place or around it.
fn is_of(problem: &Problem, told: &Problems) -> bool {
    let Problem::Config(problem) = problem else { return false };
    let is_in = |place: &str, around: &str| {
        place.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    told.iter().any(|told| is_in(&told.path, &problem.path) || is_in(&problem.path, &told.path))
}

/// Whether a problem is of a place that has one already, or of whose list an entry has one.
fn is_told(problem: &Problem, told: &Problems) -> bool {
    let Problem::Config(problem) = problem else { return false };
    let of_place =
        |told: &str| told.strip_prefix(&*problem.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    told.iter().any(|told| of_place(&told.path))
}

/// Whether a problem between places does not come from a default that stands for what is wrong.
fn stands(problem: &Problem, told: &Problems) -> bool {
    let own = match problem {
        Problem::Config(problem) => Within::of(&problem.path),
        Problem::Schema(_) => return true,
    };
    told.iter().map(|told| Within::of(&told.path)).all(|wrong| match (wrong.section, own.section) {
        ("methods", "methods") => wrong.is_apart_from(&own),
        ("upstreams", "methods") => config::Upstream::is_how_calls_go(wrong.key),
        // What the others name.
        ("schema" | "upstreams" | "auth" | "sessions", _) => false,
        (wrong, own) => wrong != own,
    })
}

/// A place of the configuration, in parts: `section.entry.key` and more, or `section["entry"].key`.
struct Within<'p> {
    section: &'p str,
    entry: &'p str,
    key: &'p str,
}

impl<'p> Within<'p> {
    fn of(place: &'p str) -> Self {
        fn first(rest: &str) -> (&str, &str) {
            match rest.strip_prefix("[\"").and_then(|rest| rest.split_once("\"]")) {
                Some(first) => first,
                None => {
                    let rest = rest.strip_prefix(['.', '[']).unwrap_or(rest);
                    rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
                }
            }
        }
        let (section, rest) = first(place);
        let (entry, rest) = first(rest);
        Self { section, entry, key: first(rest).0 }
    }

    /// Whether something wrong here, in `methods`, has no say in what stands at another place of theirs: no method is of both.
    fn is_apart_from(&self, other: &Self) -> bool {
        let this = self.entry.split_once('/').zip(other.entry.split_once('/'));
        let Some(((service, method), (of, other))) = this else { return false };
        // An entry that is none opens no method to clients.
        !self.key.is_empty() && (service != of || (method != other && method != "*" && other != "*"))
    }
}

/// Variables, and what files of secrets hold; relative ones start at `folder`.
fn with_files(folder: PathBuf, variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Variables {
    Box::new(move |name| match name.strip_prefix("file:") {
        Some(path) => secrets::file(&folder.join(path)),
        None => variables(name),
    })
}

/// Waits for something outside; loading blocks anyway.
fn wait<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(outcome)
}

/// A line for each problem of what the configuration `name` became.
pub fn lines(name: &str, problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| match problem {
        Problem::Config(problem) => format!("{name}:{problem}"),
        Problem::Schema(problem) => problem.to_string(),
    };
    problems.iter().map(line).collect()
}

/// The file's text, bounded.
fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |why: &dyn Display| format!("{}: cannot be read: {why}", path.display());
    let opened = file::open(path).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    opened.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| cannot(&"it is not UTF-8"))
}
