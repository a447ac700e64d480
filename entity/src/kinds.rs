//! Closed sets as they are stored: a small integer each, never reused, never renumbered.

use sea_orm::entity::prelude::*;

macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
        #[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
        pub enum $name {
            $($(#[$variant_doc])* #[sea_orm(num_value = $number)] $variant,)+
        }
    };
}

stored_enum! {
    /// Through which channel a source speaks with people.
    Channel { Web = 1, App = 2, Pos = 3, Crm = 4, Email = 5, CallCentre = 6, Social = 7, Import = 8, Other = 9 }
}

stored_enum! {
    /// What kind of call a message was.
    EventKind { Track = 1, Page = 2, Screen = 3, Identify = 4, Group = 5, Alias = 6 }
}

stored_enum! {
    /// What kind of value recognises a person.
    IdentifierKind { UserId = 1, AnonymousId = 2, Email = 3, Phone = 4, DeviceId = 5, LoyaltyId = 6, ExternalId = 7 }
}

impl IdentifierKind {
    const ALL: [Self; 7] = [
        Self::UserId,
        Self::AnonymousId,
        Self::Email,
        Self::Phone,
        Self::DeviceId,
        Self::LoyaltyId,
        Self::ExternalId,
    ];

    /// As GraphQL, tokens and files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserId => "USER_ID",
            Self::AnonymousId => "ANONYMOUS_ID",
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::DeviceId => "DEVICE_ID",
            Self::LoyaltyId => "LOYALTY_ID",
            Self::ExternalId => "EXTERNAL_ID",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

stored_enum! {
    /// Whether an identifier recognises anybody.
    IdentifierState {
        /// It finds its owner.
        Active = 1,
        /// By rule or decision it never identifies anybody.
        Blocked = 2,
        /// Too many people have shown it: quarantined.
        Held = 3,
        /// Active by a person's word: no count holds it again.
        Cleared = 4,
        /// By rule it recognises nobody: a placeholder, or no value of its kind.
        Unusable = 5,
    }
}

stored_enum! {
    /// What was decided about who is who.
    IdentityDecisionKind {
        /// Two customers became one by themselves, because of a value.
        Link = 1,
        /// Somebody said that records are one person.
        Merge = 2,
        /// Somebody said that records are different people.
        Split = 3,
        /// Somebody said that a value recognises nobody.
        Block = 4,
        /// A value, or a record, waits for somebody to look.
        Hold = 5,
        /// Somebody said that a value recognises people after all.
        Release = 6,
        /// A merge or a split was taken back.
        Revoke = 7,
        /// Other rules were published.
        Rules = 8,
        /// Records were joined by a probability.
        Probable = 9,
        /// A person was erased.
        Erase = 10,
        /// A value was set aside: it could not join two customers.
        SetAside = 11,
        /// A value passed to another customer.
        Move = 12,
    }
}

stored_enum! {
    /// Why something waits for somebody to look.
    HoldReason {
        /// Too many customers have shown the value.
        Shared = 1,
        /// The value joined too many customers in a short time.
        TooManyJoins = 2,
        /// The customer has too many records for another to join by itself.
        TooManyRecords = 3,
        /// A source whose aliases are reviewed says that two ids are one person.
        Alias = 4,
    }
}

stored_enum! {
    /// What a change is about.
    Topic {
        Customer = 1, Identity = 2, Consent = 3, Event = 4, Purchase = 5, SegmentMembership = 6, SegmentDefinition = 7,
        JourneyDefinition = 8, JourneyEnrolment = 9, Delivery = 10, Metric = 11, Account = 12, Service = 13,
    }
}

stored_enum! {
    /// What happened to the entity of a change.
    ChangeOp { Created = 1, Updated = 2, Deleted = 3 }
}

stored_enum! {
    /// The JSON type of a trait's values, as narrow as all values seen allow.
    ValueType { Boolean = 1, Integer = 2, Number = 3, String = 4, Object = 5, Array = 6, Mixed = 7 }
}

stored_enum! {
    /// How personal a trait is; unknown traits are `Pii` until somebody says otherwise.
    DataClass { Public = 1, Internal = 2, Pii = 3, Sensitive = 4 }
}

stored_enum! {
    /// Who speaks by a key.
    ApiKeyKind {
        /// Whoever holds the key itself: a server, an operator.
        Server = 1,
        /// Single visitors, by tokens that the holder of the private half signs.
        Subject = 2,
    }
}

stored_enum! {
    /// How a background job stands.
    JobState {
        /// It waits for its time, or for somebody to run it.
        Queued = 1,
        /// Somebody runs it, under a lease.
        Running = 2,
        Succeeded = 3,
        /// It was given up.
        Failed = 4,
        /// Somebody took it back.
        Cancelled = 5,
    }
}

stored_enum! {
    /// Who goes first among those who are to be looked at again.
    DueClass {
        /// Something was told of them just now.
        Live = 1,
        /// Many at once, or time has passed.
        Bulk = 2,
    }
}

stored_enum! {
    /// What a person answered to being spoken to.
    ConsentAnswer {
        Granted = 1,
        Denied = 2,
        /// Granted once, and taken back.
        Withdrawn = 3,
    }
}

stored_enum! {
    /// How an answer came to be known.
    ConsentOrigin {
        /// A message repeats what is set at its sender: the preferences in its context.
        Preferences = 1,
        /// An event of its own: somebody unsubscribed.
        Event = 2,
        /// A server told it of a record.
        Record = 3,
        /// Somebody recorded it for a customer.
        Deed = 4,
    }
}

stored_enum! {
    /// What was fitted.
    ValueModelKind {
        /// Buying until somebody stops, who can stop after any repeat purchase.
        BgNbd = 1,
        /// The same, and somebody can also stop after the first purchase.
        MbgNbd = 2,
        /// Spend on a purchase day.
        GammaGamma = 3,
        /// Cuts of recency, frequency and monetary value.
        Rfm = 4,
        /// Usual gaps between orders, by category.
        Gaps = 5,
        /// What winning and keeping customers costs, and what a first year brings.
        Economics = 6,
    }
}
