//! Every statement of intake's own tables: sources, rejected items, the catalogue.

use super::body::RefusedItem;
use super::catalogue::{EventSeen, TraitSeen};
use crate::base::paging::{Page, Slice};
use crate::base::{Instant, SourceId};
use crate::store::{Rows, Store, StoreError, any_of, ids_value};
use entity::{DataClass, event_definition, rejected_item, source, trait_definition};
use sea_orm::sea_query::{Condition, Expr, ExprTrait as _};
use sea_orm::{
    ActiveEnum as _, ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};
use std::collections::{BTreeMap, HashMap};

/// A refused item keeps this much of its text.
const KEPT_PAYLOAD_BYTES: usize = 32 * 1024;

pub(super) async fn insert_source(db: &impl ConnectionTrait, model: source::Model) -> Result<(), StoreError> {
    model.into_active_model().reset_all().insert(db).await?;
    Ok(())
}

pub(super) async fn update_source(db: &impl ConnectionTrait, model: source::Model) -> Result<(), StoreError> {
    model.into_active_model().reset_all().update(db).await?;
    Ok(())
}

pub(super) async fn source_by_id(db: &impl ConnectionTrait, id: SourceId) -> Result<Option<source::Model>, StoreError> {
    Ok(source::Entity::find_by_id(id.0).one(db).await?)
}

pub async fn source_by_key(db: &impl ConnectionTrait, key: &str) -> Result<Option<source::Model>, StoreError> {
    Ok(source::Entity::find().filter(source::Column::Key.eq(key)).one(db).await?)
}

/// By the current write key, or the one before it while that still works.
pub(super) async fn source_by_digest(
    db: &impl ConnectionTrait,
    digest: &[u8],
    now: Instant,
) -> Result<Option<source::Model>, StoreError> {
    let previous = Condition::all()
        .add(source::Column::PreviousKeyDigest.eq(digest))
        .add(source::Column::PreviousKeyUntil.gt(now.micros()));
    let either = Condition::any().add(source::Column::WriteKeyDigest.eq(digest)).add(previous);
    Ok(source::Entity::find().filter(either).one(db).await?)
}

/// The way from records to their sources inside a statement about both: joins `source s` to `record r`.
pub const JOIN_SOURCES: &str = "JOIN source s ON s.id = r.source_id";

/// Sources by id, for pages that mention them.
pub async fn sources_by_ids(db: &impl ConnectionTrait, ids: &[SourceId]) -> Result<Vec<source::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM source WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    Ok(source::Model::find_by_statement(statement).all(db).await?)
}

pub async fn all_sources(db: &impl ConnectionTrait) -> Result<Vec<source::Model>, StoreError> {
    Ok(source::Entity::find().all(db).await?)
}

/// Sources in the order of their keys.
pub async fn sources(db: &impl ConnectionTrait, page: &Page<String>) -> Result<Slice<source::Model>, StoreError> {
    let mut query = source::Entity::find().order_by_asc(source::Column::Key).limit(page.first + 1);
    if let Some(after) = &page.after {
        query = query.filter(source::Column::Key.gt(after.as_str()));
    }
    Ok(Slice::from_one_more(query.all(db).await?, page.first))
}

/// A refused item, and where and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Rejection<'i> {
    pub source: SourceId,
    pub received_at: Instant,
    pub item: &'i RefusedItem,
}

/// Writes refused items; one that was refused before, from the same place of the same batch, is listed once.
pub async fn insert_rejected<'i>(
    tx: &impl ConnectionTrait,
    store: &Store,
    rejections: impl Iterator<Item = Rejection<'i>>,
) -> Result<(), StoreError> {
    let id = |rejection: &Rejection<'_>| {
        let item = rejection.item;
        let index = item.index.to_le_bytes();
        let parts = [
            rejection.source.0.as_bytes().as_slice(),
            &index,
            item.refusal.code.as_bytes(),
            item.payload.as_bytes(),
        ];
        store.hash_key().id("rejected_item", &parts)
    };
    // Two requests of one group may hold the same item.
    let rejections: BTreeMap<uuid::Uuid, Rejection<'_>> = rejections.map(|rejection| (id(&rejection), rejection)).collect();
    let items = || rejections.values().map(|rejection| rejection.item);
    Rows::new()
        .id("id", rejections.keys().copied())
        .id("source_id", rejections.values().map(|rejection| rejection.source.0))
        .int(
            "received_at",
            rejections.values().map(|rejection| rejection.received_at.micros()),
        )
        .int(
            "item_index",
            items().map(|item| i64::try_from(item.index).unwrap_or(i64::MAX)),
        )
        .text("code", items().map(|item| item.refusal.code.to_owned()))
        .text("message", items().map(|item| item.refusal.message.clone()))
        .optional_text("field", items().map(|item| item.refusal.field.clone()))
        .text("payload", items().map(|item| kept(&item.payload)))
        .insert(tx, "rejected_item", "ON CONFLICT (id) DO NOTHING")
        .await?;
    Ok(())
}

/// What can be stored of a payload: its beginning, and no NUL.
fn kept(payload: &str) -> String {
    let mut end = payload.len().min(KEPT_PAYLOAD_BYTES);
    while !payload.is_char_boundary(end) {
        end -= 1;
    }
    payload[..end].replace('\0', "\u{fffd}")
}

/// Which refused items are asked for.
#[derive(Clone, Debug, Default)]
pub struct RejectedFilter {
    pub source: Option<SourceId>,
    pub from: Option<Instant>,
}

/// Refused items, newest first; the key of a page is (received at, id).
pub async fn rejected(
    db: &impl ConnectionTrait,
    filter: &RejectedFilter,
    page: &Page<(i64, uuid::Uuid)>,
) -> Result<Slice<rejected_item::Model>, StoreError> {
    let mut query = rejected_item::Entity::find()
        .filter(rejected_filter(filter))
        .order_by_desc(rejected_item::Column::ReceivedAt)
        .order_by_desc(rejected_item::Column::Id)
        .limit(page.first + 1);
    if let Some((received_at, id)) = page.after {
        let key = Expr::tuple([
            Expr::col(rejected_item::Column::ReceivedAt),
            Expr::col(rejected_item::Column::Id),
        ]);
        query = query.filter(key.lt(Expr::tuple([Expr::val(received_at), Expr::val(id)])));
    }
    Ok(Slice::from_one_more(query.all(db).await?, page.first))
}

/// A refused item by its id.
pub async fn rejected_by_id(db: &impl ConnectionTrait, id: uuid::Uuid) -> Result<Option<rejected_item::Model>, StoreError> {
    Ok(rejected_item::Entity::find_by_id(id).one(db).await?)
}

fn rejected_filter(filter: &RejectedFilter) -> Condition {
    Condition::all()
        .add_option(filter.source.map(|source| rejected_item::Column::SourceId.eq(source.0)))
        .add_option(filter.from.map(|from| rejected_item::Column::ReceivedAt.gte(from.micros())))
}

/// How many refused items there are, up to `limit`.
pub async fn count_rejected(db: &impl ConnectionTrait, filter: &RejectedFilter, limit: u64) -> Result<u64, StoreError> {
    let ids = rejected_item::Entity::find()
        .select_only()
        .column(rejected_item::Column::Id)
        .filter(rejected_filter(filter))
        .limit(limit);
    Ok(ids.into_tuple::<uuid::Uuid>().all(db).await?.len() as u64)
}

/// One trait of the catalogue; none when no source has sent it.
pub(super) async fn trait_definition(
    db: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<trait_definition::Model>, StoreError> {
    Ok(trait_definition::Entity::find_by_id(name).one(db).await?)
}

pub(super) async fn set_class(db: &impl ConnectionTrait, name: &str, class: DataClass) -> Result<(), StoreError> {
    let update = trait_definition::Entity::update_many().col_expr(trait_definition::Column::Class, Expr::value(class.to_value()));
    update.filter(trait_definition::Column::Name.eq(name)).exec(db).await?;
    Ok(())
}

/// The traits that somebody gave another class than the default one: a handful.
pub async fn trait_classes(db: &impl ConnectionTrait) -> Result<HashMap<String, DataClass>, StoreError> {
    let query = trait_definition::Entity::find().select_only();
    let query = query.columns([trait_definition::Column::Name, trait_definition::Column::Class]);
    let query = query.filter(trait_definition::Column::Class.ne(DataClass::Pii));
    let classes: Vec<(String, DataClass)> = query.into_tuple().all(db).await?;
    Ok(classes.into_iter().collect())
}

/// The catalogue of traits in whole.
pub async fn all_traits(db: &impl ConnectionTrait) -> Result<Vec<trait_definition::Model>, StoreError> {
    Ok(trait_definition::Entity::find().all(db).await?)
}

/// The catalogue of events in whole.
pub async fn all_events(db: &impl ConnectionTrait) -> Result<Vec<event_definition::Model>, StoreError> {
    Ok(event_definition::Entity::find().all(db).await?)
}

/// Traits in the order of their names.
pub async fn trait_definitions(
    db: &impl ConnectionTrait,
    page: &Page<String>,
) -> Result<Slice<trait_definition::Model>, StoreError> {
    let mut query = trait_definition::Entity::find()
        .order_by_asc(trait_definition::Column::Name)
        .limit(page.first + 1);
    if let Some(after) = &page.after {
        query = query.filter(trait_definition::Column::Name.gt(after.as_str()));
    }
    Ok(Slice::from_one_more(query.all(db).await?, page.first))
}

/// Events in the order of (name, kind).
pub async fn event_definitions(
    db: &impl ConnectionTrait,
    page: &Page<(String, i16)>,
) -> Result<Slice<event_definition::Model>, StoreError> {
    let mut query = event_definition::Entity::find()
        .order_by_asc(event_definition::Column::Name)
        .order_by_asc(event_definition::Column::Kind)
        .limit(page.first + 1);
    if let Some((name, kind)) = &page.after {
        let key = Expr::tuple([
            Expr::col(event_definition::Column::Name),
            Expr::col(event_definition::Column::Kind),
        ]);
        query = query.filter(key.gt(Expr::tuple([Expr::val(name.as_str()), Expr::val(*kind)])));
    }
    Ok(Slice::from_one_more(query.all(db).await?, page.first))
}

/// New traits, and known ones whose type grows wider. The type is widened inside the statement, so two instances cannot undo each
/// other.
pub(super) async fn upsert_traits(db: &impl ConnectionTrait, seen: &[(String, TraitSeen)]) -> Result<(), StoreError> {
    let (integer, number, mixed) = (
        entity::ValueType::Integer.to_value(),
        entity::ValueType::Number.to_value(),
        entity::ValueType::Mixed.to_value(),
    );
    let tail = format!(
        "ON CONFLICT (name) DO UPDATE SET
            value_type = CASE
                WHEN trait_definition.value_type = excluded.value_type THEN excluded.value_type
                WHEN trait_definition.value_type IN ({integer}, {number}) AND excluded.value_type IN ({integer}, {number}) THEN {number}
                ELSE {mixed} END,
            last_seen_at = CASE WHEN excluded.last_seen_at > trait_definition.last_seen_at THEN excluded.last_seen_at
                ELSE trait_definition.last_seen_at END,
            seen_count = trait_definition.seen_count + excluded.seen_count"
    );
    Rows::new()
        .text("name", seen.iter().map(|(name, _)| name.clone()))
        .small("value_type", seen.iter().map(|(_, seen)| seen.value_type.to_value()))
        .small("class", seen.iter().map(|_| entity::DataClass::Pii.to_value()))
        .int("first_seen_at", seen.iter().map(|(_, seen)| seen.last_seen_at.micros()))
        .int("last_seen_at", seen.iter().map(|(_, seen)| seen.last_seen_at.micros()))
        .int("seen_count", seen.iter().map(|(_, seen)| seen.count))
        .insert(db, "trait_definition", &tail)
        .await?;
    Ok(())
}

pub(super) async fn upsert_events(
    db: &impl ConnectionTrait,
    seen: &[((String, entity::EventKind), EventSeen)],
) -> Result<(), StoreError> {
    let tail = "ON CONFLICT (name, kind) DO UPDATE SET
            last_seen_at = CASE WHEN excluded.last_seen_at > event_definition.last_seen_at THEN excluded.last_seen_at
                ELSE event_definition.last_seen_at END,
            seen_count = event_definition.seen_count + excluded.seen_count";
    Rows::new()
        .text("name", seen.iter().map(|((name, _), _)| name.clone()))
        .small("kind", seen.iter().map(|((_, kind), _)| kind.to_value()))
        .int("first_seen_at", seen.iter().map(|(_, seen)| seen.last_seen_at.micros()))
        .int("last_seen_at", seen.iter().map(|(_, seen)| seen.last_seen_at.micros()))
        .int("seen_count", seen.iter().map(|(_, seen)| seen.count))
        .insert(db, "event_definition", tail)
        .await?;
    Ok(())
}
