//! What makes this installation itself: the secret that turns natural keys into ids, and the one that authenticates feed cursors.
//!
//! Both are random and written once. A plain hash of an e-mail address could be looked up in a dictionary; a keyed one cannot.

use crate::ddl;
use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let insert_id_key = insert_secret("id_key");
        let insert_cursor_key = insert_secret("cursor_key");
        let table = "CREATE TABLE installation (name {text} NOT NULL PRIMARY KEY, value {text} NOT NULL){keyed}";
        ddl::run(manager, &[table, &insert_id_key, &insert_cursor_key]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["installation"]).await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a migration has no caller to hand it randomness, and this runs once in a lifetime"
)]
fn insert_secret(name: &str) -> String {
    let secret: [u8; 32] = rand::random();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("INSERT INTO installation (name, value) VALUES ('{name}', '{hex}')")
}
