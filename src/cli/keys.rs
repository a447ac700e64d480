//! `tributary key`: keys of servers and operators.

use crate::access::{self, Actor, NewKey, Scope};
use crate::base::paging::Page;
use crate::base::{Clock, Instant};
use crate::store::Store;
use clap::Subcommand;
use entity::ApiKeyKind;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key; prints it, this once.
    #[command(after_help = "Examples:
  tributary key create --name \"first admin\" --scope admin
  tributary key create --name \"reports\" --scope read --expires 2027-01-01
  tributary key create --name \"web shop\" --subject --origin https://shop.example")]
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do: read, read:pii, write or admin; repeat for several.
        #[arg(long = "scope", required_unless_present = "subject", conflicts_with = "subject", value_parser = scope)]
        scopes: Vec<Scope>,
        /// Make a pair for signing tokens of single visitors, and print its private half.
        #[arg(long)]
        subject: bool,
        /// An origin whose pages may use it, such as https://shop.example; repeat for several.
        #[arg(long = "origin")]
        origins: Vec<String>,
        /// When it stops working: 2027-01-01 or 2027-01-01T12:00:00Z.
        #[arg(long, value_parser = instant)]
        expires: Option<Instant>,
    },
    /// List the keys.
    #[command(after_help = "Example:\n  tributary key list")]
    List,
    /// Revoke a key for good.
    #[command(after_help = "Example:\n  tributary key revoke 3f9a0c2b7d11")]
    Revoke {
        /// The id that `key list` shows.
        id: String,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "use read, read:pii, write or admin".to_owned())
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse(text).ok_or_else(|| "use a day such as 2027-01-01 or a time such as 2027-01-01T12:00:00Z".to_owned())
}

pub(super) async fn run(store: &Store, command: KeyCommand) -> anyhow::Result<()> {
    let (now, actor) = (Clock::System.now(), Actor::cli());
    match command {
        KeyCommand::Create {
            name,
            scopes,
            subject,
            origins,
            expires,
        } => {
            let made = access::create(
                store,
                now,
                &actor,
                NewKey {
                    kind: if subject { ApiKeyKind::Subject } else { ApiKeyKind::Server },
                    name,
                    scopes,
                    origins,
                    expires_at: expires,
                },
            )
            .await?;
            say!("id  {}", made.key.id);
            say!("key {}", made.text);
            say!("Keep the key: it is not shown again.");
        }
        KeyCommand::List => {
            let mut after = None;
            say!("{:<14} {:<6} {:<24} {:<10} name", "id", "ends", "scopes", "state");
            loop {
                let slice = access::keys(store.reader(), &Page { first: 100, after }).await?;
                for key in &slice.rows {
                    let expired = key.expires_at.is_some_and(|at| at <= now.micros());
                    let state = if key.revoked_at.is_some() {
                        "revoked"
                    } else if expired {
                        "expired"
                    } else {
                        "active"
                    };
                    say!(
                        "{:<14} …{:<5} {:<24} {:<10} {}",
                        key.id,
                        key.last_four,
                        if key.kind == ApiKeyKind::Subject {
                            "subject"
                        } else {
                            &key.scopes
                        },
                        state,
                        key.name
                    );
                }
                after = slice.rows.last().map(|key| key.id.clone());
                if !slice.more {
                    break;
                }
            }
        }
        KeyCommand::Revoke { id } => match access::revoke(store, now, &actor, &id).await? {
            (_, Some(_)) => {
                say!("revoked {id}");
            }
            (_, None) => {
                say!("{id} was revoked before");
            }
        },
    }
    Ok(())
}
