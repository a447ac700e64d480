//! A key of a server or an operator, of which only a digest is kept; or the public half of a pair whose private half signs tokens of
//! single visitors.

use crate::kinds::ApiKeyKind;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    /// The public part of the key text.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// BLAKE3 of the whole key text; of a subject key, of its public key.
    pub digest: Vec<u8>,
    pub name: String,
    /// Comma-separated scopes.
    pub scopes: String,
    /// The end of the key text, to recognise it by; of a subject key, of its public key in base64.
    pub last_four: String,
    pub created_at: i64,
    pub created_by: String,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    /// Saved now and then, not at each use.
    pub last_used_at: Option<i64>,
    pub kind: ApiKeyKind,
    /// Ed25519, 32 bytes; none of a server's key.
    pub public_key: Option<Vec<u8>>,
    /// Space-separated origins whose pages may use it.
    pub origins: String,
}

impl ActiveModelBehavior for ActiveModel {}
