//! `tributary backup`: a copy of the database as it is at one moment, taken while it is in use.

use super::server::{cannot_open, pending_migrations};
use super::settings::Settings;
use crate::base::Ids;
use crate::store::{self, DatabaseOptions, Store};
use anyhow::{Context as _, bail};
use clap::Args;
use sea_orm::{ConnectionTrait as _, Statement};
use std::path::{Path, PathBuf};
use std::process::Stdio;

pub(super) const EXAMPLES: &str = "Examples:
  tributary backup --out tributary-2026-11-22.db                             SQLite: a database file
  tributary backup --database-url postgres://tributary@db/tributary --out tributary.dump   PostgreSQL: needs pg_dump

Restore SQLite: stop the server, put the copy in the place of the database file and remove the files beside it that end in
-wal and -shm, start the server. Restore PostgreSQL: pg_restore --clean --if-exists --no-owner --dbname URL tributary.dump.
The copy holds personal data and the secret from which ids are made: keep it as safe as the database. See docs/backup.md.";

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) async fn run(settings: &Settings, backup: Backup) -> anyhow::Result<()> {
    // Looking must not make or change anything; an older schema is copied as it is, to go back to.
    let options = DatabaseOptions {
        create: false,
        ..settings.database_options()
    };
    if store::is_missing_file(&options.url) {
        bail!("there is no database at {}", store::place_of(&options.url));
    }
    let out = &backup.out;
    if out.exists() {
        bail!("{} exists already: name a file that does not", out.display());
    }
    let store = store::open(&options, Ids::system())
        .await
        .with_context(|| cannot_open(&options))?;
    pending_migrations(&store).await?;
    let partial = partial(out);
    let made = match store.is_postgres() {
        true => dump(&options.url, &partial).await,
        false => vacuum(&store, &partial).await,
    };
    let kept = made.and_then(|()| keep(&partial, out));
    if kept.is_err() && partial.exists() {
        // What is left is no backup, and must not be taken for one.
        std::fs::remove_file(&partial).with_context(|| partial.display().to_string())?;
    }
    kept?;
    store.close().await;
    let size = std::fs::metadata(out)?.len();
    say!(
        "{} ({size} bytes) is a copy of {}",
        out.display(),
        store::place_of(&options.url)
    );
    Ok(())
}

/// Where it is written until it is whole.
fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// One statement reads one view of the database, whatever is written meanwhile.
async fn vacuum(store: &Store, partial: &Path) -> anyhow::Result<()> {
    let path = partial.to_str().context("the name of the file is no text")?;
    // Made first, so that nobody else may read it at any moment.
    private_file(partial)?;
    let statement = Statement::from_sql_and_values(store.backend(), "VACUUM INTO $1", [path.into()]);
    store.reader().execute_raw(statement).await.context("copying the database")?;
    Ok(())
}

/// Readable by its owner only.
fn private_file(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map(|_| ()).with_context(|| path.display().to_string())
}

/// pg_dump reads one snapshot.
async fn dump(url: &str, partial: &Path) -> anyhow::Result<()> {
    let (url, password) = without_password(url);
    private_file(partial)?;
    let mut command = std::process::Command::new("pg_dump");
    command
        .args(["--format=custom", "--no-owner", "--no-privileges", "--file"])
        .arg(partial);
    // Not on the command line, where everybody on the machine could read it.
    command.arg("--dbname").arg(url).stdin(Stdio::null());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    let ended = tokio::task::spawn_blocking(move || command.output()).await?;
    match ended {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "pg_dump is not installed here: install the client programs of PostgreSQL (Debian: postgresql-client), of the server's version or newer"
        ),
        Err(error) => Err(error).context("running pg_dump"),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("pg_dump failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// A URL without its password, and the password as it is meant.
fn without_password(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), None);
    };
    let address_end = rest.find('?').unwrap_or(rest.len());
    let Some(at) = rest[..address_end].rfind('@') else {
        return (url.to_owned(), None);
    };
    let (user, place) = (&rest[..at], &rest[at..]);
    match user.split_once(':') {
        Some((user, password)) => (format!("{scheme}://{user}{place}"), Some(decoded(password))),
        None => (url.to_owned(), None),
    }
}

/// `%40` is an at sign.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// On the disk, and then under its name.
fn keep(partial: &Path, out: &Path) -> anyhow::Result<()> {
    let context = || out.display().to_string();
    std::fs::File::open(partial)
        .and_then(|file| file.sync_all())
        .with_context(context)?;
    std::fs::rename(partial, out).with_context(context)?;
    let folder = out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_handed_over_beside_the_url() {
        for (url, expected, password) in [
            (
                "postgres://ada:p%40ss@db:5432/shop?sslmode=require",
                "postgres://ada@db:5432/shop?sslmode=require",
                Some("p@ss"),
            ),
            ("postgres://ada:p@ss/w@db/shop", "postgres://ada@db/shop", Some("p@ss/w")),
            ("postgres://ada@db/shop", "postgres://ada@db/shop", None),
            (
                "postgres://db/shop?application_name=a@b",
                "postgres://db/shop?application_name=a@b",
                None,
            ),
        ] {
            assert_eq!(
                without_password(url),
                (expected.to_owned(), password.map(str::to_owned)),
                "{url}"
            );
        }
    }
}
