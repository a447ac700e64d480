//! What is listed of refused items: of people who were erased nothing but that something was refused, and why.
//!
//! An item that could not be read has no identifiers that could be looked up, so every text in it is held against what is suppressed: as
//! each kind of identifier, and as a key of its source. What others show too is not suppressed, and stays listed.

use super::Delivery;
use crate::base::SourceId;
use crate::base::ids::HashKey;
use crate::identity::store::erased;
use crate::identity::{Rules, Shown};
use crate::ingest::message::Refusal;
use crate::ingest::{RefusedItem, Rejection};
use crate::store::StoreError;
use entity::IdentifierKind;
use sea_orm::DatabaseTransaction;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use uuid::Uuid;

/// No identifier is longer.
const MAX_CHARS: usize = 320;
/// Texts of one item that are looked up. Nothing is kept of an item that has more: who sends it is no person's browser.
const MAX_TEXTS: usize = 1_000;
/// Digits without which nothing is a telephone number.
const PHONE_DIGITS: usize = 7;

/// A refused item as it is listed.
pub struct Listed<'i> {
    delivery: &'i Delivery,
    item: Cow<'i, RefusedItem>,
}

impl Listed<'_> {
    pub fn rejection(&self) -> Rejection<'_> {
        Rejection {
            source: self.delivery.source_id,
            received_at: self.delivery.received_at,
            item: &self.item,
        }
    }
}

/// What is refused of these deliveries, without the texts of items that name somebody who was erased.
pub async fn without_erased<'i>(
    tx: &DatabaseTransaction,
    keys: &HashKey,
    rules: &Rules,
    deliveries: &'i [Delivery],
) -> Result<Vec<Listed<'i>>, StoreError> {
    let mut items: Vec<Listed<'i>> = Vec::new();
    for delivery in deliveries {
        items.extend(delivery.refused.iter().map(|item| Listed {
            delivery,
            item: Cow::Borrowed(item),
        }));
    }
    if items.is_empty() || !erased::is_anybody_erased(tx).await? {
        return Ok(items);
    }
    let named: Vec<Option<BTreeSet<Uuid>>> = items
        .iter()
        .map(|listed| named(keys, rules, listed.delivery.source_id, &listed.item))
        .collect();
    let asked = named.iter().flatten().flatten().copied().collect();
    let of_erased = erased::of_erased(tx, &asked).await?;
    for (listed, named) in items.iter_mut().zip(&named) {
        if named
            .as_ref()
            .is_none_or(|named| named.iter().any(|id| of_erased.contains(id)))
        {
            listed.item = Cow::Owned(bare(keys, &listed.item));
        }
    }
    Ok(items)
}

/// Without its text. Its hash stays, so that each is listed, and a repetition once.
fn bare(keys: &HashKey, item: &RefusedItem) -> RefusedItem {
    let hash = keys.id("refused", &[item.payload.as_bytes()]);
    RefusedItem {
        index: item.index,
        refusal: Refusal {
            code: item.refusal.code,
            message: "it names somebody who was erased, and nothing of it is kept".to_owned(),
            field: None,
        },
        payload: json!({"item": hash.to_string()}).to_string(),
    }
}

/// Everything that the texts of an item may be the hash of. None: too many to tell.
fn named(keys: &HashKey, rules: &Rules, source: SourceId, item: &RefusedItem) -> Option<BTreeSet<Uuid>> {
    let mut found = Texts::default();
    found.look_into(&item.payload);
    found.look_into(&item.refusal.message);
    if let Ok(value) = serde_json::from_str::<Value>(&item.payload) {
        found.collect(&value);
    }
    if found.texts.len() > MAX_TEXTS {
        return None;
    }
    let mut ids = BTreeSet::new();
    for text in &found.texts {
        let mut show = |kind, namespace: &str| ids.insert(Shown::judge(keys, rules, kind, namespace, text).id.0);
        show(IdentifierKind::UserId, "");
        show(IdentifierKind::LoyaltyId, "");
        show(IdentifierKind::ExternalId, "");
        if text.contains('@') {
            show(IdentifierKind::Email, "");
        }
        if text.chars().filter(char::is_ascii_digit).count() >= PHONE_DIGITS {
            show(IdentifierKind::Phone, "");
        }
        for namespace in &found.namespaces {
            show(IdentifierKind::ExternalId, namespace);
            show(IdentifierKind::LoyaltyId, namespace);
        }
        ids.insert(keys.record(source, text).0);
    }
    Some(ids)
}

#[derive(Debug, Default)]
struct Texts {
    texts: BTreeSet<String>,
    /// Names of kinds of external ids.
    namespaces: BTreeSet<String>,
}

impl Texts {
    fn put(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && text.chars().count() <= MAX_CHARS {
            self.texts.insert(text.to_owned());
        }
    }

    /// Whatever stands between quotation marks, and each word: the item may be no JSON.
    fn look_into(&mut self, text: &str) {
        for piece in text.split(['"', '\'']) {
            self.put(piece);
            let is_around =
                |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '<' | '>' | '(' | ')' | '{' | '}' | '[' | ']');
            for word in piece.split(is_around) {
                self.put(word.trim_end_matches(['.', '!', '?']));
            }
        }
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if let (true, Some(text)) = (matches!(name.as_str(), "type" | "namespace"), value.as_str()) {
                        self.namespaces.insert(text.trim().to_owned());
                    }
                    self.put(name);
                    self.collect(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::String(text) => {
                self.put(text);
                self.look_into(text);
            }
            Value::Number(number) => self.put(&number.to_string()),
            Value::Bool(_) | Value::Null => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(payload: &str) -> BTreeSet<String> {
        let mut found = Texts::default();
        found.look_into(payload);
        if let Ok(value) = serde_json::from_str::<Value>(payload) {
            found.collect(&value);
        }
        found.texts
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        for payload in [
            r#"{"email": "ada@example.test"}"#,
            r#"{"email": "\u0061da@example.test"}"#,
            r#"{"note": "write to ada@example.test."}"#,
            r#"{"email": "ada@example.test", "email": "x"}"#,
            r#"{"email": "ada@example.test"#,
            "email: <ada@example.test>",
            r#"{"ada@example.test": {"deep": 1}}"#,
        ] {
            assert!(texts(payload).contains("ada@example.test"), "{payload}");
        }
        assert!(texts(r#"{"userId": 77123}"#).contains("77123"));
        assert!(texts(r#"{"phone": "+1 (415) 555-0101"}"#).contains("+1 (415) 555-0101"));
    }
}
