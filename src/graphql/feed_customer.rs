//! One customer again and again, whenever anything of theirs has changed: the change log, read for people who look at a screen.

use super::customer::CustomerNode;
use super::error;
use super::feed::{FeedStart, LastCursor, refuse};
use super::own;
use super::scalars::Cursor;
use super::view;
use crate::access::{Principal, Scope, Subject};
use crate::base::CustomerId;
use crate::feed::{Batch, Feed, FeedError, Filter, Place, Reader};
use crate::pipeline::{Services, changes};
use async_graphql::{ComplexObject, Context, Result, SimpleObject};
use entity::Topic;
use futures_util::stream::{self, Stream};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Sleep;

/// At most four a second.
const GAP: Duration = Duration::from_millis(250);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Rows of one step through the log.
const STEP: usize = 1_000;

/// A customer after something of theirs changed.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct CustomerChange {
    /// Behind everything that the view takes in.
    cursor: Cursor,
    /// What changed since the last view, by name: fields of the customer, `timeline`, `purchases`, `consents`, `identity`. Empty in the
    /// first view and in a heartbeat.
    changed: Vec<String>,
    /// Whether nothing more was there to read.
    caught_up: bool,
    /// Whether nothing changed, and it only tells that the reader is alive and where it is.
    heartbeat: bool,
    #[graphql(skip)]
    id: CustomerId,
}

#[ComplexObject]
impl CustomerChange {
    /// The customer as they are now; null in a heartbeat, and when they were erased.
    async fn customer(&self, ctx: &Context<'_>) -> Option<Result<CustomerNode>> {
        if self.heartbeat {
            return None;
        }
        view::customer(ctx, self.id).await.transpose()
    }
}

struct Watching {
    services: Services,
    /// Whom the asker speaks for, where that is all they may see.
    subject: Option<Subject>,
    id: CustomerId,
    reader: Reader,
    heads: watch::Receiver<Place>,
    last: LastCursor,
    /// The view is due without a change.
    is_first: bool,
    gap: Option<Pin<Box<Sleep>>>,
}

/// The customer, whenever anything of theirs has changed. Without a start the view of now comes first.
pub async fn watch(
    services: &Services,
    principal: &Principal,
    last: LastCursor,
    id: CustomerId,
    start: Option<FeedStart>,
) -> Result<impl Stream<Item = Result<CustomerChange>> + use<>> {
    let subject = match principal {
        Principal::Subject(subject) => Some(subject.clone()),
        other if other.may(Scope::Read) => None,
        _ => {
            let message = format!("this key lacks the scope {}", Scope::Read.name());
            return Err(error::refuse(error::Code::Forbidden, message));
        }
    };
    check_own(services, subject.as_ref(), id).await?;
    let filter = Filter {
        customers: Some(changes::follow(services.store.clone(), vec![id])),
        whole_rows: true,
        ..Filter::default()
    };
    let is_first = start.is_none();
    // Listened before the place is taken, so that the end of the log is known from here on.
    let heads = services.feed.heads();
    let reader = super::feed::open(services, start.unwrap_or(FeedStart::FromNow(true)), filter).await?;
    let watching = Watching {
        services: services.clone(),
        subject,
        id,
        reader,
        heads,
        last,
        is_first,
        gap: None,
    };
    Ok(stream::try_unfold(watching, |mut watching| async move {
        let change = watching.next().await?;
        Ok(Some((change, watching)))
    }))
}

impl Watching {
    async fn next(&mut self) -> Result<CustomerChange> {
        let mut changed = BTreeSet::new();
        let mut batch = self.first_change(&mut changed).await?;
        if !changed.is_empty() {
            if let Some(gap) = self.gap.take() {
                gap.await;
            }
            // Whatever came meanwhile is in the same view.
            loop {
                batch = self.step(&mut changed).await?;
                if batch.caught_up {
                    break;
                }
            }
            check_own(&self.services, self.subject.as_ref(), self.id).await?;
            self.gap = Some(Box::pin(tokio::time::sleep(GAP)));
        }
        let heartbeat = changed.is_empty() && !self.is_first;
        self.is_first = false;
        self.last.set(batch.place);
        let is_open = |name: &String| self.subject.is_none() || own::is_open("Customer", name);
        Ok(CustomerChange {
            cursor: Cursor(self.services.feed.text(batch.place)),
            changed: changed.into_iter().filter(is_open).collect(),
            caught_up: batch.caught_up,
            heartbeat,
            id: self.id,
        })
    }

    /// Reads until something has changed, or it is time for a heartbeat.
    async fn first_change(&mut self, changed: &mut BTreeSet<String>) -> Result<Batch> {
        let mut heartbeat = std::pin::pin!(tokio::time::sleep(HEARTBEAT));
        loop {
            self.heads.borrow_and_update();
            let batch = self.step(changed).await?;
            if !changed.is_empty() || self.is_first || heartbeat.is_elapsed() {
                return Ok(batch);
            }
            if batch.caught_up {
                tokio::select! {
                    announced = self.heads.changed() => if announced.is_err() { return Ok(batch) },
                    () = &mut heartbeat => {}
                }
            }
        }
    }

    async fn step(&mut self, changed: &mut BTreeSet<String>) -> Result<Batch> {
        let batch = self.reader.next(STEP).await.map_err(|error| self.refused(&error))?;
        for entry in &batch.entries {
            let body = entry.body();
            if !body.events.is_empty() {
                changed.insert("timeline".to_owned());
            }
            match body.topic {
                Topic::Customer => changed.extend(body.changed.keys().cloned()),
                Topic::Event => {}
                Topic::Identity => {
                    changed.insert("identity".to_owned());
                }
                Topic::Purchase => {
                    changed.insert("purchases".to_owned());
                }
                Topic::Consent => {
                    changed.insert("consents".to_owned());
                }
                _ => changed.extend(body.changed.keys().cloned()),
            }
            if changed.is_empty() {
                // Redacted: that something changed is all that is left of it.
                changed.insert("customer".to_owned());
            }
        }
        Ok(batch)
    }

    fn refused(&self, error: &FeedError) -> async_graphql::Error {
        let feed: &Feed = &self.services.feed;
        refuse(feed, error)
    }
}

/// A token of one visitor sees its own customer and nobody else, also when a split has parted them since.
async fn check_own(services: &Services, subject: Option<&Subject>, id: CustomerId) -> Result<()> {
    let Some(subject) = subject else { return Ok(()) };
    let own = super::query::customer_of_subject(services, subject).await?;
    let asked = changes::customer_of(&services.store, id).await;
    let asked = asked.map_err(|cause| error::store(&cause))?;
    if own.is_some() && own == asked {
        return Ok(());
    }
    let message = "a subject token sees the changes of its own customer: use the id that `me` answers";
    Err(error::refuse(error::Code::Forbidden, message))
}
