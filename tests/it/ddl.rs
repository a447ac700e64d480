//! The schema itself, read back from both databases: what would keep it from being spread over several servers is refused.

use super::support::app::{Backend, TestApp};
use migration::{DISTRIBUTION, Distribution};
use sea_orm::{ConnectionTrait as _, Statement};
use std::collections::{BTreeMap, BTreeSet};

async fn rows(app: &TestApp, sql: &str) -> Vec<(String, String)> {
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    rows.iter()
        .map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap()))
        .collect()
}

fn grouped(rows: Vec<(String, String)>) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (group, member) in rows {
        groups.entry(group).or_default().insert(member);
    }
    groups
}

const POSTGRES_COLUMNS: &str = "SELECT table_name::text, column_name::text || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END
    FROM information_schema.columns WHERE table_schema = 'public'";
const SQLITE_COLUMNS: &str = "SELECT m.name, c.name || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN '' ELSE '?' END
    FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'";
const POSTGRES_KEYS: &str = "SELECT c.relname::text || '/' || i.relname::text, a.attname::text FROM pg_index x
    JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(x.indkey) WHERE x.indisunique AND n.nspname = 'public'";
const SQLITE_KEYS: &str = "SELECT m.name || '/' || i.name, c.name FROM sqlite_master m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c
    WHERE m.type = 'table' AND i.\"unique\" = 1";

#[tokio::test(flavor = "multi_thread")]
async fn every_unique_key_contains_the_distribution_column_of_its_table() {
    for (backend, sql) in [(Backend::Postgres, POSTGRES_KEYS), (Backend::Sqlite, SQLITE_KEYS)] {
        let app = TestApp::new(backend).await;
        let keys = grouped(rows(&app, sql).await);
        assert!(keys.len() >= DISTRIBUTION.len() - 1, "{backend:?}: {keys:?}");
        for (key, columns) in keys {
            let table = key.split('/').next().unwrap();
            let (_, distribution) = DISTRIBUTION
                .iter()
                .find(|(name, _)| *name == table)
                .unwrap_or_else(|| panic!("{table} has no distribution"));
            if let Distribution::By(column) = distribution {
                assert!(columns.contains(*column), "{backend:?}: {key} lacks {column}");
            }
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_have_the_same_tables_and_columns_and_each_table_names_its_distribution() {
    let (postgres, sqlite) = (TestApp::new(Backend::Postgres).await, TestApp::new(Backend::Sqlite).await);
    let on_postgres = grouped(rows(&postgres, POSTGRES_COLUMNS).await);
    let on_sqlite = grouped(rows(&sqlite, SQLITE_COLUMNS).await);
    let ours = |tables: &BTreeMap<String, BTreeSet<String>>| {
        tables
            .iter()
            .filter(|(name, _)| *name != "seaql_migrations")
            .map(|(name, columns)| (name.clone(), columns.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(ours(&on_postgres), ours(&on_sqlite));
    let named: BTreeSet<String> = DISTRIBUTION.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(on_postgres.keys().cloned().collect::<BTreeSet<_>>(), named);
    postgres.stop().await;
    sqlite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_schema_stands_in_the_way_of_many_servers() {
    let app = TestApp::new(Backend::Postgres).await;
    for (what, sql) in [
        ("triggers", "SELECT COUNT(*) FROM pg_trigger WHERE NOT tgisinternal"),
        (
            "functions",
            "SELECT COUNT(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'",
        ),
        ("enum types", "SELECT COUNT(*) FROM pg_enum"),
        (
            "materialised views",
            "SELECT COUNT(*) FROM pg_matviews WHERE schemaname = 'public'",
        ),
        (
            "defaults",
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'public' AND column_default IS NOT NULL",
        ),
        ("foreign keys", "SELECT COUNT(*) FROM pg_constraint WHERE contype = 'f'"),
        (
            "times in SQL",
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type LIKE 'timestamp%'",
        ),
        (
            "texts that sort by language",
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'seaql_migrations' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
        ),
    ] {
        assert_eq!(app.scalar(sql).await, 0, "{what}");
    }
    assert_eq!(
        app.scalar("SELECT COUNT(*) FROM pg_sequences").await,
        1,
        "one sequence in the product"
    );
    assert_eq!(app.scalar("SELECT cache_size FROM pg_sequences").await, 1);
    assert_eq!(
        app.scalar("SELECT COUNT(*) FROM pg_indexes WHERE tablename = 'event'").await,
        2,
        "two indexes on event, no more"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_read_every_table() {
    use entity::*;
    use sea_orm::{EntityTrait as _, QuerySelect as _};
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::new(backend).await;
        let reader = app.server.services.store.reader();
        macro_rules! readable {
            ($($module:ident),+) => {$(
                $module::Entity::find().limit(1).all(reader).await.unwrap_or_else(|error| panic!("{backend:?} {}: {error}", stringify!($module)));
            )+};
        }
        readable!(
            activity,
            api_key,
            audit,
            change,
            change_tx,
            consent,
            customer,
            customer_value,
            due,
            event,
            event_definition,
            identifier,
            installation,
            job,
            link,
            metric_change,
            product,
            purchase,
            purchase_line,
            record,
            refund,
            rejected_item,
            source,
            trait_definition,
            value_model
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_again() {
    use migration::{Migrator, MigratorTrait as _};
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::new(backend).await;
        let writer = app.server.services.store.writer();
        Migrator::down(writer, None).await.unwrap();
        Migrator::up(writer, None).await.unwrap();
        assert_eq!(app.count("installation").await, 2);
        app.stop().await;
    }
}
