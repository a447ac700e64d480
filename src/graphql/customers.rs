//! Lists of customers: what callers filter and order by, and which of it is personal.

use super::connection::{COUNTED_TO, Connection, Count, page};
use super::customer::CustomerNode;
use super::kinds::{Channel, IdentifierKind};
use super::node_id;
use super::personal;
use super::query::{IdentifierInput, identifier_id};
use super::scalars::DateTime;
use super::{error, services};
use crate::base::paging::Page;
use crate::customer::listing::{Beginning, Filter, Order, Place};
use crate::customer::store::listing;
use crate::ingest::traits::canonical_name;
use async_graphql::{Context, Enum, ID, InputObject, Json, Result};
use serde_json::Value;
use std::sync::Arc;

/// Longer beginnings are no search.
const MAX_TYPED_CHARS: usize = 500;

/// Which customers a list holds: those for whom everything that is given holds. Conditions on names, addresses, numbers, identifiers and
/// traits need the scope `read:pii`.
#[derive(Clone, Debug, Default, InputObject)]
pub struct CustomerFilter {
    /// Their display name begins so, whatever the case, accents and width of letters.
    pub name_prefix: Option<String>,
    /// Their e-mail address begins so, whatever the case.
    pub email_prefix: Option<String>,
    /// Their telephone number begins so; only digits and a leading + count.
    pub phone_prefix: Option<String>,
    /// This value recognises them, exactly; a blocked or held value recognises nobody.
    pub identifier: Option<IdentifierInput>,
    /// One of their records is of this source.
    pub source: Option<ID>,
    /// One of their records came through this channel.
    pub channel: Option<Channel>,
    /// A value of this kind recognises them.
    pub has_identifier: Option<IdentifierKind>,
    /// Something they did happened at this instant or later.
    pub seen_since: Option<DateTime>,
    /// One of their orders was placed at this instant or later.
    pub purchased_since: Option<DateTime>,
    /// The trait has this value.
    pub trait_equals: Option<TraitEquals>,
}

/// A trait and its value.
#[derive(Clone, Debug, InputObject)]
pub struct TraitEquals {
    /// The trait's name, such as `city`.
    pub name: String,
    /// The value, compared by value: 1 is 1.0. Null, or left out: the customer has no such trait.
    pub value: Option<Json<Value>>,
}

/// In which order customers are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CustomerOrder {
    /// By when their oldest record arrived, the newest first.
    Newest,
    /// By when their oldest record arrived, the oldest first.
    Oldest,
    /// By display name without case and accents, nameless ones last. Needs the scope `read:pii`.
    Name,
    /// By their last event, the latest first, those without one last; an event counts here some minutes after it came.
    LastSeen,
}

impl From<CustomerOrder> for Order {
    fn from(order: CustomerOrder) -> Self {
        match order {
            CustomerOrder::Newest => Self::Newest,
            CustomerOrder::Oldest => Self::Oldest,
            CustomerOrder::Name => Self::Name,
            CustomerOrder::LastSeen => Self::LastSeen,
        }
    }
}

/// A page of customers.
pub async fn customers(
    ctx: &Context<'_>,
    filter: CustomerFilter,
    order: CustomerOrder,
    first: i32,
    after: Option<&str>,
) -> Result<Connection<CustomerNode>> {
    // The one place that asks for it: whoever may not read a value must not find it by trying, either.
    filter.demand(ctx).await?;
    if order == CustomerOrder::Name {
        personal::demand(ctx, "orderBy")?;
    }
    let order = Order::from(order);
    let page: Page<Place> = page(first, after)?;
    if page.after.as_ref().is_some_and(|place| !order.has(place)) {
        return Err(error::bad_input("after", "is no cursor of this list"));
    }
    let filter = filter.read(ctx)?;
    let slice = listing::page(services(ctx)?.store.reader(), &filter, order, &page).await;
    let slice = slice.map_err(|cause| error::store(&cause))?;
    let filter = Arc::new(filter);
    let count: Count = Arc::new(move |store| {
        let filter = filter.clone();
        Box::pin(async move { listing::count(store.reader(), &filter, COUNTED_TO + 1).await })
    });
    Ok(Connection::new(
        slice,
        after,
        |(_, place)| place.clone(),
        |(customer, _)| CustomerNode(customer),
    )
    .counted(count))
}

impl CustomerFilter {
    /// Refuses what asks about personal data, unless the asker may see them.
    async fn demand(&self, ctx: &Context<'_>) -> Result<()> {
        let identifier = self.identifier.as_ref();
        let named = self.trait_equals.iter().map(|wanted| canonical_name(&wanted.name));
        let asks = [
            ("filter.namePrefix", self.name_prefix.is_some()),
            ("filter.emailPrefix", self.email_prefix.is_some()),
            ("filter.phonePrefix", self.phone_prefix.is_some()),
            (
                "filter.identifier",
                identifier.is_some_and(|wanted| personal::is_personal(wanted.kind.into(), &wanted.value)),
            ),
            (
                "filter.traitEquals",
                !personal::may_see_traits(ctx, &named.collect::<Vec<_>>()).await?,
            ),
        ];
        for (argument, _) in asks.into_iter().filter(|(_, is_personal)| *is_personal) {
            personal::demand(ctx, argument)?;
        }
        Ok(())
    }

    fn read(self, ctx: &Context<'_>) -> Result<Filter> {
        let name = typed("filter.namePrefix", self.name_prefix)?;
        let email = typed("filter.emailPrefix", self.email_prefix)?;
        let phone = typed("filter.phonePrefix", self.phone_prefix)?;
        let source = self
            .source
            .map(|id| node_id::source_id(&id).map_err(|reason| error::bad_input("filter.source", reason)))
            .transpose()?;
        let (identifier, impossible) = match self.identifier {
            None => (None, false),
            Some(identifier) => {
                let id = identifier_id(services(ctx)?, "filter.identifier.namespace", identifier)?;
                (id, id.is_none())
            }
        };
        let traits = self.trait_equals.into_iter();
        Ok(Filter {
            name: name.as_deref().and_then(Beginning::of_name),
            email: email.as_deref().and_then(Beginning::of_email),
            phone: phone.as_deref().and_then(Beginning::of_phone),
            identifier,
            impossible,
            source,
            channels: self.channel.map(|channel| vec![channel.into()]),
            has_identifier: self.has_identifier.map(Into::into),
            seen_since: self.seen_since.map(|since| since.0),
            purchased_since: self.purchased_since.map(|since| since.0),
            traits: traits
                .map(|wanted| {
                    (
                        canonical_name(&wanted.name).to_owned(),
                        wanted.value.map_or(Value::Null, |value| value.0),
                    )
                })
                .collect(),
        })
    }
}

fn typed(field: &str, typed: Option<String>) -> Result<Option<String>> {
    if typed.as_ref().is_some_and(|typed| typed.chars().count() > MAX_TYPED_CHARS) {
        return Err(error::bad_input(field, format!("may have {MAX_TYPED_CHARS} characters")));
    }
    Ok(typed)
}
