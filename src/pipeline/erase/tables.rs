//! What an erasure does with every table. A test holds this list against the schema: a new table, or a new column that can hold text,
//! JSON or bytes, fails it until it is named here.

use super::work::Step;

/// What becomes of the rows of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In the transaction that asks for the erasure, since everything is found through it.
    AtOnce,
    /// By a step of the job that knows the table.
    By(Step),
    /// The rows of the erased records are deleted by `record_id`, some records at a time. New tables that hang off records say this.
    DeleteByRecord,
    /// Nothing of it is about a person; the reason is beside each column.
    Stays,
}

/// A table, what becomes of it, and each of its columns that could hold something personal with what happens to it there.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    pub fate: Fate,
    pub columns: &'static [(&'static str, &'static str)],
}

const fn table(name: &'static str, fate: Fate, columns: &'static [(&'static str, &'static str)]) -> Table {
    Table { name, fate, columns }
}

const GONE: &str = "goes with its row";
const OPERATOR: &str = "an operator, a key or a source, not a customer";
const DEFINITION: &str = "an operator's definition";
const HASHES: &str = "keyed hashes";

/// Every table of the schema, in the order of the receipt.
pub const TABLES: &[Table] = &[
    // Found through: moved to skeletons at once, so that reads stop.
    table(
        "customer",
        Fate::AtOnce,
        &[
            ("display_name", GONE),
            ("email", GONE),
            ("phone", GONE),
            ("golden", GONE),
            ("name_folded", GONE),
            ("email_folded", GONE),
            ("phone_folded", GONE),
        ],
    ),
    table("customer_value", Fate::AtOnce, &[("totals", GONE), ("currency", GONE)]),
    table("activity", Fate::AtOnce, &[("name", GONE)]),
    table(
        "metric_change",
        Fate::AtOnce,
        &[
            ("metric", GONE),
            ("value", GONE),
            ("detail", GONE),
            ("cause", GONE),
            ("ended", GONE),
        ],
    ),
    table("value_model", Fate::Stays, &[("model", "parameters and sums over everybody")]),
    table("due", Fate::AtOnce, &[("error", GONE)]),
    table("record", Fate::AtOnce, &[("external_key", GONE), ("traits", GONE)]),
    table("link", Fate::AtOnce, &[("raw", GONE)]),
    table(
        "identifier",
        Fate::AtOnce,
        &[
            (
                "value",
                "goes, unless others show it too; what was blocked or held is known by its hash",
            ),
            ("namespace", "the name of a type or a source"),
        ],
    ),
    table("decision_record", Fate::AtOnce, &[]),
    table("held_item", Fate::AtOnce, &[("resolved_by", OPERATOR)]),
    // Found by what the skeletons still hold in clear.
    table(
        "rejected_item",
        Fate::By(Step::Rejected),
        &[
            ("code", "a code"),
            ("field", "the path of a field"),
            ("message", "redacted"),
            ("payload", "redacted"),
        ],
    ),
    table(
        "change",
        Fate::By(Step::Changes),
        &[("changed", "redacted"), ("events", HASHES), ("cause", "redacted")],
    ),
    table(
        "identity_decision",
        Fate::By(Step::Decisions),
        &[
            ("actor", OPERATOR),
            ("reason", "redacted"),
            ("evidence", "redacted but for ids and codes"),
        ],
    ),
    table(
        "audit",
        Fate::By(Step::Audit),
        &[
            ("actor", OPERATOR),
            ("action", "the name of a mutation"),
            ("object", "an id"),
            ("detail", "redacted where a decision about the person is its object"),
        ],
    ),
    // Hanging off records.
    table("purchase_line", Fate::DeleteByRecord, &[("price", GONE)]),
    table(
        "consent",
        Fate::DeleteByRecord,
        &[("purpose", GONE), ("channel", GONE), ("evidence", GONE), ("actor", GONE)],
    ),
    table(
        "refund",
        Fate::DeleteByRecord,
        &[("amount", GONE), ("currency", GONE), ("pieces", GONE)],
    ),
    table(
        "purchase",
        Fate::DeleteByRecord,
        &[
            ("order_namespace", GONE),
            ("order_id", GONE),
            ("currency", GONE),
            ("amount", GONE),
            ("amount_currency", GONE),
            ("named_currency", GONE),
        ],
    ),
    table(
        "event",
        Fate::By(Step::Events),
        &[("message_id", GONE), ("name", GONE), ("properties", GONE), ("context", GONE)],
    ),
    // What only events of the person brought.
    table(
        "product",
        Fate::By(Step::Events),
        &[
            ("sku", "goes when nobody else bought it"),
            ("name", "goes when nobody else bought it"),
            ("category", "goes when nobody else bought it"),
        ],
    ),
    table(
        "event_definition",
        Fate::By(Step::Events),
        &[("name", "goes when nobody else sends it")],
    ),
    table(
        "trait_definition",
        Fate::By(Step::Events),
        &[("name", "goes when nobody else sends it")],
    ),
    // The skeletons themselves.
    table(
        "erased_record",
        Fate::By(Step::Texts),
        &[("external_key", "nulled as the last step")],
    ),
    table("erased_link", Fate::By(Step::Texts), &[("raw", "nulled as the last step")]),
    table(
        "erased_value",
        Fate::By(Step::Texts),
        &[
            ("namespace", "the name of a type or a source"),
            ("value", "nulled as the last step"),
            ("judged", "versions of rules"),
        ],
    ),
    table(
        "erased_statement",
        Fate::Stays,
        &[("attribute", "the name of an attribute that rules compare")],
    ),
    table("erased_event", Fate::Stays, &[]),
    table("erased_product", Fate::Stays, &[]),
    table(
        "erasure",
        Fate::Stays,
        &[("actor", OPERATOR), ("records", HASHES), ("identifiers", HASHES)],
    ),
    table("suppression", Fate::Stays, &[]),
    // About nobody.
    table(
        "exchange_rate",
        Fate::Stays,
        &[
            ("from_currency", "a currency"),
            ("to_currency", "a currency"),
            ("rate", "a number"),
        ],
    ),
    table(
        "spend",
        Fate::Stays,
        &[
            ("channel", DEFINITION),
            ("campaign", DEFINITION),
            ("bought", DEFINITION),
            ("currency", "a currency"),
        ],
    ),
    table("change_tx", Fate::Stays, &[("actor", OPERATOR)]),
    table(
        "lease",
        Fate::Stays,
        &[("name", "what is held"), ("holder", "an instance of the server")],
    ),
    table("consumer", Fate::Stays, &[("name", "a reader of the log")]),
    table(
        "job",
        Fate::Stays,
        &[
            ("kind", "the name of a handler"),
            ("input", "ids and choices"),
            ("cursor", "ids and counts"),
            ("result", "counts"),
            ("error", "a handler's words, which name nobody"),
            ("actor", OPERATOR),
        ],
    ),
    table(
        "identity_rules",
        Fate::Stays,
        &[
            (
                "config",
                "an operator's definition; the receipt names versions whose lists name the person",
            ),
            ("actor", OPERATOR),
        ],
    ),
    table(
        "source",
        Fate::Stays,
        &[
            ("key", DEFINITION),
            ("name", DEFINITION),
            ("write_key_digest", "a digest"),
            ("previous_key_digest", "a digest"),
        ],
    ),
    table(
        "api_key",
        Fate::Stays,
        &[
            ("id", "a random id"),
            ("digest", "a digest"),
            ("name", DEFINITION),
            ("scopes", DEFINITION),
            ("last_four", "of a secret"),
            ("created_by", OPERATOR),
            ("public_key", "the public half of a key pair"),
            ("origins", DEFINITION),
        ],
    ),
    table(
        "installation",
        Fate::Stays,
        &[
            ("name", "the name of a secret or of a choice"),
            ("value", "a secret of the installation, or what it settled once"),
        ],
    ),
    table("seaql_migrations", Fate::Stays, &[("version", "the name of a migration")]),
];
