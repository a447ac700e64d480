//! Settings: the embedded defaults, a file, the environment, flags. All problems are found before anything starts.
//!
//! The commented `config/default.toml` is the schema: a key is known if it stands there, and has the type it has there.

use super::worth::{Churn, Lifecycle, Value as ValueSettings, Worth};
use crate::feed::Retention;
use crate::http::SocketOptions;
use crate::store::backend_of;
use crate::worker::feed::FeedOptions;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
const PREFIX: &str = "TRIBUTARY_";
const MIN_ADMIN_KEY_CHARS: usize = 32;

#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    pub server: Server,
    pub database: Database,
    pub redis: Redis,
    pub feed: Feed,
    pub auth: Auth,
    pub ingest: Ingest,
    pub identity: Identity,
    pub graphql: Graphql,
    pub sockets: Sockets,
    pub worker: Worker,
    pub value: ValueSettings,
    pub lifecycle: Lifecycle,
    pub churn: Churn,
    pub worth: Worth,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    pub bind: String,
    pub console: bool,
    pub shutdown_seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Database {
    pub url: String,
    pub migrate: String,
    pub query_connections: u32,
    pub ingest_connections: u32,
    pub acquire_timeout_ms: u64,
    pub query_statement_timeout_ms: u64,
    pub ingest_statement_timeout_ms: u64,
    pub mapped_mb: u32,
    pub require_durable: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Redis {
    pub url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Feed {
    pub retention_hours: u64,
    pub retention_rows: u64,
}

#[derive(Clone, Deserialize)]
pub struct Auth {
    pub admin_key: String,
    pub subject_token_seconds: u64,
    pub remembered_seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Ingest {
    pub max_event_bytes: usize,
    pub max_batch_bytes: usize,
    pub max_batch_events: usize,
    pub queue_events: usize,
    pub committers: usize,
    pub protected_traits: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Identity {
    pub phone_region: String,
    pub rules_file: String,
    pub rules_base: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Graphql {
    pub introspection: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Sockets {
    pub init_seconds: u64,
    pub ping_seconds: u64,
    pub comment_seconds: u64,
    pub slow_seconds: u64,
    pub recheck_seconds: u64,
    pub max_message_bytes: usize,
    pub messages_per_second: u32,
    pub operations_per_socket: usize,
    pub connections: usize,
    pub connections_per_key: usize,
    pub connections_per_visitor: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    pub jobs: bool,
    pub refresh: bool,
    pub refresh_batch: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    pub format: String,
    pub level: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth { .. }")
    }
}

/// Where settings come from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub file: Option<PathBuf>,
    /// Name and value of each variable.
    pub environment: Vec<(String, String)>,
    /// `section.key` and value of each flag.
    pub flags: Vec<(&'static str, String)>,
}

impl Origins {
    /// The process's environment; `file` and `flags` from the command line.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        let file = file.or_else(|| std::env::var_os("TRIBUTARY_CONFIG").map(PathBuf::from));
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self {
            file,
            environment: environment.collect(),
            flags,
        }
    }
}

/// Reads the settings, or lists everything that is wrong with them.
pub fn load(origins: &Origins) -> Result<Settings, Vec<String>> {
    let defaults: Dict = Figment::from(Toml::string(DEFAULTS))
        .extract()
        .map_err(|error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let mut figment = Figment::from(Toml::string(DEFAULTS));
    if let Some(file) = &origins.file {
        match std::fs::read_to_string(file) {
            Ok(text) => match Figment::from(Toml::string(&text)).extract::<Dict>() {
                Ok(values) => {
                    check_keys(&defaults, &values, &format!("{}", file.display()), &mut problems);
                    figment = figment.merge(Toml::string(&text));
                }
                Err(error) => problems.push(format!("{}: {error}", file.display())),
            },
            Err(error) => problems.push(format!("{}: {error}", file.display())),
        }
    }
    for (name, value) in &origins.environment {
        let Some(path) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        let (section, key) = (path.0.to_ascii_lowercase(), path.1.to_ascii_lowercase());
        figment = overlay(figment, &defaults, &section, &key, value, name, &mut problems);
    }
    for (path, value) in &origins.flags {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        figment = overlay(
            figment,
            &defaults,
            section,
            key,
            value,
            &format!("--{}", key.replace('_', "-")),
            &mut problems,
        );
    }
    match figment.extract::<Settings>() {
        Ok(settings) => {
            settings.check(&mut problems);
            if problems.is_empty() { Ok(settings) } else { Err(problems) }
        }
        // A value of the wrong type was named before, in better words.
        Err(_) if !problems.is_empty() => Err(problems),
        Err(error) => Err(error.into_iter().map(|error| error.to_string()).collect()),
    }
}

/// Puts one text over the settings, read as the type its default has.
fn overlay(
    figment: Figment,
    defaults: &Dict,
    section: &str,
    key: &str,
    text: &str,
    origin: &str,
    problems: &mut Vec<String>,
) -> Figment {
    let Some(default) = defaults.get(section).and_then(Value::as_dict).and_then(|keys| keys.get(key)) else {
        problems.push(format!(
            "{origin}: there is no setting {section}.{key}; config/default.toml lists them all"
        ));
        return figment;
    };
    let value = match default {
        Value::Bool(..) => text.parse::<bool>().map(Value::from).map_err(|_| "true or false"),
        Value::Num(_, default) if default.to_f64().is_some() => text.parse::<f64>().map(Value::from).map_err(|_| "a number"),
        Value::Num(..) => text.parse::<u64>().map(Value::from).map_err(|_| "a whole number"),
        Value::Array(..) => Ok(Value::from(
            text.split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect::<Vec<_>>(),
        )),
        _ => Ok(Value::from(text.to_owned())),
    };
    match value {
        Ok(value) => figment.merge(Overlay {
            section: section.to_owned(),
            key: key.to_owned(),
            value,
            origin: origin.to_owned(),
        }),
        Err(expected) => {
            problems.push(format!("{origin}: {section}.{key} must be {expected}"));
            figment
        }
    }
}

struct Overlay {
    section: String,
    key: String,
    value: Value,
    origin: String,
}

impl Provider for Overlay {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let section = Dict::from([(self.key.clone(), self.value.clone())]);
        Ok(Map::from([(
            Profile::Default,
            Dict::from([(self.section.clone(), section.into())]),
        )]))
    }
}

/// Every key of a file must stand in the defaults, with a value of the same type.
fn check_keys(defaults: &Dict, values: &Dict, origin: &str, problems: &mut Vec<String>) {
    for (section, keys) in values {
        let (Some(known), Some(keys)) = (defaults.get(section).and_then(Value::as_dict), keys.as_dict()) else {
            problems.push(format!("{origin}: there is no section [{section}]"));
            continue;
        };
        for (key, value) in keys {
            match known.get(key) {
                None => problems.push(format!("{origin}: there is no setting {section}.{key}")),
                Some(default) if std::mem::discriminant(default) != std::mem::discriminant(value) => {
                    problems.push(format!("{origin}: {section}.{key} has another type than its default"));
                }
                Some(_) => {}
            }
        }
    }
}

impl Settings {
    fn check(&self, problems: &mut Vec<String>) {
        let mut require = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        require(
            self.server.bind.parse::<SocketAddr>().is_ok(),
            "server.bind must be an address and a port such as 127.0.0.1:8080",
        );
        let key = &self.auth.admin_key;
        require(
            key.is_empty() || key.chars().count() >= MIN_ADMIN_KEY_CHARS,
            "auth.admin_key must have 32 characters or more",
        );
        require(
            (60..=86_400).contains(&self.auth.subject_token_seconds),
            "auth.subject_token_seconds must lie between 60 and 86400",
        );
        require(
            (1..=3_600).contains(&self.auth.remembered_seconds),
            "auth.remembered_seconds must lie between 1 and 3600",
        );
        require(
            matches!(self.database.migrate.as_str(), "always" | "never" | "embedded"),
            "database.migrate must be always, never or embedded",
        );
        require(
            (1..=1000).contains(&self.database.query_connections),
            "database.query_connections must lie between 1 and 1000",
        );
        require(
            (1..=1000).contains(&self.database.ingest_connections),
            "database.ingest_connections must lie between 1 and 1000",
        );
        require(
            (1..=64).contains(&self.ingest.committers),
            "ingest.committers must lie between 1 and 64",
        );
        require(self.ingest.queue_events >= 1, "ingest.queue_events must be 1 or more");
        require(
            (1..=100_000).contains(&self.ingest.max_batch_events),
            "ingest.max_batch_events must lie between 1 and 100000",
        );
        let size = 1024..=4 * 1024 * 1024;
        require(
            size.contains(&self.ingest.max_event_bytes),
            "ingest.max_event_bytes must lie between 1024 and 4194304",
        );
        require(
            size.contains(&self.ingest.max_batch_bytes),
            "ingest.max_batch_bytes must lie between 1024 and 4194304",
        );
        self.sockets.check(&mut require);
        require(
            matches!(self.log.format.as_str(), "json" | "text"),
            "log.format must be json or text",
        );
        let redis = &self.redis.url;
        let is_redis = redis.is_empty() || redis.starts_with("redis://") || redis.starts_with("rediss://");
        require(is_redis, "redis.url must begin with redis:// or rediss://");
        require(
            (1..=24 * 3660).contains(&self.feed.retention_hours),
            "feed.retention_hours must lie between 1 and 87840",
        );
        require(self.feed.retention_rows >= 1_000, "feed.retention_rows must be 1000 or more");
        let level = self.log.level.parse::<tracing_subscriber::filter::Targets>();
        // A word that is no level would be taken for the name of a module, and all else fall silent.
        let is_known = |part: &str| part.contains(['=', ':']) || part.trim().parse::<LevelFilter>().is_ok();
        require(
            level.is_ok() && self.log.level.split(',').all(is_known),
            "log.level must be error, warn, info, debug, trace or a list such as info,tributary::pipeline=debug",
        );
        require(
            matches!(self.identity.rules_base.as_str(), "defaults" | "nothing"),
            "identity.rules_base must be defaults or nothing",
        );
        let is_bare = self.identity.rules_base == "nothing" && self.identity.rules_file.is_empty();
        require(
            !is_bare,
            "identity.rules_base = \"nothing\" needs identity.rules_file: without it there is no rule at all",
        );
        if !is_bare && let Err(problem) = self.identity_rules() {
            problems.push(problem.to_string());
        }
        if let Err(found) = self.value_rules() {
            problems.extend(found.0);
        }
        if let Err(problem) = backend_of(&self.database.url) {
            problems.push(format!("database.url {problem}"));
        }
    }

    pub fn database_options(&self) -> crate::store::DatabaseOptions {
        let database = &self.database;
        crate::store::DatabaseOptions {
            url: database.url.clone(),
            query_connections: database.query_connections,
            ingest_connections: database
                .ingest_connections
                .max(u32::try_from(self.ingest.committers).unwrap_or(u32::MAX).saturating_add(2)),
            acquire_timeout: Duration::from_millis(database.acquire_timeout_ms),
            query_statement_timeout: Duration::from_millis(database.query_statement_timeout_ms),
            ingest_statement_timeout: Duration::from_millis(database.ingest_statement_timeout_ms),
            mapped_bytes: u64::from(database.mapped_mb) << 20,
            create: true,
        }
    }

    pub fn feed_options(&self) -> FeedOptions {
        FeedOptions {
            redis_url: self.redis.url.clone(),
            retention: Retention {
                age: Duration::from_secs(3600 * self.feed.retention_hours),
                rows: self.feed.retention_rows,
            },
        }
    }

    /// Whether `serve` migrates by itself.
    pub fn migrates_itself(&self) -> bool {
        match self.database.migrate.as_str() {
            "always" => true,
            "embedded" => self.database.url.starts_with("sqlite:"),
            _ => false,
        }
    }
}

impl Sockets {
    fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let seconds = [
            ("init_seconds", self.init_seconds, 60),
            ("ping_seconds", self.ping_seconds, 3600),
            ("comment_seconds", self.comment_seconds, 3600),
            ("slow_seconds", self.slow_seconds, 600),
            ("recheck_seconds", self.recheck_seconds, 60),
            ("messages_per_second", u64::from(self.messages_per_second), 10_000),
        ];
        for (name, value, most) in seconds {
            let problem = format!("sockets.{name} must lie between 1 and {most}");
            require((1..=most).contains(&value), &problem);
        }
        require(
            (1024..=1024 * 1024).contains(&self.max_message_bytes),
            "sockets.max_message_bytes must lie between 1024 and 1048576",
        );
        let counts = [
            ("operations_per_socket", self.operations_per_socket, 1000),
            ("connections", self.connections, 1_000_000),
            ("connections_per_key", self.connections_per_key, 1_000_000),
            ("connections_per_visitor", self.connections_per_visitor, 1_000_000),
        ];
        for (name, value, most) in counts {
            let problem = format!("sockets.{name} must lie between 1 and {most}");
            require((1..=most).contains(&value), &problem);
        }
    }

    pub fn options(&self) -> SocketOptions {
        SocketOptions {
            init: Duration::from_secs(self.init_seconds),
            ping: Duration::from_secs(self.ping_seconds),
            comment: Duration::from_secs(self.comment_seconds),
            slow: Duration::from_secs(self.slow_seconds),
            recheck: Duration::from_secs(self.recheck_seconds),
            max_message_bytes: self.max_message_bytes,
            messages_per_second: self.messages_per_second,
            operations: self.operations_per_socket,
            connections: self.connections,
            connections_per_key: self.connections_per_key,
            connections_per_visitor: self.connections_per_visitor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_environment(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        load(&Origins {
            environment,
            ..Origins::default()
        })
    }

    #[test]
    fn the_defaults_are_sound() {
        let settings = with_environment(&[]).expect("sound");
        assert_eq!(settings.server.bind, "127.0.0.1:8080");
        assert!(settings.migrates_itself());
    }

    #[test]
    fn the_environment_and_flags_win_and_texts_stay_texts() {
        let key = "12345678901234567890123456789012";
        let origins = Origins {
            environment: vec![
                ("TRIBUTARY_AUTH__ADMIN_KEY".to_owned(), key.to_owned()),
                ("TRIBUTARY_SERVER__BIND".to_owned(), "127.0.0.1:1".to_owned()),
                ("TRIBUTARY_INGEST__PROTECTED_TRAITS".to_owned(), "a, b".to_owned()),
                // Set by container platforms for a service of this name; none of ours.
                ("TRIBUTARY_PORT".to_owned(), "tcp://10.0.0.1:8080".to_owned()),
            ],
            flags: vec![("server.bind", "127.0.0.1:2".to_owned())],
            file: None,
        };
        let settings = load(&origins).expect("sound");
        assert_eq!(
            (settings.auth.admin_key.as_str(), settings.server.bind.as_str()),
            (key, "127.0.0.1:2")
        );
        assert_eq!(settings.ingest.protected_traits, ["a", "b"]);
    }

    #[test]
    fn a_level_of_the_log_that_is_none_is_refused() {
        let with = |level| with_environment(&[("TRIBUTARY_LOG__LEVEL", level)]);
        for level in ["loud", "info,louder", "info,tributary::pipeline=very"] {
            let problems = with(level).expect_err(level);
            assert!(problems[0].starts_with("log.level must be"), "{level}: {problems:?}");
        }
        for level in ["warn", "OFF", "info,tributary::pipeline=debug"] {
            assert!(with(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn the_rules_file_is_laid_over_its_base_and_its_mistakes_are_named() {
        let file = std::env::temp_dir().join(format!("tributary-rules-{}.json", std::process::id()));
        let path = file.to_str().expect("a path");
        let with = |base: &str, text: &str| {
            std::fs::write(&file, text).expect("written");
            let settings = with_environment(&[
                ("TRIBUTARY_IDENTITY__RULES_FILE", path),
                ("TRIBUTARY_IDENTITY__RULES_BASE", base),
                ("TRIBUTARY_IDENTITY__PHONE_REGION", "AU"),
            ]);
            settings.map(|settings| settings.identity_rules().expect("checked"))
        };
        let over = r#"{"shared_after": 3, "identifiers": {"email": {"priority": 1}}}"#;
        let laid = with("defaults", over).expect("sound");
        assert_eq!((&laid["phone_region"], &laid["shared_after"]), (&"AU".into(), &3.into()));
        assert_eq!(laid["identifiers"]["email"]["limit"], 5);
        let alone = with("nothing", over).expect("sound");
        assert_eq!(alone["identifiers"].as_object().expect("types").len(), 1);
        assert_eq!(alone["phone_region"], "AU");
        assert_eq!(
            with("nothing", r#"{"phone_region": "CN", "identifiers": {}}"#).expect("sound")["phone_region"],
            "CN"
        );
        for (base, text, expected) in [
            (
                "defaults",
                r#"{"identifiers": {"email": {"limit": -1}}}"#,
                "identifiers.email: invalid value",
            ),
            (
                "defaults",
                r#"{"golden": {"city": {"strategy": "newest"}}}"#,
                "golden.city.strategy: ",
            ),
            ("defaults", r#"{"shared_after": 3, "shared_after": 4}"#, "shared_after: "),
            ("defaults", "{\n  oops", "line 2 column 3"),
            ("defaults", "[]", "a rule set is a JSON object"),
            ("nothing", "{}", "missing field `identifiers`"),
            ("shop", "{}", "identity.rules_base must be defaults or nothing"),
        ] {
            let problems = with(base, text).expect_err(text);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
            assert!(
                base == "shop" || problems[0].starts_with("identity.rules_file: "),
                "{problems:?}"
            );
        }
        std::fs::remove_file(&file).expect("removed");
        let problems = with_environment(&[("TRIBUTARY_IDENTITY__RULES_FILE", path)]).expect_err("missing");
        assert!(problems[0].contains("cannot read"), "{problems:?}");
        let problems = with_environment(&[("TRIBUTARY_IDENTITY__RULES_BASE", "nothing")]).expect_err("bare");
        assert!(
            problems.len() == 1 && problems[0].contains("needs identity.rules_file"),
            "{problems:?}"
        );
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let problems =
            with_environment(&[("TRIBUTARY_SERVER__PORT", "1"), ("TRIBUTARY_INGEST__COMMITTERS", "many")]).expect_err("two");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].contains("server.port") && problems[1].contains("ingest.committers"),
            "{problems:?}"
        );
        let problems = with_environment(&[
            ("TRIBUTARY_AUTH__ADMIN_KEY", "short"),
            ("TRIBUTARY_DATABASE__URL", "mysql://x"),
            ("TRIBUTARY_SERVER__PORT", "1"),
        ])
        .expect_err("three");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
