//! The closed sets of the public face; each mirrors a stored one.

use async_graphql::Enum;

/// Through which channel a source speaks with people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Channel")]
pub enum Channel {
    /// A web site.
    Web,
    /// A mobile or desktop app.
    App,
    /// A till in a shop.
    Pos,
    /// A customer-relationship system.
    Crm,
    /// E-mail.
    Email,
    /// A call centre.
    CallCentre,
    /// A social network.
    Social,
    /// A file that was imported.
    Import,
    /// Anything else.
    Other,
}

/// What kind of call an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::EventKind")]
pub enum EventKind {
    /// The customer did something.
    Track,
    /// The customer saw a page.
    Page,
    /// The customer saw a screen of an app.
    Screen,
    /// A channel said who the customer is.
    Identify,
    /// A channel said which group the customer belongs to.
    Group,
    /// A channel said that two ids are one person.
    Alias,
}

/// What kind of value recognises a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::IdentifierKind")]
pub enum IdentifierKind {
    /// The id of an account in the company's own systems.
    UserId,
    /// The id of a browser or an app before anybody signed in.
    AnonymousId,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// The id of a device.
    DeviceId,
    /// The number of a loyalty card.
    LoyaltyId,
    /// An id of another system, in the namespace of that system.
    ExternalId,
}

/// Whether an identifier recognises anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum IdentifierState {
    /// It finds its owner.
    Active,
    /// It is no identifier: a placeholder, or blocked by hand.
    Blocked,
    /// Too many people have shown it: quarantined.
    Held,
}

impl From<entity::IdentifierState> for IdentifierState {
    fn from(state: entity::IdentifierState) -> Self {
        match state {
            entity::IdentifierState::Active | entity::IdentifierState::Cleared => Self::Active,
            entity::IdentifierState::Blocked | entity::IdentifierState::Unusable => Self::Blocked,
            entity::IdentifierState::Held => Self::Held,
        }
    }
}

/// The JSON type of a trait's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::ValueType")]
pub enum ValueType {
    /// true or false.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Texts.
    String,
    /// Objects.
    Object,
    /// Lists.
    Array,
    /// Values of several types were seen.
    Mixed,
}

/// How personal a trait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::DataClass")]
pub enum DataClass {
    /// May be shown to anybody.
    Public,
    /// Of the company, about nobody.
    Internal,
    /// Personal data: the default of every new trait.
    Pii,
    /// Personal data of a special category.
    Sensitive,
}

/// How a background job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::JobState")]
pub enum JobState {
    /// It waits for its time, or for somebody to run it.
    Queued,
    /// It is being run.
    Running,
    /// It is done.
    Succeeded,
    /// It was given up.
    Failed,
    /// Somebody took it back: nothing more of it is done.
    Cancelled,
}

/// Who speaks by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::ApiKeyKind")]
pub enum ApiKeyKind {
    /// A server or an operator, with the key itself.
    Server,
    /// Single visitors: their company's back end signs a token for each who has signed in, and the token reaches `me` and nothing else.
    Subject,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::access::Scope")]
pub enum ApiScope {
    /// Read; personal data is masked.
    Read,
    /// Read personal data in the clear, and look customers up, filter and order them by it.
    ReadPii,
    /// Change customers, records and definitions.
    Write,
    /// Everything, keys and sources included.
    Admin,
}

/// In which direction of time a timeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum TimeOrder {
    /// The latest entry first.
    NewestFirst,
    /// The earliest entry first.
    OldestFirst,
}

/// What an alias message of a source does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub enum AliasPolicy {
    /// It joins the two ids at once.
    #[default]
    Apply,
    /// It waits in `heldItems` for a person.
    Review,
}

/// What was decided about who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::IdentityDecisionKind")]
pub enum IdentityDecisionKind {
    /// Two customers became one by themselves, because of a value.
    Link,
    /// Somebody, or a source by an alias, said that records are one person.
    Merge,
    /// Somebody said that records are different people.
    Split,
    /// Somebody said that a value recognises nobody.
    Block,
    /// A value or a record waits for a person.
    Hold,
    /// Somebody said that a value recognises people after all.
    Release,
    /// A merge or a split was taken back.
    Revoke,
    /// Other rules were published.
    Rules,
    /// Records were joined by a probability.
    Probable,
    /// A person was erased.
    Erase,
    /// A value was set aside: a rule kept it from joining two customers.
    SetAside,
    /// A value passed to another customer without joining the two.
    Move,
}

/// Why something waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::HoldReason")]
pub enum HoldReason {
    /// Too many customers have shown the value.
    Shared,
    /// The value joined too many customers in a short time.
    TooManyJoins,
    /// The customer has too many records for another to join by itself.
    TooManyRecords,
    /// A source whose aliases are reviewed says that two of its ids are one person.
    Alias,
}

/// What a person makes of an item on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::pipeline::mend::HeldAction")]
pub enum HeldAction {
    /// An alias: the two records are one person. A value: it recognises people from now on. Of an item held for TOO_MANY_RECORDS it is
    /// refused; merge by hand instead.
    Accept,
    /// It stays as it is.
    Dismiss,
}

/// What a rule set is laid over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::pipeline::rules::Base")]
pub enum RulesBase {
    /// The rules that stand.
    #[default]
    Standing,
    /// The defaults for a shop.
    Defaults,
    /// Nothing: it is complete.
    Nothing,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::Topic")]
pub enum Topic {
    /// A customer came into being, has other values, or was merged into another or erased.
    Customer,
    /// Somebody or a rule decided who is who.
    Identity,
    /// What a customer answered to being spoken to.
    Consent,
    /// Something happened: an accepted message. Left out unless it is asked for.
    Event,
    /// An order, or a refund of one.
    Purchase,
    /// A customer entered or left a segment.
    SegmentMembership,
    /// A segment was made or changed.
    SegmentDefinition,
    /// A journey was made or changed.
    JourneyDefinition,
    /// A customer moved in a journey.
    JourneyEnrolment,
    /// A message to a customer was sent, or was not.
    Delivery,
    /// A measure of a customer has another value.
    Metric,
    /// An account of a company.
    Account,
    /// A case of a customer's service.
    Service,
}

/// What was fitted to the purchases of all customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::ValueModelKind")]
pub enum ValueModelKind {
    /// When customers buy, until they stop: BG/NBD. Nobody stops after their first purchase.
    BgNbd,
    /// The same, and customers can also stop after their first purchase: MBG/NBD.
    MbgNbd,
    /// How much they spend on a day on which they buy: Gamma-Gamma.
    GammaGamma,
    /// The cuts by which recency, frequency and money are scored.
    Rfm,
    /// The usual gaps between orders, by category.
    Gaps,
    /// What winning and keeping customers costs, and what a first year brings.
    Economics,
}

/// A model of buying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::value::Family")]
pub enum BuyingFamily {
    /// Nobody stops after their first purchase.
    BgNbd,
    /// Customers can also stop after their first purchase.
    MbgNbd,
}

/// What a lifetime value tells the future by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ClvBasis {
    /// A model that was fitted to all customers' purchases: when they buy, until they stop.
    BtydModel,
    /// The configured retention: purchases go on as they were, and a part of the customers stays every year.
    RetentionForm,
    /// Nothing: there is no purchase, or neither a model nor a retention.
    None,
}
