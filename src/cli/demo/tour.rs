//! What to look at in the demo company: queries ready to paste into the console, and the merges and splits to question.

use super::cast::{Question, RecordKey, Remedy};
use super::catalogue::COMPANY;
use super::company::Company;
use super::tell::system_of;
use crate::base::ids::HashKey;
use crate::graphql::NodeId;
use std::net::SocketAddr;

/// Queries that show what is there.
pub fn queries() -> &'static str {
    r#"What to look at; paste each into the console:

  # Who came last, and which systems know them
  query { customers(first: 10) { totalCount nodes { id displayName email city records { externalKey source { name } } } } }

  # One person over four systems: what they did and bought
  query { customerBy(identifier: { kind: EMAIL, value: "elizabeth.cox@mail.example" }) {
    displayName email phone
    timeline(first: 20) { nodes { __typename occurredAt ... on Event { name channel } ... on Purchase { orderId amount { decimal currency } refunded { decimal } } } }
  } }

  # Why that customer is what it is
  query { customerBy(identifier: { kind: USER_ID, value: "C-000101" }) { displayName identityHistory(first: 20) { nodes { occurredAt kind because } } } }

  # The number of the shops, which clerks gave for people without one, until it was held for being everybody's
  query { heldItems(first: 20) { nodes { id reason } } }

  # Everything the channels say
  query { eventDefinitions(first: 100) { nodes { name } } traitDefinitions(first: 100) { nodes { name } } }
"#
}

/// The merges and splits to question, each with a query that shows it and what puts it right.
pub fn questions(company: &Company, keys: &HashKey) -> String {
    let mut text =
        "Which merges and splits to question: the rules decided as well as the channels let them, and were wrong.\n".to_owned();
    for (n, question) in company.questions().iter().enumerate() {
        text.push_str(&format!(
            "\n{}. {} ({})\n   {}\n\n{}\n\n   Put it right:\n{}\n",
            n + 1,
            question.title,
            if question.together {
                "one customer, and should not be"
            } else {
                "two customers, and should be one"
            },
            question.what,
            query(question, keys),
            remedy(question, keys),
        ));
    }
    text
}

/// The id of a record as GraphQL takes it.
pub fn record_id((channel, external_key): &RecordKey, keys: &HashKey) -> String {
    let source = keys.source(system_of(*channel).key);
    NodeId::Record(keys.record(source, external_key)).to_id().to_string()
}

/// Both sides, and what joins them.
pub fn query(question: &Question, keys: &HashKey) -> String {
    let side = |name: &str, (kind, value): &(&str, String)| {
        format!(
            "     {name}: customerBy(identifier: {{ kind: {kind}, value: \"{value}\" }}) {{ id displayName records {{ id externalKey traits source {{ key }} }} }}"
        )
    };
    format!(
        "   query {{\n{}\n{}\n     why: identityExplain(a: \"{}\", b: \"{}\") {{ customer {{ id }} steps {{ because }} }}\n   }}",
        side("one", &question.looks[0]),
        side("other", &question.looks[1]),
        record_id(&question.a, keys),
        record_id(&question.b, keys),
    )
}

/// The mutation that puts it right.
pub fn remedy(question: &Question, keys: &HashKey) -> String {
    let (verb, input) = match &question.remedy {
        Remedy::Separate | Remedy::Link => {
            let verb = if question.remedy == Remedy::Link {
                "recordsLink"
            } else {
                "recordsSeparate"
            };
            let (a, b) = (record_id(&question.a, keys), record_id(&question.b, keys));
            (verb, format!("a: \"{a}\", b: \"{b}\""))
        }
        Remedy::Block(kind, value) => {
            let identifier = format!("identifier: {{ kind: {kind}, value: \"{value}\" }}");
            ("identifierBlock", identifier)
        }
    };
    format!(
        "   mutation {{ {verb}(input: {{ {input}, reason: \"{}\" }}) {{ userErrors {{ message }} }} }}",
        question.title
    )
}

/// Where the server is to be found, at the end, where it is seen.
pub fn print_doors(address: &SocketAddr, admin_key: &str) {
    let base = format!("http://{address}");
    say!(
        r#"Tributary is running with the demo company {COMPANY}.

  Console    {base}/console#key={admin_key}
  GraphQL    {base}/graphql
  Admin key  {admin_key}
  Health     {base}/readyz      Metrics  {base}/metrics

  curl -s {base}/graphql -H 'authorization: Bearer {admin_key}' -H 'content-type: application/json' \
    -d '{{"query":"{{ customers(first: 3) {{ nodes {{ displayName }} }} }}"}}'

Send events of your own: make a source with the mutation sourceCreate and point a Segment or RudderStack library at {base}.
Stop with Ctrl-C."#
    );
}
