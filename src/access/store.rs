//! Every statement of `api_key` and `audit`.

use crate::base::Instant;
use crate::base::paging::{Page, Slice};
use crate::store::StoreError;
use entity::{api_key, audit};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

pub(super) async fn insert_audit(db: &impl ConnectionTrait, model: audit::Model) -> Result<(), StoreError> {
    model.into_active_model().reset_all().insert(db).await?;
    Ok(())
}

/// Every deed of one kind, the oldest first: for kinds of which there are few.
pub async fn deeds(db: &impl ConnectionTrait, action: &str) -> Result<Vec<audit::Model>, StoreError> {
    let query = audit::Entity::find().filter(audit::Column::Action.eq(action));
    Ok(query
        .order_by_asc(audit::Column::At)
        .order_by_asc(audit::Column::Id)
        .all(db)
        .await?)
}

pub(super) async fn insert_key(db: &impl ConnectionTrait, model: api_key::Model) -> Result<(), StoreError> {
    model.into_active_model().reset_all().insert(db).await?;
    Ok(())
}

pub(super) async fn key_by_id(db: &impl ConnectionTrait, id: &str) -> Result<Option<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find_by_id(id).one(db).await?)
}

pub(super) async fn keys_by_id(db: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<api_key::Model>, StoreError> {
    let query = api_key::Entity::find().filter(api_key::Column::Id.is_in(ids));
    Ok(query.all(db).await?)
}

pub(super) async fn set_revoked(db: &impl ConnectionTrait, id: &str, at: Instant) -> Result<(), StoreError> {
    let update = api_key::Entity::update_many().col_expr(api_key::Column::RevokedAt, Expr::value(at.micros()));
    update.filter(api_key::Column::Id.eq(id)).exec(db).await?;
    Ok(())
}

/// The origins of all keys that name some and were not revoked, with the instant at which the key ends. A handful.
pub(super) async fn origins(db: &impl ConnectionTrait) -> Result<Vec<(String, Option<i64>)>, StoreError> {
    let query = api_key::Entity::find()
        .select_only()
        .columns([api_key::Column::Origins, api_key::Column::ExpiresAt])
        .filter(api_key::Column::Origins.ne(""))
        .filter(api_key::Column::RevokedAt.is_null());
    Ok(query.into_tuple().all(db).await?)
}

/// Saves when keys were last used; a handful of keys, now and then.
pub(super) async fn set_last_used(db: &impl ConnectionTrait, ids: Vec<String>, at: Instant) -> Result<(), StoreError> {
    let update = api_key::Entity::update_many().col_expr(api_key::Column::LastUsedAt, Expr::value(at.micros()));
    update.filter(api_key::Column::Id.is_in(ids)).exec(db).await?;
    Ok(())
}

/// Keys in the order of their ids, revoked ones too.
pub async fn keys(db: &impl ConnectionTrait, page: &Page<String>) -> Result<Slice<api_key::Model>, StoreError> {
    let mut query = api_key::Entity::find()
        .order_by_asc(api_key::Column::Id)
        .limit(page.first + 1);
    if let Some(after) = &page.after {
        query = query.filter(api_key::Column::Id.gt(after.as_str()));
    }
    Ok(Slice::from_one_more(query.all(db).await?, page.first))
}
