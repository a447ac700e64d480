//! The identity rules that the configuration sets: a base, the region of phone numbers, and a file on top.

use super::settings::{Identity, Settings};
use crate::customer::Survivorship;
use crate::identity::Rules;
use crate::identity::rules::RulesError;
use crate::ingest;

/// Why the configured rules cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredRulesError {
    #[error("identity.{0}")]
    Key(RulesError),
    #[error("identity.rules_file: cannot read {file}: {problem}")]
    Unreadable { file: String, problem: String },
    #[error("identity.rules_file: {file}: {error}")]
    File { file: String, error: RulesError },
}

fn check_rules(rules: &serde_json::Value) -> Result<(), RulesError> {
    Survivorship::parse(&Rules::parse(rules)?.golden).map(drop)
}

impl Settings {
    /// The rules that stand while none were published: the base, the configured region and the configured file, the last one on top.
    pub fn identity_rules(&self) -> Result<serde_json::Value, ConfiguredRulesError> {
        let base = match self.identity.rules_base.as_str() {
            "nothing" => serde_json::json!({}),
            _ => Rules::shop_json(),
        };
        let over = serde_json::json!({"phone_region": self.identity.phone_region});
        let rules = Rules::overlay(&base, &over);
        let file = &self.identity.rules_file;
        if file.is_empty() {
            return check_rules(&rules).map(|()| rules).map_err(ConfiguredRulesError::Key);
        }
        let unreadable = |problem: String| ConfiguredRulesError::Unreadable {
            file: file.clone(),
            problem,
        };
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        // The first reader names the line of a slip, the second refuses a key that stands there twice.
        serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|error| unreadable(error.to_string()))?;
        let over = ingest::json::parse(&text).map_err(|fault| unreadable(fault.to_string()))?;
        if !over.is_object() {
            return Err(unreadable("a rule set is a JSON object".to_owned()));
        }
        let rules = Rules::overlay(&rules, &over);
        let faulty = |error| ConfiguredRulesError::File {
            file: file.clone(),
            error,
        };
        check_rules(&rules).map(|()| rules).map_err(faulty)
    }
}

impl Identity {
    /// In words, what the rules come from.
    pub fn origin(&self) -> String {
        match (self.rules_base.as_str(), self.rules_file.as_str()) {
            (_, "") => "the defaults of a shop".to_owned(),
            ("nothing", file) => format!("{file} alone"),
            (_, file) => format!("{file}, laid over the defaults of a shop"),
        }
    }
}
