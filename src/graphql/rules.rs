//! The rules by which records become customers: what stands, what others would change, and publishing them.

use super::customer::CustomerNode;
use super::error::{self, ErrorCode, UserError};
use super::guard::Needs;
use super::job::JobNode;
use super::kinds::RulesBase;
use super::loaders::{CustomerOf, JobOf, ask, ask_many};
use super::{principal, services};
use crate::access::Scope;
use crate::pipeline::mend::{Doer, MendError};
use crate::pipeline::rules::{self, Risk, RulesChangeError, Simulation};
use async_graphql::{Context, ID, InputObject, Json, Object, Result, SimpleObject};
use serde_json::Value;

/// A rule set.
#[derive(Clone, Debug, InputObject)]
pub struct IdentityRulesInput {
    /// The rules, such as `{"identifiers": {"phone": {"limit": 3}}}`, laid over `base` key by key; a list replaces a list.
    rules: Json<Value>,
    /// What they are laid over.
    #[graphql(default)]
    base: RulesBase,
    /// Why, in 1 to 1,000 characters. Needed to publish; null is enough to simulate.
    reason: Option<String>,
}

/// The rules that stand.
pub struct IdentityRules {
    version: i64,
    config: Value,
}

/// The rules by which records become customers.
#[Object]
impl IdentityRules {
    /// Counts publications; 0 while the rules of the configuration stand.
    async fn version(&self) -> i64 {
        self.version
    }

    /// The whole rule set, defaults included.
    async fn rules(&self) -> Json<&Value> {
        Json(&self.config)
    }
}

/// What other rules would change.
pub struct IdentitySimulation(Simulation);

/// What other rules would change if they were published now. Nothing was written.
#[Object]
impl IdentitySimulation {
    /// How many records there are.
    async fn records(&self) -> i64 {
        count(self.0.records)
    }

    /// How many customers there are.
    async fn customers_before(&self) -> i64 {
        count(self.0.customers_before)
    }

    /// How many there would be.
    async fn customers_after(&self) -> i64 {
        count(self.0.customers_after)
    }

    /// How many customers would become one with another.
    async fn merges(&self) -> i64 {
        count(self.0.merges)
    }

    /// How many new customers would come of others.
    async fn splits(&self) -> i64 {
        count(self.0.splits)
    }

    /// The twenty changes that concern most customers and records at once, the greatest first.
    async fn riskiest(&self) -> Vec<IdentityRisk> {
        self.0.riskiest.iter().cloned().map(IdentityRisk).collect()
    }
}

/// One change that other rules would make.
pub struct IdentityRisk(Risk);

/// One change that other rules would make.
#[Object]
impl IdentityRisk {
    /// True: these customers would become one. False: this customer would become several.
    async fn is_merge(&self) -> bool {
        self.0.is_merge
    }

    /// The customers of today, at most ten of them.
    async fn customers(&self, ctx: &Context<'_>) -> Result<Vec<CustomerNode>> {
        let asked: Vec<CustomerOf> = self
            .0
            .customers
            .iter()
            .take(10)
            .map(|customer| CustomerOf(*customer))
            .collect();
        let mut found = ask_many(ctx, asked.clone()).await?;
        Ok(asked.iter().filter_map(|key| found.remove(key)).map(CustomerNode).collect())
    }

    /// How many customers of today it concerns.
    async fn customer_count(&self) -> i64 {
        count(self.0.customers.len())
    }

    /// How many customers would come of them.
    async fn parts(&self) -> i64 {
        count(self.0.parts)
    }

    /// How many records it concerns.
    async fn records(&self) -> i64 {
        count(self.0.records)
    }
}

/// The answer to `identityRulesPublish`.
#[derive(Default, SimpleObject)]
pub struct IdentityRulesPublishPayload {
    /// The job that places all records again; null when the rules were refused.
    job: Option<JobNode>,
    /// The version that stands now; null when the rules were refused.
    version: Option<i64>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why they were refused; empty when they were not.
    user_errors: Vec<UserError>,
}

/// The rules that stand.
pub async fn standing(ctx: &Context<'_>) -> Result<IdentityRules> {
    let services = services(ctx)?;
    let config = services.rules.config(&services.store).await;
    let config = config.map_err(|cause| error::store(&cause))?;
    services
        .rules
        .refresh(&services.store)
        .await
        .map_err(|cause| error::store(&cause))?;
    Ok(IdentityRules {
        version: services.rules.standing().version,
        config,
    })
}

/// What rules would change.
pub async fn simulate(ctx: &Context<'_>, input: IdentityRulesInput) -> Result<IdentitySimulation> {
    let services = services(ctx)?;
    let simulated = async {
        let config = rules::laid_over(services, &input.rules.0, input.base.into()).await?;
        rules::simulate(services, &config).await
    };
    match simulated.await {
        Ok(simulation) => Ok(IdentitySimulation(simulation)),
        Err(RulesChangeError::Unsound(unsound)) => Err(error::bad_input(&format!("rules.{}", unsound.path), &unsound.problem)),
        Err(cause) => Err(failed(&cause)),
    }
}

/// What can be changed about rules.
#[derive(Default)]
pub struct Ruling;

#[Object]
impl Ruling {
    /// Publishes rules: they stand at once for every message to come, and a job places the records that are there again. Needs the scope
    /// `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn identity_rules_publish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rules.")] input: IdentityRulesInput,
    ) -> Result<IdentityRulesPublishPayload> {
        let services = services(ctx)?;
        let doer = Doer {
            actor: principal(ctx)?.actor(),
            reason: input.reason.unwrap_or_default(),
        };
        let published = async {
            let config = rules::laid_over(services, &input.rules.0, input.base.into()).await?;
            rules::publish(services, &doer, &config).await
        };
        let refused = |user_error| IdentityRulesPublishPayload {
            user_errors: vec![user_error],
            ..IdentityRulesPublishPayload::default()
        };
        match published.await {
            Ok(published) => Ok(IdentityRulesPublishPayload {
                job: ask(ctx, JobOf(published.job)).await?.map(JobNode),
                version: Some(published.version),
                transaction: Some(ID::from(published.transaction.to_string())),
                user_errors: Vec::new(),
            }),
            Err(RulesChangeError::Unsound(unsound)) => {
                let mut field = vec!["input".to_owned(), "rules".to_owned()];
                field.extend(unsound.path.split('.').map(str::to_owned));
                Ok(refused(UserError {
                    code: ErrorCode::Invalid,
                    field,
                    message: unsound.problem,
                }))
            }
            Err(RulesChangeError::Refused(MendError::Invalid { field, message })) => Ok(refused(error::invalid(field, message))),
            Err(cause) => Err(failed(&cause)),
        }
    }
}

fn failed(cause: &RulesChangeError) -> async_graphql::Error {
    use crate::store::Transient as _;
    cause
        .store_error()
        .map_or_else(|| error::internal(cause.to_string()), error::store)
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
