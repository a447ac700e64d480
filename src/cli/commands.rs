//! The commands and what each does.

use super::keys::KeyCommand;
use super::server::{Server, cannot_open, open_store, pending_migrations};
use super::settings::{self, Origins, Settings};
use super::sources::SourceCommand;
use super::value::{self, ValueCommand};
use super::{backup, demo, doctor, erasures, export, import, keys, rebuild, sources, telemetry, test};
use crate::base::{Clock, Ids, Stopwatch};
use crate::graphql;
use crate::store::{self, DatabaseOptions, Store};
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use migration::{Migrator, MigratorTrait as _};
use std::path::PathBuf;

/// Many channels flow in, one customer flows out over GraphQL.
#[derive(Debug, Parser)]
#[command(
    name = "tributary",
    version,
    after_help = "Examples:
  tributary serve --demo                                    try it, with demo data, on http://127.0.0.1:8080
  tributary demo --people 5000                              the same company, larger, in a database of yours
  tributary source add --key web --name \"Web shop\" --channel web
  tributary key create --name \"back office\" --scope read --scope read:pii
  tributary value score --transactions orders.csv --out scores.csv --report report.json
  tributary import people.csv --source crm --dry-run        what would be stored of a file
  tributary doctor                                          is this installation sound?
  tributary test scenarios.json                             do my identity rules do what I mean?

Settings: config/default.toml lists them all. Override with --config FILE, or TRIBUTARY_SECTION__KEY in the environment."
)]
pub struct Cli {
    /// A file with settings; only what differs from the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database is: sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = "Examples:
  tributary serve                                           embedded database in ./tributary.db
  tributary serve --bind 0.0.0.0:8080 --database-url postgres://tributary@db/tributary
  tributary serve --demo                                    a small company to look at, in ./tributary-demo.db")]
    Serve(Serve),
    /// Load an invented company into the database, or write it into files.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Bring the database's schema up to date.
    #[command(after_help = "Examples:
  tributary migrate --database-url postgres://tributary@db/tributary
  tributary migrate --check                                 exit with 1 when something is to be done")]
    Migrate {
        /// Only say what is to be done.
        #[arg(long)]
        check: bool,
    },
    /// Print the GraphQL schema.
    #[command(after_help = "Example:\n  tributary schema > schema.graphql")]
    Schema,
    /// The systems that send data.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Keys of servers and operators.
    #[command(subcommand)]
    Key(KeyCommand),
    /// What customers are worth, out of a file: for analysts, without a server.
    #[command(subcommand)]
    Value(ValueCommand),
    /// Take in files: people, events, orders, exchange rates, spend. CSV or NDJSON, gzip too.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Write customers, records or events to a file, for spreadsheets or other programs.
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Copy the database while it is in use, to be restored as it is at this moment.
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Backup),
    /// The ledger of who was erased: written out, and carried out again on a restored database.
    #[command(subcommand)]
    Erasures(erasures::ErasuresCommand),
    /// Is this installation sound? Exit status 1 when it is not.
    #[command(after_help = "Example:\n  tributary doctor --database-url postgres://tributary@db/tributary")]
    Doctor,
    /// Try identity rules on scenarios: given records and decisions, then the expected customers. Touches no data.
    #[command(after_help = test::EXAMPLES)]
    Test(test::Test),
    /// Does everything derived follow from the recorded history? Exit status 1 when it does not.
    ///
    /// Folds who is who, golden values, purchases and the catalogue again out of sources, keys of records, links, events and decisions,
    /// in memory, and compares them with what is stored, row by row. Reads one view of the database and writes nothing, so the server
    /// may go on. Rules that were never published are those of the settings at hand: hand in the settings of the server.
    #[command(after_help = "Example:
  tributary rebuild --check --database-url postgres://tributary@db/tributary

Each difference is a line on standard output: TABLE.COLUMN KEY: stored …, expected …. The values may be personal data.")]
    Rebuild {
        /// Compare. Without it nothing is done: writing what was folded is not there yet.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// Load a small demo company into a database of its own, once, and print where to look.
    #[arg(long)]
    demo: bool,
}

/// Runs a command to its end.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    if matches!(cli.command, Command::Schema) {
        say!("{}", graphql::sdl().trim_end());
        return Ok(());
    }
    if let Command::Value(command) = &cli.command {
        return value::run(command);
    }
    let mut settings = load_settings(&cli)?;
    if matches!(cli.command, Command::Serve(Serve { demo: true, .. })) {
        demo::prepare(&mut settings, &Ids::system());
    }
    if matches!(
        cli.command,
        Command::Test(_) | Command::Import(_) | Command::Export(_) | Command::Backup(_) | Command::Erasures(_)
    ) {
        // Its output is for people and CI; what migrates a scratch database is no news.
        settings.log.level = "warn".to_owned();
    }
    telemetry::start(&settings.log);
    match cli.command {
        Command::Serve(serve) => run_server(settings, serve.demo).await,
        Command::Demo(demo) => demo::run(&settings, &demo).await,
        Command::Migrate { check } => migrate(&settings, check).await,
        Command::Schema | Command::Value(_) => Ok(()),
        Command::Source(command) => sources::run(&opened(&settings).await?, command).await,
        Command::Key(command) => keys::run(&opened(&settings).await?, command).await,
        Command::Doctor => doctor::run(&settings).await,
        Command::Test(test) => test::run(&settings, cli.database_url.as_deref(), &test).await,
        Command::Rebuild { check } => rebuild::run(&settings, check).await,
        Command::Import(import) => {
            // It meets each page once or twice: mapped, they would only count as memory.
            settings.database.mapped_mb = 0;
            import::run(&settings, import).await
        }
        Command::Export(export) => export::run(&settings, export).await,
        Command::Backup(backup) => backup::run(&settings, backup).await,
        Command::Erasures(command) => erasures::run(&settings, &command).await,
    }
}

fn load_settings(cli: &Cli) -> anyhow::Result<Settings> {
    let mut flags = Vec::new();
    if let Command::Serve(Serve { bind: Some(bind), .. }) = &cli.command {
        flags.push(("server.bind", bind.clone()));
    }
    if let Some(url) = &cli.database_url {
        flags.push(("database.url", url.clone()));
    }
    let settings = settings::load(&Origins::of_process(cli.config.clone(), flags));
    settings.map_err(|problems| anyhow::anyhow!("the settings are not sound:\n  - {}", problems.join("\n  - ")))
}

async fn opened(settings: &Settings) -> anyhow::Result<Store> {
    open_store(settings, Ids::system()).await
}

async fn run_server(settings: Settings, is_demo: bool) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let store = open_store(&settings, Ids::system()).await?;
    let server = Server::start(&settings, store, Clock::System).await?;
    tracing::info!(address = %server.address, "listening");
    if is_demo {
        if let Err(error) = show_demo(&server, &settings).await {
            server.stop().await?;
            return Err(error);
        }
    } else {
        say!("tributary listens on http://{}", server.address);
    }
    signals.first().await;
    tracing::info!("stopping: finishing what is under way");
    tokio::select! {
        stopped = server.stop() => stopped?,
        () = signals.first() => bail!("stopped at once by a second signal"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Loads the demo company unless it is there, and says where to look.
async fn show_demo(server: &Server, settings: &Settings) -> anyhow::Result<()> {
    let watch = Stopwatch::start();
    let services = &server.services;
    let wish = demo::load::Wish {
        plan: demo::small(services.now()),
        beside_other_data: false,
        any: true,
    };
    let loaded = demo::load::load(services, &server.intake, wish, 2, demo::progress(watch)).await?;
    say!("{}", demo::tour::questions(&loaded.company, services.store.hash_key()));
    say!("{}", demo::tour::queries());
    say!("{}\n", demo::summary(services, &loaded, watch).await?);
    demo::tour::print_doors(&server.address, &settings.auth.admin_key);
    Ok(())
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn install() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn migrate(settings: &Settings, check: bool) -> anyhow::Result<()> {
    let options = DatabaseOptions {
        create: !check,
        ..settings.database_options()
    };
    if check && store::is_missing_file(&options.url) {
        bail!(
            "to be applied: everything, there is no database at {} yet",
            store::place_of(&options.url)
        );
    }
    let store = store::open(&options, Ids::system())
        .await
        .with_context(|| cannot_open(&options))?;
    let pending = pending_migrations(&store).await?;
    if pending.is_empty() {
        say!("the schema is up to date");
        return Ok(());
    }
    if check {
        bail!("to be applied: {}", pending.join(", "));
    }
    Migrator::up(store.writer(), None).await.context("migrating the database")?;
    say!("applied {} migrations: {}", pending.len(), pending.join(", "));
    store.close().await;
    Ok(())
}
