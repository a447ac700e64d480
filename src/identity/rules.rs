//! The rules by which records become customers: configuration, with defaults for a shop. Pure.
//!
//! A rule set is JSON laid over the defaults, key by key: `{"phone_region": "AU", "identifiers": {"email": {"limit": 3}}}`.

use super::normalise;
use entity::IdentifierKind;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How one type of identifier behaves.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TypeRule {
    /// 1 is the strongest.
    pub priority: u32,
    /// Distinct values one customer may hold; none: any number.
    #[serde(default)]
    pub limit: Option<usize>,
    /// What becomes of a value that somebody else owns and that cannot join the two.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Attributes in which two people must not contradict each other to be joined by such a value.
    #[serde(default)]
    pub requires_agreement: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It stays with its owner.
    #[default]
    Keep,
    /// It passes to whoever showed it last.
    Latest,
}

/// A complete rule set.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Region of telephone numbers without a country code, ISO 3166.
    pub phone_region: String,
    types: BTreeMap<String, TypeRule>,
    /// A value shown by so many customers is quarantined; none: never.
    pub shared_after: Option<usize>,
    blocked: BTreeMap<String, Blocked>,
    /// Above so many records a customer takes in no other by itself.
    pub max_records: usize,
    /// A value that joins customers faster than this is held; none: never.
    pub over_merge_alarm: Option<OverMergeAlarm>,
    /// Which values survive, for whoever computes golden values.
    pub golden: Value,
}

/// When a value joins more customers than one person explains.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OverMergeAlarm {
    /// So many customers may be joined by one value …
    pub joins: usize,
    /// … within so many hours.
    pub hours: u32,
}

impl OverMergeAlarm {
    pub fn window_micros(&self) -> i64 {
        i64::from(self.hours) * 3_600_000_000
    }
}

#[derive(Clone, Debug, Default)]
struct Blocked {
    exact: Vec<String>,
    regex: Vec<Regex>,
}

/// Why a rule set is not sound: the path of the key, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct RulesError {
    pub path: String,
    pub problem: String,
}

/// The keys there are. Their values are read one by one, so that what is wrong with one is said of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    phone_region: Value,
    identifiers: BTreeMap<String, Value>,
    #[serde(default)]
    shared_after: Value,
    #[serde(default)]
    blocked: BTreeMap<String, Value>,
    #[serde(default = "default_max_records")]
    max_records: Value,
    #[serde(default)]
    over_merge_alarm: Value,
    #[serde(default)]
    golden: Value,
}

/// The value under a path.
fn read<T: serde::de::DeserializeOwned>(value: &Value, path: &str) -> Result<T, RulesError> {
    T::deserialize(value).map_err(|error| RulesError {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedBlocked {
    #[serde(default)]
    exact: Vec<String>,
    #[serde(default)]
    regex: Vec<String>,
}

fn default_max_records() -> Value {
    10_000.into()
}

/// What becomes of a value on its way to be an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It recognises people, in this spelling.
    Usable(String),
    /// It is a placeholder and recognises nobody; in the spelling under which it is kept.
    Blocked(String),
    /// It is no value of its type; in the spelling under which it is kept.
    Invalid(String),
}

impl Verdict {
    /// The spelling under which the value is kept, and whether it recognises people.
    pub fn into_spelling(self) -> (String, bool) {
        match self {
            Self::Usable(value) => (value, true),
            Self::Blocked(value) | Self::Invalid(value) => (value, false),
        }
    }
}

impl Rules {
    /// The defaults for a shop.
    pub fn shop() -> Self {
        Self::parse(&Self::shop_json()).expect("the defaults are sound")
    }

    /// The defaults as JSON, to be laid over.
    pub fn shop_json() -> Value {
        json!({
            "phone_region": "US",
            "identifiers": {
                "user_id": {"priority": 1, "limit": 1, "on_conflict": "keep"},
                "loyalty_id": {"priority": 2, "limit": 1, "on_conflict": "keep"},
                "email": {"priority": 3, "limit": 5, "on_conflict": "keep"},
                "phone": {"priority": 4, "limit": 5, "on_conflict": "keep", "requires_agreement": ["first_name"]},
                "device_id": {"priority": 5, "limit": 20, "on_conflict": "latest"},
                "anonymous_id": {"priority": 6, "limit": 50, "on_conflict": "latest"}
            },
            "shared_after": 20,
            "over_merge_alarm": {"joins": 20, "hours": 24},
            "blocked": {
                "*": {
                    "exact": ["n/a", "na", "null", "none", "undefined", "unknown", "anonymous", "-1", "0", "test", "[object object]", "nan"],
                    "regex": ["^[0\\-\\s]*$"]
                },
                "email": {"exact": ["test@test.com", "noemail@noemail.com"], "regex": ["^(noreply|no-reply)@"]}
            }
        })
    }

    /// A rule set out of JSON.
    pub fn parse(config: &Value) -> Result<Self, RulesError> {
        let fault = |path: &str, problem: String| RulesError {
            path: path.to_owned(),
            problem,
        };
        let stated: Stated = read(config, "rules")?;
        let phone_region: String = read(&stated.phone_region, "phone_region")?;
        if !normalise::is_region(&phone_region) {
            return Err(fault(
                "phone_region",
                format!("{phone_region} is no region: use a code such as US or CN"),
            ));
        }
        let mut types = BTreeMap::new();
        for (type_name, rule) in &stated.identifiers {
            types.insert(type_name.clone(), read(rule, &format!("identifiers.{type_name}"))?);
        }
        let mut blocked = BTreeMap::new();
        for (type_name, stated) in stated.blocked {
            let stated: StatedBlocked = read(&stated, &format!("blocked.{type_name}"))?;
            let mut regex = Vec::with_capacity(stated.regex.len());
            for pattern in stated.regex {
                let path = format!("blocked.{type_name}.regex");
                regex.push(Regex::new(&pattern).map_err(|error| fault(&path, error.to_string()))?);
            }
            let exact = stated.exact.iter().map(|text| normalise::folded(text)).collect();
            blocked.insert(type_name, Blocked { exact, regex });
        }
        Ok(Self {
            phone_region,
            types,
            shared_after: read(&stated.shared_after, "shared_after")?,
            blocked,
            max_records: read(&stated.max_records, "max_records")?,
            over_merge_alarm: read(&stated.over_merge_alarm, "over_merge_alarm")?,
            golden: stated.golden,
        })
    }

    /// `over` laid over `under`, key by key; anything but an object replaces.
    pub fn overlay(under: &Value, over: &Value) -> Value {
        match (under, over) {
            (Value::Object(under), Value::Object(over)) => {
                let mut laid = under.clone();
                for (key, value) in over {
                    let value = laid
                        .get(key)
                        .map_or_else(|| value.clone(), |known| Self::overlay(known, value));
                    laid.insert(key.clone(), value);
                }
                Value::Object(laid)
            }
            (_, over) => over.clone(),
        }
    }

    /// How identifiers of this kind behave. An external id goes by its namespace, else by `external_id`; one that nobody configured is
    /// weaker than a loyalty card and never passes on.
    pub fn of(&self, kind: IdentifierKind, namespace: &str) -> TypeRule {
        let configured = match kind {
            IdentifierKind::ExternalId => self.types.get(namespace).or_else(|| self.types.get("external_id")),
            _ => self.types.get(type_name(kind)),
        };
        let unconfigured = TypeRule {
            priority: 2,
            limit: None,
            on_conflict: OnConflict::Keep,
            requires_agreement: Vec::new(),
        };
        configured.cloned().unwrap_or(unconfigured)
    }

    /// Attributes that any type compares.
    pub fn agreement_attributes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .types
            .values()
            .flat_map(|rule| &rule.requires_agreement)
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether and how a value as it was sent recognises people.
    pub fn judge(&self, kind: IdentifierKind, namespace: &str, raw: &str) -> Verdict {
        let folded = normalise::folded(raw);
        let usable = normalise::normalise(kind, raw, &self.phone_region);
        let name = if kind == IdentifierKind::ExternalId {
            namespace
        } else {
            type_name(kind)
        };
        let lists = [self.blocked.get("*"), self.blocked.get(name)];
        let spellings = [
            Some(folded.as_str()),
            usable.as_deref().filter(|_| kind == IdentifierKind::Phone),
        ];
        let hit = |blocked: &Blocked, text: &str| {
            blocked.exact.iter().any(|exact| exact == text) || blocked.regex.iter().any(|regex| regex.is_match(text))
        };
        let is_blocked = lists
            .into_iter()
            .flatten()
            .any(|blocked| spellings.into_iter().flatten().any(|text| hit(blocked, text)));
        match usable {
            Some(value) if !is_blocked => Verdict::Usable(value),
            spelling if is_blocked => Verdict::Blocked(spelling.unwrap_or(folded)),
            _ => Verdict::Invalid(folded),
        }
    }
}

/// The name of a kind in rule sets and scenario files.
pub fn type_name(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::UserId => "user_id",
        IdentifierKind::AnonymousId => "anonymous_id",
        IdentifierKind::Email => "email",
        IdentifierKind::Phone => "phone",
        IdentifierKind::DeviceId => "device_id",
        IdentifierKind::LoyaltyId => "loyalty_id",
        IdentifierKind::ExternalId => "external_id",
    }
}

/// The kind and namespace behind a name of a rule set: a type that is none of ours is an external id in the namespace of its name.
pub fn kind_of(type_name: &str) -> (IdentifierKind, &str) {
    match type_name {
        "user_id" => (IdentifierKind::UserId, ""),
        "anonymous_id" => (IdentifierKind::AnonymousId, ""),
        "email" => (IdentifierKind::Email, ""),
        "phone" => (IdentifierKind::Phone, ""),
        "device_id" => (IdentifierKind::DeviceId, ""),
        "loyalty_id" => (IdentifierKind::LoyaltyId, ""),
        other => (IdentifierKind::ExternalId, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_recognise_nobody_in_any_spelling() {
        let rules = Rules::shop();
        for (kind, raw) in [
            (IdentifierKind::UserId, " NULL "),
            (IdentifierKind::UserId, "[object Object]"),
            (IdentifierKind::Email, "NoReply@shop.example"),
            (IdentifierKind::Email, "TEST@test.com"),
            (IdentifierKind::AnonymousId, "00000000-0000-0000-0000-000000000000"),
            (IdentifierKind::Phone, "000-000-0000"),
        ] {
            assert!(matches!(rules.judge(kind, "", raw), Verdict::Blocked(_)), "{raw}");
        }
        assert_eq!(
            rules.judge(IdentifierKind::Email, "", "Ada@Example.test"),
            Verdict::Usable("ada@example.test".to_owned())
        );
        assert_eq!(
            rules.judge(IdentifierKind::Phone, "", "9999999999"),
            Verdict::Invalid("9999999999".to_owned())
        );
    }

    #[test]
    fn a_blocked_phone_is_compared_in_its_international_form_too() {
        let over = json!({"phone_region": "CN", "blocked": {"phone": {"exact": ["+8613800138000"]}}});
        let rules = Rules::parse(&Rules::overlay(&Rules::shop_json(), &over)).expect("sound");
        assert_eq!(
            rules.judge(IdentifierKind::Phone, "", "138 0013 8000"),
            Verdict::Blocked("+8613800138000".to_owned())
        );
    }

    #[test]
    fn rules_that_are_not_sound_say_where() {
        let broken = |over: Value| {
            Rules::parse(&Rules::overlay(&Rules::shop_json(), &over))
                .expect_err("not sound")
                .path
        };
        assert_eq!(broken(json!({"phone_region": "Mars"})), "phone_region");
        assert_eq!(broken(json!({"blocked": {"email": {"regex": ["("]}}})), "blocked.email.regex");
        assert_eq!(broken(json!({"colour": "red"})), "rules");
        let mistyped = json!({"identifiers": {"email": {"on_conflict": "never"}}});
        assert_eq!(broken(mistyped), "identifiers.email");
        assert_eq!(broken(json!({"shared_after": "3"})), "shared_after");
        assert_eq!(broken(json!({"blocked": {"*": {"exact": "x"}}})), "blocked.*");
    }
}
