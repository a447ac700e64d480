//! Ids as clients see them: opaque, and typed, so that an id in the wrong place is refused by name.

use crate::base::{ConsentId, CustomerId, DecisionId, EventId, JobId, ProductId, PurchaseId, RecordId, SourceId};
use crate::customer::consent::ConsentKey;
use crate::customer::{EventKey, PurchaseKey};
use async_graphql::ID;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Anything that has a global id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeId {
    Customer(CustomerId),
    Record(RecordId),
    Source(SourceId),
    Event(EventKey),
    Purchase(PurchaseKey),
    Product(ProductId),
    RejectedItem(Uuid),
    Job(JobId),
    Decision(DecisionId),
    HeldItem(Uuid),
    Consent(ConsentKey),
}

const KINDS: [(&str, &str); 11] = [
    ("cus_", "Customer"),
    ("rec_", "Record"),
    ("src_", "Source"),
    ("evt_", "Event"),
    ("pur_", "Purchase"),
    ("prd_", "Product"),
    ("rej_", "RejectedItem"),
    ("job_", "Job"),
    ("dec_", "IdentityDecision"),
    ("hld_", "HeldItem"),
    ("cns_", "ConsentChange"),
];

impl NodeId {
    /// The id inside a text; the reason when it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let not_one = || "this is no id of this server: use an id as it was answered".to_owned();
        let (prefix, rest) = text.split_at_checked(4).ok_or_else(not_one)?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| not_one())?;
        let id = |range: std::ops::Range<usize>| {
            bytes
                .get(range)
                .and_then(|bytes| Uuid::from_slice(bytes).ok())
                .ok_or_else(not_one)
        };
        let whole = |length: usize| if bytes.len() == length { Ok(()) } else { Err(not_one()) };
        whole(if matches!(prefix, "evt_" | "pur_" | "cns_") { 32 } else { 16 })?;
        Ok(match prefix {
            "cus_" => Self::Customer(CustomerId(id(0..16)?)),
            "rec_" => Self::Record(RecordId(id(0..16)?)),
            "src_" => Self::Source(SourceId(id(0..16)?)),
            "evt_" => Self::Event(EventKey {
                record: RecordId(id(0..16)?),
                id: EventId(id(16..32)?),
            }),
            "pur_" => Self::Purchase(PurchaseKey {
                record: RecordId(id(0..16)?),
                id: PurchaseId(id(16..32)?),
            }),
            "prd_" => Self::Product(ProductId(id(0..16)?)),
            "rej_" => Self::RejectedItem(id(0..16)?),
            "job_" => Self::Job(JobId(id(0..16)?)),
            "dec_" => Self::Decision(DecisionId(id(0..16)?)),
            "hld_" => Self::HeldItem(id(0..16)?),
            "cns_" => Self::Consent(ConsentKey {
                record: RecordId(id(0..16)?),
                id: ConsentId(id(16..32)?),
            }),
            _ => return Err(not_one()),
        })
    }

    pub fn to_id(self) -> ID {
        let bytes = match self {
            Self::Customer(CustomerId(id))
            | Self::Record(RecordId(id))
            | Self::Source(SourceId(id))
            | Self::Product(ProductId(id))
            | Self::RejectedItem(id)
            | Self::Job(JobId(id))
            | Self::Decision(DecisionId(id))
            | Self::HeldItem(id) => id.as_bytes().to_vec(),
            Self::Event(key) => [key.record.0.into_bytes(), key.id.0.into_bytes()].concat(),
            Self::Purchase(key) => [key.record.0.into_bytes(), key.id.0.into_bytes()].concat(),
            Self::Consent(key) => [key.record.0.into_bytes(), key.id.0.into_bytes()].concat(),
        };
        ID(format!("{}{}", self.kind().0, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Its prefix and the name of its type.
    fn kind(self) -> (&'static str, &'static str) {
        KINDS[match self {
            Self::Customer(_) => 0,
            Self::Record(_) => 1,
            Self::Source(_) => 2,
            Self::Event(_) => 3,
            Self::Purchase(_) => 4,
            Self::Product(_) => 5,
            Self::RejectedItem(_) => 6,
            Self::Job(_) => 7,
            Self::Decision(_) => 8,
            Self::HeldItem(_) => 9,
            Self::Consent(_) => 10,
        }]
    }

    fn wrong_kind(self, wanted: &str) -> String {
        format!("expected the id of a {wanted}, this is the id of a {}", self.kind().1)
    }
}

macro_rules! expect_kind {
    ($($function:ident, $variant:ident, $ty:ty, $name:literal;)+) => {$(
        /// The id of this kind, or the reason why it is none.
        pub fn $function(id: &ID) -> Result<$ty, String> {
            match NodeId::parse(id)? {
                NodeId::$variant(id) => Ok(id),
                other => Err(other.wrong_kind($name)),
            }
        }
    )+};
}

expect_kind! {
    customer_id, Customer, CustomerId, "Customer";
    source_id, Source, SourceId, "Source";
    job_id, Job, JobId, "Job";
    record_id, Record, RecordId, "Record";
    decision_id, Decision, DecisionId, "IdentityDecision";
    held_item_id, HeldItem, Uuid, "HeldItem";
}

/// The record that an id of a record or a customer stands for: a customer's id is the id of one of its records.
pub fn record_of(id: &ID) -> Result<RecordId, String> {
    match NodeId::parse(id)? {
        NodeId::Record(id) => Ok(id),
        NodeId::Customer(id) => Ok(RecordId(id.0)),
        other => Err(other.wrong_kind("Record or Customer")),
    }
}

/// Whether a text is one of our ids, which no channel may use as a user id.
pub fn is_node_id(text: &str) -> bool {
    NodeId::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went_out_and_the_wrong_kind_is_refused_by_name() {
        let event = NodeId::Event(EventKey {
            record: RecordId(Uuid::from_u128(1)),
            id: EventId(Uuid::from_u128(2)),
        });
        assert_eq!(NodeId::parse(&event.to_id()), Ok(event));
        let record = NodeId::Record(RecordId(Uuid::from_u128(1))).to_id();
        assert_eq!(
            customer_id(&record),
            Err("expected the id of a Customer, this is the id of a Record".to_owned())
        );
        for foreign in [
            "",
            "cus",
            "cus_",
            "cus_!!",
            "xyz_AAAAAAAAAAAAAAAAAAAAAA",
            "evt_AAAAAAAAAAAAAAAAAAAAAA",
            "ü",
        ] {
            assert!(NodeId::parse(foreign).is_err(), "{foreign}");
        }
    }
}
