//! Personal data before the eyes of a key that may not see it: masked in values, refused in lookups, filters and orders.
//!
//! Promises: what a key without `read:pii` cannot read it cannot find out by asking either, since whatever narrows or sorts by personal
//! data calls `demand` first. A trait is as personal as the catalogue says; one that it does not know is personal. A subject token sees
//! its own data in the clear.

use super::error::{self, Code};
use super::loaders::{TraitClasses, ask};
use super::principal;
use crate::access::{Principal, Scope, mask};
use async_graphql::{Context, Result};
use entity::{DataClass, EventKind, IdentifierKind};
use serde_json::{Map, Value};

pub use mask::{HIDDEN, identifier as mask};

/// Whether the asker sees personal data in the clear.
pub fn in_clear(ctx: &Context<'_>) -> Result<bool> {
    let principal = principal(ctx)?;
    Ok(matches!(principal, Principal::Subject(_)) || principal.may(Scope::ReadPii))
}

/// Whether the asker may see, and so filter and order by, data of this class.
pub fn may_see(ctx: &Context<'_>, class: DataClass) -> Result<bool> {
    match class {
        DataClass::Public | DataClass::Internal => Ok(true),
        DataClass::Pii | DataClass::Sensitive => in_clear(ctx),
    }
}

/// Refuses an argument that asks about personal data, by name, unless the asker may see them.
pub fn demand(ctx: &Context<'_>, argument: &str) -> Result<()> {
    if in_clear(ctx)? {
        return Ok(());
    }
    let message = format!("{argument}: this key lacks the scope read:pii, which asking by personal data needs");
    Err(error::refuse(Code::Forbidden, message))
}

/// Whether to ask for somebody by this value is to ask about personal data. Ids of accounts, devices and cards are what servers know
/// people by, unless the id is an e-mail address.
pub fn is_personal(kind: IdentifierKind, value: &str) -> bool {
    matches!(kind, IdentifierKind::Email | IdentifierKind::Phone) || value.contains('@')
}

/// How personal a trait is, by its name; a path such as `address.city` is as personal as what it begins with.
pub async fn class_of(ctx: &Context<'_>, name: &str) -> Result<DataClass> {
    let classes = ask(ctx, TraitClasses).await?.unwrap_or_default();
    let outermost = name.split('.').next().unwrap_or(name);
    Ok(classes
        .get(name)
        .or_else(|| classes.get(outermost))
        .copied()
        .unwrap_or(DataClass::Pii))
}

/// Whether the asker may see every one of these traits.
pub async fn may_see_traits(ctx: &Context<'_>, names: &[&str]) -> Result<bool> {
    if in_clear(ctx)? {
        return Ok(true);
    }
    for name in names {
        if !may_see(ctx, class_of(ctx, name).await?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A text that comes from one of these traits, or what may be seen of it. None stays none.
pub async fn text(ctx: &Context<'_>, names: &[&str], value: Option<String>) -> Option<Result<String>> {
    let value = value?;
    match may_see_traits(ctx, names).await {
        Ok(true) => Some(Ok(value)),
        Ok(false) => Some(Ok(match names {
            ["email"] => mask::email(&value),
            ["phone"] => mask::phone(&value),
            _ => HIDDEN.to_owned(),
        })),
        Err(error) => Some(Err(error)),
    }
}

/// A value of a type that has no mask: none for those who may not see it.
pub async fn unmaskable<T>(ctx: &Context<'_>, names: &[&str], value: Option<T>) -> Option<Result<T>> {
    let value = value?;
    match may_see_traits(ctx, names).await {
        Ok(true) => Some(Ok(value)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    }
}

/// A trait's value, or what may be seen of it.
pub async fn of_trait(ctx: &Context<'_>, name: &str, value: Value) -> Result<Value> {
    if may_see_traits(ctx, &[name]).await? {
        return Ok(value);
    }
    Ok(mask::of_trait(name, &value))
}

/// Traits by name, or what may be seen of each.
pub async fn traits(ctx: &Context<'_>, traits: Map<String, Value>) -> Result<Map<String, Value>> {
    if in_clear(ctx)? {
        return Ok(traits);
    }
    let mut seen = Map::with_capacity(traits.len());
    for (name, value) in traits {
        let value = of_trait(ctx, &name, value).await?;
        seen.insert(name, value);
    }
    Ok(seen)
}

/// What an event tells: traits where it says who somebody is, else properties, of which nobody knows how personal they are.
pub async fn properties(ctx: &Context<'_>, kind: EventKind, value: &Value) -> Result<Value> {
    match value {
        _ if in_clear(ctx)? => Ok(value.clone()),
        Value::Object(members) if kind == EventKind::Identify => {
            let mut seen = Map::with_capacity(members.len());
            for (name, value) in members {
                let canonical = crate::ingest::traits::canonical_name(name);
                seen.insert(name.clone(), of_trait(ctx, canonical, value.clone()).await?);
            }
            Ok(Value::Object(seen))
        }
        _ => Ok(mask::json(value)),
    }
}

/// JSON of which nobody knows how personal it is.
pub fn json(ctx: &Context<'_>, value: &Value) -> Result<Value> {
    Ok(if in_clear(ctx)? { value.clone() } else { mask::json(value) })
}

/// A text that people or programs wrote freely, in which anything may stand.
pub fn free_text(ctx: &Context<'_>, text: &str) -> Result<String> {
    Ok(if in_clear(ctx)? { text.to_owned() } else { HIDDEN.to_owned() })
}
