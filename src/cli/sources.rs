//! `tributary source`: the systems that send data.

use crate::access::Actor;
use crate::base::Clock;
use crate::base::paging::Page;
use crate::ingest;
use crate::ingest::source::NewSource;
use crate::store::Store;
use clap::{Args, Subcommand};
use entity::Channel;

#[derive(Debug, Subcommand)]
pub(super) enum SourceCommand {
    /// Add a source; prints its write key, this once.
    #[command(after_help = "Examples:
  tributary source add --key web --name \"Web shop\" --channel web
  tributary source add --key till --name \"Tills\" --channel pos --trust 10 --write-key \"$KEY_THE_TILLS_HAVE\"")]
    Add(SourceAdd),
    /// List the sources.
    #[command(after_help = "Example:\n  tributary source list")]
    List,
}

#[derive(Debug, Args)]
pub(super) struct SourceAdd {
    /// The name by which configuration speaks of it: lower-case letters, digits, '-', '_' and '.'.
    #[arg(long)]
    key: String,
    /// The name people read; by default the key.
    #[arg(long)]
    name: Option<String>,
    /// web, app, pos, crm, email, call-centre, social, import or other.
    #[arg(long, value_parser = channel)]
    channel: Channel,
    /// Where sources disagree and a rule asks for trust, the higher wins.
    #[arg(long, default_value_t = 0)]
    trust: i64,
    /// A write key that senders already use.
    #[arg(long)]
    write_key: Option<String>,
    /// The largest event it may send, in bytes of JSON, up to 4194304.
    #[arg(long)]
    max_event_bytes: Option<i64>,
    /// The largest request it may send, in bytes after decompression, up to 4194304.
    #[arg(long)]
    max_batch_bytes: Option<i64>,
}

fn channel(text: &str) -> Result<Channel, String> {
    let names = "use web, app, pos, crm, email, call-centre, social, import or other";
    ingest::source::channel_named(text).ok_or_else(|| names.to_owned())
}

pub(super) async fn run(store: &Store, command: SourceCommand) -> anyhow::Result<()> {
    match command {
        SourceCommand::Add(add) => {
            let new = NewSource {
                name: add.name.unwrap_or_else(|| add.key.clone()),
                key: add.key,
                channel: add.channel,
                trust: add.trust,
                write_key: add.write_key,
                max_event_bytes: add.max_event_bytes,
                max_batch_bytes: add.max_batch_bytes,
                review_aliases: false,
            };
            let made = ingest::source::create(store, Clock::System.now(), &Actor::cli(), new).await?;
            say!("source    {}", made.source.key);
            say!("write key {}", made.write_key.unwrap_or_default());
            say!("Keep the write key: it is not shown again.");
        }
        SourceCommand::List => {
            let mut after = None;
            say!("{:<24} {:<12} {:>5}  {:<8} name", "key", "channel", "trust", "state");
            loop {
                let slice = ingest::store::sources(store.reader(), &Page { first: 100, after }).await?;
                for source in &slice.rows {
                    let state = if source.enabled { "enabled" } else { "disabled" };
                    say!(
                        "{:<24} {:<12} {:>5}  {:<8} {}",
                        source.key,
                        format!("{:?}", source.channel),
                        source.trust,
                        state,
                        source.name
                    );
                }
                after = slice.rows.last().map(|source| source.key.clone());
                if !slice.more {
                    break;
                }
            }
        }
    }
    Ok(())
}
