//! What a token of one visitor reaches: `me`, and of the customer what is theirs to see.
//!
//! Promises: a field that is not listed here answers FORBIDDEN before it runs, whichever way leads to it, so a field that joins the
//! schema tomorrow is closed until somebody opens it here. What a visitor may see of themselves: what they are called and how to reach
//! them, the values they are recognised by, when and where they did what, what they bought and what they consented to. What is the company's own stays closed:
//! sources and records, what a channel noted of an event, who decided what and why, how trusted or quarantined anything is.

use super::error::{self, Code};
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::{PathSegment, QueryPathNode, QueryPathSegment, ServerResult, Value};
use std::sync::Arc;

/// By type, the fields that such a token may ask for. Of connections, see `is_open`.
pub const OPEN: [(&str, &[&str]); 12] = [
    ("Query", &["me"]),
    // Of their own customer alone, see `feed_customer`.
    ("Subscription", &["customerChanged"]),
    ("CustomerChange", &["cursor", "customer", "changed", "caughtUp", "heartbeat"]),
    (
        "Customer",
        &[
            "id",
            "displayName",
            "email",
            "phone",
            "firstName",
            "lastName",
            "birthDate",
            "gender",
            "city",
            "country",
            "language",
            "timeZone",
            "createdAt",
            "lastSeenAt",
            "identifiers",
            "timeline",
            "purchases",
            "purchaseSummary",
            "consents",
            "consent",
            "consentHistory",
        ],
    ),
    ("Consent", &["purpose", "channel", "state", "since"]),
    ("ConsentChange", &["id", "occurredAt", "purpose", "channel", "state"]),
    ("Identifier", &["kind", "namespace", "value", "firstSeenAt", "lastSeenAt"]),
    ("Event", &["id", "kind", "name", "channel", "occurredAt"]),
    (
        "Purchase",
        &["id", "orderId", "occurredAt", "amount", "refunded", "lines", "counted"],
    ),
    ("PurchaseLine", &["product", "quantity", "price"]),
    ("Product", &["id", "sku", "name", "category"]),
    // An entry of the timeline that is one: that it happened, and no word of what or why.
    ("IdentityDecision", &["id", "occurredAt"]),
];
/// Types that tell nothing but what leads to them does.
const OPEN_WHOLE: [&str; 4] = ["Money", "PageInfo", "PurchaseSummary", "PurchaseTotals"];
/// Lists of what may be seen.
pub const OPEN_LISTS: [&str; 3] = ["TimelineEntry", "Purchase", "ConsentChange"];

pub fn is_open(parent: &str, field: &str) -> bool {
    let is_list = ["Connection", "Edge"].into_iter().any(|kind| {
        let item = parent.strip_suffix(kind);
        item.is_some_and(|item| OPEN_LISTS.contains(&item))
    });
    let is_listed = || OPEN.iter().any(|(name, fields)| *name == parent && fields.contains(&field));
    is_list || OPEN_WHOLE.contains(&parent) || is_listed()
}

/// Stands before every field of the schema that answers such tokens.
pub struct OwnAlone;

impl ExtensionFactory for OwnAlone {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for OwnAlone {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        // The items of a list come by once more, after the field that lists them.
        let is_item = matches!(info.path_node.segment, QueryPathSegment::Index(_));
        if is_item || is_open(info.parent_type, info.name) {
            return next.run(ctx, info).await;
        }
        let message = format!("{}.{} is not open to subject tokens", info.parent_type, info.name);
        let mut refusal = error::refuse(Code::Forbidden, message).into_server_error(info.field.name.pos);
        refusal.path = path(info.path_node);
        Err(refusal)
    }
}

fn path(node: &QueryPathNode<'_>) -> Vec<PathSegment> {
    let segment = |node: &QueryPathNode<'_>| match node.segment {
        QueryPathSegment::Name(name) => PathSegment::Field(name.to_owned()),
        QueryPathSegment::Index(index) => PathSegment::Index(index),
    };
    let mut path: Vec<PathSegment> = std::iter::once(node).chain(node.parents()).map(segment).collect();
    path.reverse();
    path
}
