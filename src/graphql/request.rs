//! What every road to GraphQL asks of a request and of an answer, be it one body, a socket or a stream of events.

use super::execute::{Answer, RequestBody};
use super::gate::{self, Limits, OperationKind};
use serde_json::{Map, Value};

impl RequestBody {
    /// Reads the members that a request has, whichever way it came; otherwise says which is wrong.
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, &'static str> {
        let Some(Value::String(query)) = fields.remove("query") else {
            return Err("\"query\" must be a text");
        };
        let operation_name = match fields.remove("operationName") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err("\"operationName\" must be a text"),
        };
        let variables = match fields.remove("variables") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(variables)) => variables,
            Some(_) => return Err("\"variables\" must be an object"),
        };
        if !matches!(fields.get("extensions"), None | Some(Value::Null | Value::Object(_))) {
            return Err("\"extensions\" must be an object");
        }
        Ok(Self {
            query,
            operation_name,
            variables,
        })
    }

    /// Whether the operation that is to run is a subscription; what the gate refuses is none.
    pub fn is_subscription(&self) -> bool {
        let Ok(survey) = gate::check(&self.query, &Limits::admin()) else {
            return false;
        };
        let mut operations = survey.operations.iter();
        let operation = match &self.operation_name {
            Some(name) => operations.find(|operation| operation.name.as_ref() == Some(name)),
            None => operations.next(),
        };
        operation.is_some_and(|operation| operation.kind == OperationKind::Subscription)
    }
}

impl Answer {
    /// Whether nothing ran.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Invalid(_))
    }

    /// The list of errors alone, as JSON.
    pub fn errors_json(&self) -> String {
        match self {
            Self::Refused(body) | Self::Invalid(body) => body["errors"].to_string(),
            Self::Executed { errors, .. } => Value::from(errors.clone()).to_string(),
            Self::Shared(_) => "[]".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_that_runs_says_what_it_is() {
        let is_subscription = |query: &str, name: Option<&str>| {
            let request = RequestBody {
                query: query.to_owned(),
                operation_name: name.map(str::to_owned),
                variables: Map::new(),
            };
            request.is_subscription()
        };
        let both = "query Q { a } subscription S { b }";
        assert!(is_subscription("subscription { a }", None) && is_subscription(both, Some("S")));
        assert!(!is_subscription("{ subscription }", None) && !is_subscription(both, Some("Q")));
        assert!(!is_subscription(both, Some("X")) && !is_subscription("subscription {", Some("S")));
        assert!(!is_subscription(
            &format!("subscription {{ a(b: {}) }}", "[".repeat(100)),
            None
        ));
    }
}
