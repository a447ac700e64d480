//! A running server: opened, listening, and stopped without losing anything.

use super::settings::Settings;
use crate::base::{Clock, Ids};
use crate::graphql::{Door, GraphqlOptions, is_node_id};
use crate::http::{self, Doors, Patient, Readiness, Sockets, TrackingOptions, install_metrics};
use crate::identity::RulesDirectory;
use crate::ingest::Limits;
use crate::pipeline::dispatch::Dispatcher;
use crate::pipeline::queue::{self, Committers, Intake};
use crate::pipeline::records::RecordsDoor;
use crate::pipeline::refresh::{self, Refresher};
use crate::pipeline::{Services, jobs};
use crate::store::{self, DatabaseOptions, Store, in_background};
use crate::worker::feed::{self, FeedLoops};
use crate::worker::{self, Dispatching, Refreshing, Worker};
use anyhow::{Context as _, bail};
use axum::serve::ListenerExt as _;
use migration::{Migrator, MigratorTrait as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long sockets may take to say goodbye when the server stops: they only have to be told.
const SOCKET_PATIENCE: Duration = Duration::from_secs(5);

/// A server that answers.
pub struct Server {
    pub address: SocketAddr,
    pub services: Services,
    pub intake: Intake,
    readiness: Readiness,
    sockets: Sockets,
    committers: Committers,
    worker: Worker,
    feed: FeedLoops,
    refreshing: Option<Refreshing>,
    dispatching: Option<Dispatching>,
    stop: oneshot::Sender<()>,
    http: JoinHandle<std::io::Result<()>>,
    patience: Duration,
}

/// Opens the database with its schema in place, or says what to do.
pub async fn open_store(settings: &Settings, ids: Ids) -> anyhow::Result<Store> {
    let options = settings.database_options();
    let mut store = store::open(&options, ids).await.with_context(|| cannot_open(&options))?;
    let pending = pending_migrations(&store).await?;
    if !pending.is_empty() {
        if !settings.migrates_itself() {
            bail!(
                "the database's schema is {} migrations behind this version: run `tributary migrate` first",
                pending.len()
            );
        }
        Migrator::up(store.writer(), None).await.context("migrating the database")?;
        store.load_secrets().await?;
    }
    for finding in store::check(&store).await? {
        let Some(remedy) = finding.remedy else { continue };
        if settings.database.require_durable {
            bail!(
                "the database may lose what it acknowledged: {} is {}; {remedy} (or set database.require_durable = false)",
                finding.what,
                finding.value
            );
        }
        tracing::warn!(
            setting = finding.what,
            value = finding.value,
            remedy,
            "the database may lose what it acknowledged"
        );
    }
    Ok(store)
}

/// Opens a database that is there, with this version's schema, to look at it: makes and changes nothing, and does not ask whether it keeps
/// what it acknowledges.
pub async fn open_as_it_is(settings: &Settings, ids: Ids) -> anyhow::Result<Store> {
    let options = DatabaseOptions {
        create: false,
        ..settings.database_options()
    };
    if store::is_missing_file(&options.url) {
        bail!("there is no database at {}", store::place_of(&options.url));
    }
    let store = store::open(&options, ids).await.with_context(|| cannot_open(&options))?;
    let pending = pending_migrations(&store).await?;
    if !pending.is_empty() {
        bail!(
            "the database's schema is {} migrations behind this version: run `tributary migrate` first",
            pending.len()
        );
    }
    Ok(store)
}

/// What was tried, for the message that says why it failed.
pub fn cannot_open(options: &DatabaseOptions) -> String {
    let place = store::place_of(&options.url);
    match store::missing_folder(&options.url) {
        Some(folder) => format!("cannot open the database {place}: there is no folder {}", folder.display()),
        None => format!("cannot open the database {place}"),
    }
}

fn cannot_listen(bind: SocketAddr, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => ": another program listens there; choose another port with --bind or server.bind",
        std::io::ErrorKind::AddrNotAvailable => ": it is no address of this machine; 0.0.0.0 stands for all it has",
        std::io::ErrorKind::PermissionDenied => ": ports below 1024 are for privileged programs",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {bind}{hint}"))
}

/// Names of migrations that this version has and the database has not.
///
/// # Errors
/// When the database has a migration that this version does not know: it belongs to a newer one.
pub async fn pending_migrations(store: &Store) -> anyhow::Result<Vec<String>> {
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let applied: Vec<String> = if store.is_installed() {
        Migrator::get_migration_models(store.writer())
            .await?
            .into_iter()
            .map(|model| model.version)
            .collect()
    } else {
        Vec::new()
    };
    if let Some(newer) = applied.iter().find(|name| !known.contains(name)) {
        bail!("the database belongs to a newer version of tributary (it has the migration {newer}): use that version");
    }
    Ok(known.into_iter().filter(|name| !applied.contains(name)).collect())
}

/// The door for records, with the limits of the settings.
pub fn records_door(settings: &Settings, intake: Intake) -> RecordsDoor {
    RecordsDoor {
        intake,
        limits: Limits {
            event_bytes: settings.ingest.max_event_bytes,
            events: settings.ingest.max_batch_events,
        },
        protected_traits: settings.ingest.protected_traits.clone().into(),
        is_internal_id: is_node_id,
    }
}

impl Server {
    /// Starts everything; answers when the port is open.
    pub async fn start(settings: &Settings, store: Store, clock: Clock) -> anyhow::Result<Self> {
        let preset = Some(settings.auth.admin_key.as_str()).filter(|key| !key.is_empty());
        let rules = RulesDirectory::new(settings.identity_rules()?)?;
        let mut services = Services::open(store, clock, rules, preset)
            .await?
            .valuing(settings.value_rules()?);
        let longest_token = Duration::from_secs(settings.auth.subject_token_seconds);
        let remembered = Duration::from_secs(settings.auth.remembered_seconds);
        services.keyring = services.keyring.with_longest_token(longest_token).remembering(remembered);
        services.sources = services.sources.remembering(remembered);
        refresh::follow_rules(&services).await?;
        let (intake, committers) = queue::start(services.clone(), settings.ingest.committers, settings.ingest.queue_events);
        let readiness = Readiness::default();
        let sockets = Sockets::new(settings.sockets.options());
        let records = records_door(settings, intake.clone());
        let doors = Doors {
            services: services.clone(),
            intake: intake.clone(),
            tracking: TrackingOptions {
                limits: records.limits,
                max_batch_bytes: settings.ingest.max_batch_bytes,
                protected_traits: records.protected_traits.clone(),
            },
            graphql: Door::new(
                services.clone(),
                records,
                GraphqlOptions {
                    introspection: settings.graphql.introspection,
                },
            ),
            readiness: readiness.clone(),
            sockets: sockets.clone(),
            metrics: install_metrics(),
            console: settings.server.console,
        };
        let bind: SocketAddr = settings.server.bind.parse().context("server.bind")?;
        let listener = TcpListener::bind(bind).await.map_err(|error| cannot_listen(bind, error))?;
        let address = listener.local_addr()?;
        // The address is what a handler may ask for of a listener that is tapped, whatever listens beneath.
        let listener = Patient::new(listener, 2 * sockets.options().slow).tap_io(|_| {});
        let (stop, stopped) = oneshot::channel::<()>();
        let app = http::router(doors).into_make_service_with_connect_info::<SocketAddr>();
        let http = tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(async move {
                    // A dropped sender means the same as a sent stop.
                    let _ = stopped.await;
                })
                .await
        });
        let runner = settings.worker.jobs.then(|| jobs::runner(&services));
        let worker = worker::start(services.clone(), runner);
        let feed = feed::start(&services, settings.feed_options());
        let refreshing = settings.worker.refresh.then(|| {
            let refresher = Refresher::new(&services).taking(settings.worker.refresh_batch);
            Refreshing::start(services.clone(), refresher)
        });
        let dispatching = match settings.worker.jobs {
            true => Dispatching::start(services.clone(), Dispatcher::new(&services)),
            false => None,
        };
        tokio::spawn(in_background(sockets.clone().watch_keys(services.clone())));
        let patience = Duration::from_secs(settings.server.shutdown_seconds);
        Ok(Self {
            address,
            services,
            intake,
            readiness,
            sockets,
            committers,
            worker,
            feed,
            refreshing,
            dispatching,
            stop,
            http,
            patience,
        })
    }

    /// Stops taking requests, lets those under way finish, stores what was handed in, saves what is left, closes the database.
    /// Each of the first two steps may take the time allowed; whoever is not answered by then was not told that it was stored.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.readiness.stop();
        // Sockets are told to go at once: nothing of theirs is under way that would not be asked for again.
        self.sockets.stop();
        // The server may have ended by itself.
        let _ = self.stop.send(());
        if tokio::time::timeout(self.patience, self.http).await.is_err() {
            tracing::warn!("requests were still under way after the time allowed: they are left unanswered");
        }
        if !self.sockets.emptied(self.patience.min(SOCKET_PATIENCE)).await {
            tracing::warn!("sockets were still open after the time allowed: they are cut off");
        }
        self.intake.close();
        if tokio::time::timeout(self.patience, self.committers.finished()).await.is_err() {
            tracing::error!(
                "events handed in were not stored in the time allowed; their senders were not answered and will send again"
            );
        }
        if let Some(refreshing) = self.refreshing {
            refreshing.stop().await;
        }
        if let Some(dispatching) = self.dispatching {
            dispatching.stop().await;
        }
        self.worker.stop().await;
        self.feed.stop().await;
        self.services.store.close().await;
        Ok(())
    }
}
