//! May this customer be spoken to? What they answered, its history, and recording an answer.

use super::customer::CustomerNode;
use super::error::{self, UserError};
use super::guard::Needs;
use super::loaders::{ConsentsOf, CustomerOf, EventOf, RecordsOf, ask, ask_many, forget};
use super::node_id::{self, NodeId};
use super::record::{RecordNode, source_node};
use super::scalars::DateTime;
use super::timeline::{EventNode, record_node};
use super::{personal, principal, services};
use crate::access::Scope;
use crate::base::{CustomerId, Instant};
use crate::customer::EventKey;
use crate::customer::consent::{Answers, Consent, Question, Standing};
use crate::ingest::consent::ANY;
use crate::pipeline::consents::{self, NewConsent};
use async_graphql::{Context, Enum, ID, InputObject, Json, Object, Result, SimpleObject};
use serde_json::Value;

/// Whether a customer may be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ConsentState {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// Not any more.
    Withdrawn,
    /// Nobody answered, which is neither yes nor no.
    Unknown,
}

impl From<Option<&Standing>> for ConsentState {
    fn from(standing: Option<&Standing>) -> Self {
        standing.map_or(Self::Unknown, |standing| standing.answer.into())
    }
}

impl From<entity::ConsentAnswer> for ConsentState {
    fn from(answer: entity::ConsentAnswer) -> Self {
        match answer {
            entity::ConsentAnswer::Granted => Self::Granted,
            entity::ConsentAnswer::Denied => Self::Denied,
            entity::ConsentAnswer::Withdrawn => Self::Withdrawn,
        }
    }
}

/// What a person can answer to being spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::ConsentAnswer")]
pub enum ConsentAnswer {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// Not any more.
    Withdrawn,
}

/// How an answer came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::ConsentOrigin")]
pub enum ConsentOrigin {
    /// A message repeated what is set at its sender: `context.consent.categoryPreferences`.
    Preferences,
    /// By an event: somebody unsubscribed.
    Event,
    /// A server told it of a record: `recordsIngest`.
    Record,
    /// Somebody recorded it for a customer: `consentRecord`.
    Deed,
}

/// What a customer answers for a purpose and a channel.
#[derive(Clone, Debug)]
pub struct ConsentNode {
    channel: String,
    standing: Standing,
}

/// What a customer answers to being spoken to for a purpose through a channel, all their records together: one refusal is enough,
/// however old; a refusal on ANY refuses every channel, and a grant on ANY lifts none of another channel.
#[Object(name = "Consent")]
impl ConsentNode {
    /// What they are spoken to for, as the answer that decides spells it; case makes no difference.
    async fn purpose(&self) -> &str {
        &self.standing.purpose
    }

    /// Through which channel, in capitals: EMAIL, SMS …; ANY: all that nothing else was said of.
    async fn channel(&self) -> &str {
        &self.channel
    }

    /// What they answer: never UNKNOWN here.
    async fn state(&self) -> ConsentState {
        self.standing.answer.into()
    }

    /// Since when the record that decides has answered this; repeating it does not make it younger.
    async fn since(&self) -> DateTime {
        DateTime(self.standing.since)
    }

    /// The record whose answer decides: of those that refuse the latest, else of those that grant.
    async fn decided_by(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.standing.record).await
    }

    /// What shows that the answer was given: as it was handed in, or the message that said it; null when nothing was handed in. Masked for
    /// keys without `read:pii`.
    async fn evidence(&self, ctx: &Context<'_>) -> Option<Result<Json<Value>>> {
        shown(ctx, &self.standing.evidence)
    }
}

fn shown(ctx: &Context<'_>, evidence: &Value) -> Option<Result<Json<Value>>> {
    (!evidence.is_null()).then(|| personal::json(ctx, evidence).map(Json))
}

/// One answer.
#[derive(Clone, Debug)]
pub struct ConsentChangeNode(pub Consent);

/// One answer to being spoken to, as a record keeps it. What they all come to is in `Customer.consents`.
#[Object(name = "ConsentChange")]
impl ConsentChangeNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Consent(self.0.key).to_id()
    }

    /// When it was given.
    pub async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.at)
    }

    /// When this server learnt of it.
    async fn received_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.arrival))
    }

    /// What they are spoken to for, as it was said.
    async fn purpose(&self) -> &str {
        &self.0.purpose
    }

    /// Through which channel, in capitals; ANY: all of them.
    async fn channel(&self) -> &str {
        &self.0.channel
    }

    /// What was answered: never UNKNOWN.
    async fn state(&self) -> ConsentState {
        self.0.answer.into()
    }

    /// How it came to be known.
    async fn origin(&self) -> ConsentOrigin {
        self.0.origin.into()
    }

    /// What shows that it was given: as it was handed in, or the message that said it; null when nothing was handed in. Masked for keys
    /// without `read:pii`.
    async fn evidence(&self, ctx: &Context<'_>) -> Option<Result<Json<Value>>> {
        shown(ctx, &self.0.evidence)
    }

    /// The record that keeps it. An answer recorded for a customer is kept by every record they had then; this is one of them.
    async fn record(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.0.key.record).await
    }

    /// The message that said it; null when somebody recorded it.
    async fn event(&self, ctx: &Context<'_>) -> Option<Result<EventNode>> {
        let record = self.0.key.record;
        let key = EventKey {
            record,
            id: self.0.event?,
        };
        ask(ctx, EventOf(key)).await.map(|event| event.map(EventNode)).transpose()
    }

    /// Who said it: `source:` and the key of a source, or `key:` and the public part of the key by which it was recorded.
    async fn actor(&self, ctx: &Context<'_>) -> Result<String> {
        if let Some(actor) = &self.0.actor {
            return Ok(actor.clone());
        }
        let record = record_node(ctx, self.0.key.record).await?;
        Ok(format!("source:{}", source_node(ctx, record.0.source).await?.0.key))
    }
}

/// Everything the customer's records answered, each question once.
pub async fn consents(ctx: &Context<'_>, customer: CustomerId) -> Result<Vec<ConsentNode>> {
    let answers = answers(ctx, customer).await?;
    let all = answers.all().map(|(_, channel, standing)| ConsentNode {
        channel: channel.to_owned(),
        standing: standing.clone(),
    });
    Ok(all.collect())
}

/// What the customer answers to one question.
pub async fn consent(ctx: &Context<'_>, customer: CustomerId, purpose: &str, channel: Option<&str>) -> Result<ConsentState> {
    let question = Question::new(purpose, channel.unwrap_or(ANY));
    Ok(answers(ctx, customer).await?.to(&question).into())
}

async fn answers(ctx: &Context<'_>, customer: CustomerId) -> Result<Answers> {
    let records = ask(ctx, RecordsOf(customer)).await?.unwrap_or_default();
    let said = ask_many(ctx, records.iter().map(|record| ConsentsOf(record.id))).await?;
    Ok(Answers::of(said.values().flatten()))
}

/// An answer of a customer.
#[derive(Clone, Debug, InputObject)]
pub struct ConsentRecordInput {
    /// The customer: any id they ever had.
    customer: ID,
    /// What they are spoken to for, 1 to 255 characters: MARKETING, ANALYTICS …; case makes no difference.
    purpose: String,
    /// Through which channel, 1 to 255 characters: EMAIL, SMS …; case makes no difference; null, or ANY: all of them.
    channel: Option<String>,
    /// What they answer.
    state: ConsentAnswer,
    /// What shows it: the form and its wording, who took the call …; any JSON up to 32,768 bytes; null: nothing.
    evidence: Option<Json<Value>>,
    /// When they answered, not ahead of now; null: now. An answer older than others counts only as far as those leave it.
    occurred_at: Option<DateTime>,
}

/// The answer to `consentRecord`.
#[derive(Default, SimpleObject)]
pub struct ConsentRecordPayload {
    /// The customer; null when it was refused.
    customer: Option<CustomerNode>,
    /// What the customer answers to this question from now on, all their records together: a grant on a channel does not outweigh a
    /// refusal on ANY; null when it was refused.
    consent: Option<ConsentNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Mutations of consent.
#[derive(Default)]
pub struct Consenting;

#[Object]
impl Consenting {
    /// Records what a customer answered to being spoken to, under every record they have now: it is the latest word of each, so people
    /// can opt in again, and whoever they turn out to be after a split has answered it. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn consent_record(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The answer.")] input: ConsentRecordInput,
    ) -> Result<ConsentRecordPayload> {
        let refused = |user_error| ConsentRecordPayload {
            user_errors: vec![user_error],
            ..ConsentRecordPayload::default()
        };
        let customer = match node_id::customer_id(&input.customer) {
            Ok(customer) => customer,
            Err(reason) => return Ok(refused(error::invalid("customer", reason))),
        };
        let new = NewConsent {
            customer,
            purpose: input.purpose,
            channel: input.channel,
            answer: input.state.into(),
            evidence: input.evidence.map(|evidence| evidence.0),
            at: input.occurred_at.map(|at| at.0),
        };
        let recorded = match consents::record(services(ctx)?, &principal(ctx)?.actor(), &new).await {
            Ok(recorded) => recorded,
            Err(cause) => return error::user_error(cause.kind(), cause.field(), &cause).map(refused),
        };
        forget(ctx)?;
        let question = Question::new(&recorded.purpose, &recorded.channel);
        let answers = answers(ctx, recorded.customer).await?;
        let consent = answers.to(&question).map(|standing| ConsentNode {
            channel: recorded.channel,
            standing: standing.clone(),
        });
        Ok(ConsentRecordPayload {
            customer: ask(ctx, CustomerOf(recorded.customer)).await?.map(CustomerNode),
            consent,
            transaction: Some(recorded.transaction.into()),
            user_errors: Vec::new(),
        })
    }
}

/// What a server says of consent.
#[derive(Clone, Debug, InputObject)]
pub struct ConsentInput {
    /// What they are spoken to for, 1 to 255 characters: MARKETING, ANALYTICS …; case makes no difference.
    purpose: String,
    /// Through which channel, 1 to 255 characters: EMAIL, SMS …; case makes no difference; null, or ANY: all of them.
    channel: Option<String>,
    /// What they answered.
    state: ConsentAnswer,
    /// What shows it: any JSON; null: nothing.
    evidence: Option<Json<Value>>,
    /// When they answered; null: at the instant of the item.
    at: Option<DateTime>,
}

impl From<ConsentInput> for crate::ingest::item::ConsentItem {
    fn from(input: ConsentInput) -> Self {
        Self {
            purpose: input.purpose,
            channel: input.channel,
            answer: input.state.into(),
            evidence: input.evidence.map(|evidence| evidence.0),
            at: input.at.map(|at| at.0),
        }
    }
}
