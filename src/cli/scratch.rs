//! Databases to throw away: migrated once, then copied, or emptied, for everyone who needs an empty one.
//!
//! Promises: nothing that was there before is read or written, and nothing stays behind, unless the process is killed. On PostgreSQL
//! they lie beside the database that was named, which is only asked to make and drop them; their names begin with `tributary_test_`.

use super::server::open_store;
use super::settings::Settings;
use crate::base::Ids;
use crate::store::{Store, backend_of, place_of};
use anyhow::{Context as _, bail};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use std::path::PathBuf;

/// A scenario has one writer and reads between its steps.
const CONNECTIONS: u32 = 2;

/// Where scratch databases come from.
pub struct Scratch {
    settings: Settings,
    place: Place,
    made: u32,
}

enum Place {
    /// A folder of our own, with the template in it.
    Folder(PathBuf),
    /// A server, reached through the database that was named; the template has this name.
    Server {
        url: String,
        admin: DatabaseConnection,
        template: String,
    },
}

/// An empty store with the schema in place.
pub struct Scratched {
    pub store: Store,
    name: String,
}

impl Scratch {
    /// Makes the template. `url`: a PostgreSQL database whose user may create others; without one, or on SQLite, it is a file in the
    /// system's folder for temporary ones.
    pub async fn prepare(settings: &Settings, url: Option<&str>, ids: &Ids) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        settings.database.migrate = "always".to_owned();
        settings.database.require_durable = false;
        settings.database.query_connections = CONNECTIONS;
        settings.database.ingest_connections = CONNECTIONS;
        settings.ingest.committers = 1;
        let name = format!("tributary_test_{:016x}", u64::from_le_bytes(ids.bytes()));
        let place = match url {
            Some(url) if backend_of(url) == Ok(DbBackend::Postgres) => {
                let url = url.replacen("postgresql://", "postgres://", 1);
                // To drop a database waits for a checkpoint: on a busy server that is slow, and no news.
                let mut options = ConnectOptions::new(&url);
                options.max_connections(1).sqlx_logging(false);
                let admin = Database::connect(options)
                    .await
                    .with_context(|| format!("cannot open the database {}", place_of(&url)))?;
                Place::Server {
                    url,
                    admin,
                    template: name,
                }
            }
            _ => {
                let folder = std::env::temp_dir().join(name);
                std::fs::create_dir(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
                Place::Folder(folder)
            }
        };
        let scratch = Self {
            settings,
            place,
            made: 0,
        };
        if let Err(error) = scratch.make_template().await {
            scratch.remove().await;
            return Err(error);
        }
        Ok(scratch)
    }

    async fn make_template(&self) -> anyhow::Result<()> {
        let name = match &self.place {
            Place::Folder(_) => "template".to_owned(),
            Place::Server { admin, template, url } => {
                let made = admin.execute_unprepared(&format!("CREATE DATABASE {template}")).await;
                made.with_context(|| format!("making a scratch database beside {}", place_of(url)))?;
                template.clone()
            }
        };
        self.open(&name).await?.close().await;
        Ok(())
    }

    async fn open(&self, name: &str) -> anyhow::Result<Store> {
        let mut settings = self.settings.clone();
        settings.database.url = match &self.place {
            Place::Folder(folder) => format!("sqlite://{}", folder.join(name).display()),
            Place::Server { url, .. } => beside(url, name)?,
        };
        open_store(&settings, Ids::system()).await
    }

    /// Another empty store.
    pub async fn another(&mut self) -> anyhow::Result<Scratched> {
        self.made += 1;
        let name = match &self.place {
            Place::Folder(folder) => {
                let name = format!("scratch{}", self.made);
                std::fs::copy(folder.join("template"), folder.join(&name)).context("copying the scratch database")?;
                name
            }
            Place::Server { template, .. } => template.clone(),
        };
        let store = self.open(&name).await?;
        if matches!(self.place, Place::Server { .. }) && self.made > 1 {
            empty(store.writer()).await.context("emptying the scratch database")?;
        }
        Ok(Scratched { store, name })
    }

    /// Throws one away.
    pub async fn discard(&self, scratched: Scratched) {
        scratched.store.close().await;
        match &self.place {
            Place::Folder(folder) => {
                // What cannot be removed now goes with the folder.
                let _ = std::fs::remove_file(folder.join(scratched.name));
            }
            // Emptied when it is wanted again: to make and drop databases waits for the server's checkpoints.
            Place::Server { .. } => {}
        }
    }

    /// Removes everything, also what was not discarded.
    pub async fn remove(self) {
        match self.place {
            Place::Folder(folder) => {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::warn!(%error, folder = %folder.display(), "a folder of scratch databases could not be removed");
                }
            }
            Place::Server { admin, template, .. } => {
                drop_database(&admin, &template).await;
                if let Err(error) = admin.close().await {
                    tracing::debug!(%error, "closing the connection to the server of the scratch databases");
                }
            }
        }
    }
}

/// Takes every row out but those that the first migration wrote.
async fn empty(database: &DatabaseConnection) -> anyhow::Result<()> {
    let sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_name NOT IN ('installation', 'seaql_migrations')";
    let rows = database
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await?;
    let tables: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    database
        .execute_unprepared(&format!("TRUNCATE {}", tables.join(", ")))
        .await?;
    Ok(())
}

async fn drop_database(admin: &DatabaseConnection, name: &str) {
    // By force: an interrupted scenario leaves its connections open.
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    if let Err(error) = admin.execute_unprepared(&sql).await {
        tracing::warn!(%error, database = name, "a scratch database could not be dropped");
    }
}

/// The URL of another database of the same server.
fn beside(url: &str, name: &str) -> anyhow::Result<String> {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    // A password may hold a slash: what follows the last one behind the '@' is the database.
    let host_at = address.rfind('@').map_or("postgres://".len(), |at| at + 1);
    let Some(host) = address.get(host_at..) else {
        bail!("the URL of the database has no host");
    };
    let host_end = host.find('/').map_or(address.len(), |slash| host_at + slash);
    Ok(format!("{}/{name}{parameters}", &address[..host_end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_database_lies_beside_the_one_that_was_named() {
        for (url, expected) in [
            ("postgres://db/shop", "postgres://db/x"),
            ("postgres://db", "postgres://db/x"),
            (
                "postgres://a:p/w@db:5432/shop?sslmode=require",
                "postgres://a:p/w@db:5432/x?sslmode=require",
            ),
        ] {
            assert_eq!(beside(url, "x").expect("a URL"), expected);
        }
    }
}
