//! A request on its way to an answer: gate, parse cache, page sizes, schema. Knows nothing of HTTP but the three ways it can end.

use super::batching::{Forgetful, Waiting, loaders, run_with_loads};
use super::feed::LastCursor;
use super::gate::{self, Limits};
use super::limits::check_page_sizes;
use super::loaders::Questions;
use super::shared::{Answers, Share};
use super::{Schema, serving, serving_own};
use crate::access::{Principal, Scope};
use crate::feed::Feed;
use crate::pipeline::Services;
use crate::pipeline::records::RecordsDoor;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{BaseType, ExecutableDocument, OperationDefinition, OperationType, Selection};
use async_graphql::{PathSegment, Request, Response, ServerError, ValidationMode, Value, Variables};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// No answer lists more errors than this.
const MAX_ERRORS: usize = 20;
/// Texts of parsed documents kept, in bytes; parsing costs as much as a statement.
const CACHED_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;

/// The configuration's section `graphql`.
#[derive(Clone, Copy, Debug)]
pub struct GraphqlOptions {
    /// Whether keys without the scope `admin` may read the schema; tokens of single visitors never may.
    pub introspection: bool,
}

/// A request as it came, its JSON already read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestBody {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Json>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A limit was passed: an error of the caller in every media type.
    Refused(Json),
    /// The document does not parse or validate, or a variable does not fit: nothing ran.
    Invalid(Json),
    /// It ran; there may be errors in some fields. `data` keeps the order of the fields asked for.
    Executed { data: Value, errors: Vec<Json> },
    /// It ran without an error, perhaps for somebody else who sees the same: the body to send.
    Shared(Arc<str>),
}

/// One answer of several.
#[derive(Clone, Debug)]
pub struct Emission {
    pub answer: Answer,
    /// Behind what this answer tells of the change log: when it cannot be sent, the client goes on from the cursor of the one before. None
    /// where the answer tells of something else.
    pub cursor: Option<String>,
}

/// A request that may run.
struct Prepared {
    request: Request,
    schema: Schema,
    known: Arc<Known>,
    loads: Waiting,
    forgetful: Forgetful,
}

/// A request that goes on answering.
struct UnderWay {
    responses: BoxStream<'static, Response>,
    loads: Waiting,
    forgetful: Forgetful,
    known: Arc<Known>,
    feed: Feed,
    last: LastCursor,
    share: Option<Share>,
    has_ended: bool,
}

impl UnderWay {
    async fn next(&mut self) -> Option<Emission> {
        if self.has_ended {
            return None;
        }
        self.forgetful.forget();
        let response = run_with_loads(self.responses.next(), &mut self.loads).await?;
        self.has_ended = response.data == Value::Null;
        let mut answer = answer(response, &self.known);
        if let Some(share) = &self.share {
            let is_for_all = matches!(&answer, Answer::Executed { errors, .. } if errors.is_empty());
            if let Some(text) = share.settle(|| is_for_all.then(|| answer.to_json().into())) {
                answer = Answer::Shared(text);
            }
        }
        Some(Emission {
            answer,
            cursor: self.last.get().map(|place| self.feed.text(place)),
        })
    }
}

/// Where requests enter.
#[derive(Clone)]
pub struct Door {
    schema: Schema,
    /// For tokens of single visitors: every field of it asks whether it is open to them.
    own: Schema,
    /// The same, for documents that the library has found valid before.
    trusting: Schema,
    services: Services,
    options: GraphqlOptions,
    documents: moka::sync::Cache<String, Arc<Known>>,
    answers: Answers,
}

/// A document that was parsed, and whether the library has found it valid.
struct Known {
    document: ExecutableDocument,
    is_valid: AtomicBool,
}

impl Door {
    pub fn new(services: Services, records: RecordsDoor, options: GraphqlOptions) -> Self {
        let weigh = |text: &String, _: &Arc<Known>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let documents = moka::sync::Cache::builder()
            .max_capacity(CACHED_DOCUMENT_BYTES)
            .weigher(weigh)
            .build();
        Self {
            schema: serving(services.clone(), records.clone(), ValidationMode::Strict),
            trusting: serving(services.clone(), records.clone(), ValidationMode::Fast),
            own: serving_own(services.clone(), records),
            services,
            options,
            documents,
            answers: Answers::new(),
        }
    }

    /// Answers a request of this principal. A subscription is refused: it is for `stream`.
    pub async fn execute(&self, principal: Principal, body: RequestBody) -> Answer {
        let mut prepared = match self.prepare(principal, body) {
            Ok(prepared) => prepared,
            Err(answer) => return answer,
        };
        let response = run_with_loads(prepared.schema.execute(prepared.request), &mut prepared.loads).await;
        answer(response, &prepared.known)
    }

    /// Answers a request of this principal for as long as it goes on: a subscription emits until it ends or is dropped, anything else is
    /// answered once, as by `execute`. Nothing is done for the next answer before it is asked for, so whoever sends them on reads no
    /// further than its client does. An answer without data is the last.
    pub fn stream(&self, principal: Principal, body: RequestBody) -> BoxStream<'static, Emission> {
        let prepared = match self.prepare(principal.clone(), body.clone()) {
            Ok(prepared) => prepared,
            Err(answer) => return stream::iter([Emission { answer, cursor: None }]).boxed(),
        };
        let operation = selected(&prepared.known.document, prepared.request.operation_name.as_deref());
        let is_subscription = operation.is_some_and(|operation| operation.ty == OperationType::Subscription);
        if is_subscription && operation.is_some_and(|operation| !has_one_field(operation)) {
            let message = "a subscription asks for exactly one field, and for that one outside of any fragment";
            let answer = Answer::Invalid(refused("GRAPHQL_VALIDATION_FAILED", message));
            return stream::iter([Emission { answer, cursor: None }]).boxed();
        }
        let last = LastCursor::default();
        let mut request = prepared.request.data(last.clone());
        let subscription = operation.filter(|_| is_subscription);
        let share = subscription.map(|operation| self.answers.of(&principal, &body, operation));
        if let Some(share) = &share {
            request = request.data(share.clone());
        }
        let under_way = UnderWay {
            // Of anything else than a subscription it is a stream of one response.
            responses: prepared.schema.execute_stream(request),
            loads: prepared.loads,
            forgetful: prepared.forgetful,
            known: prepared.known,
            feed: self.services.feed.clone(),
            last,
            share,
            has_ended: false,
        };
        stream::unfold(under_way, |mut under_way| async move {
            let emission = under_way.next().await?;
            Some((emission, under_way))
        })
        .boxed()
    }

    /// Looks at a request before the library does; the answer when it is refused.
    fn prepare(&self, principal: Principal, body: RequestBody) -> Result<Prepared, Answer> {
        let is_admin = principal.may(Scope::Admin);
        let is_subject = matches!(principal, Principal::Subject(_));
        let limits = if is_admin { Limits::admin() } else { Limits::default() };
        if let Err(refusal) = gate::check(&body.query, &limits) {
            return Err(Answer::Refused(refused(refusal.code(), &refusal.to_string())));
        }
        let known = match self.parsed(&body.query) {
            Ok(known) => known,
            Err(error) => {
                return Err(Answer::Invalid(
                    json!({"errors": [error_json(&error, "GRAPHQL_PARSE_FAILED")]}),
                ));
            }
        };
        let variables = Variables::from_json(Json::Object(body.variables));
        let document = &known.document;
        let mut schema = &self.schema;
        // None of that name: the library says so.
        if let Some(operation) = selected(document, body.operation_name.as_deref()) {
            if let Err(fault) = check_page_sizes(document, operation, &variables) {
                let location = json!([{"line": fault.line, "column": fault.column}]);
                let error = json!({"message": fault.to_string(), "locations": location, "extensions": {"code": "PAGE_SIZE_OUT_OF_RANGE"}});
                return Err(Answer::Refused(json!({"errors": [error]})));
            }
            if let Err(error) = check_required_variables(operation, &variables) {
                return Err(Answer::Invalid(
                    json!({"errors": [error_json(&error, "GRAPHQL_VALIDATION_FAILED")]}),
                ));
            }
            if known.is_valid.load(Ordering::Relaxed) && are_plain(operation, &variables) {
                schema = &self.trusting;
            }
        }
        let (loaders, loads) = loaders(Questions::new(&self.services));
        let forgetful = loaders.forgetful();
        let mut request = Request::new(body.query).variables(variables).data(principal).data(loaders);
        request.operation_name = body.operation_name;
        request.set_parsed_query(document.clone());
        if is_subject || !is_admin && !self.options.introspection {
            request = request.disable_introspection();
        }
        let schema = if is_subject { &self.own } else { schema };
        Ok(Prepared {
            request,
            schema: schema.clone(),
            known,
            loads,
            forgetful,
        })
    }

    fn parsed(&self, query: &str) -> Result<Arc<Known>, ServerError> {
        if let Some(known) = self.documents.get(query) {
            return Ok(known);
        }
        let known = Arc::new(Known {
            document: parse_query(query).map_err(|error| syntax_error(error.into()))?,
            is_valid: AtomicBool::new(false),
        });
        self.documents.insert(query.to_owned(), known.clone());
        Ok(known)
    }
}

impl Answer {
    /// The body to send.
    pub fn to_json(&self) -> String {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [Json],
            data: &'a Value,
        }
        let text = match self {
            Self::Refused(body) | Self::Invalid(body) => serde_json::to_string(body),
            Self::Executed { data, errors } => serde_json::to_string(&Body { errors, data }),
            Self::Shared(text) => return text.to_string(),
        };
        text.expect("an answer is JSON")
    }
}

/// A response of the library as it is sent.
fn answer(response: Response, known: &Known) -> Answer {
    let nothing_ran =
        response.data == Value::Null && !response.errors.is_empty() && response.errors.iter().all(|error| error.path.is_empty());
    let code = if nothing_ran {
        "GRAPHQL_VALIDATION_FAILED"
    } else {
        "BAD_INPUT"
    };
    let errors: Vec<Json> = response
        .errors
        .iter()
        .take(MAX_ERRORS)
        .map(|error| error_json(error, code))
        .collect();
    if nothing_ran {
        return Answer::Invalid(json!({"errors": errors}));
    }
    known.is_valid.store(true, Ordering::Relaxed);
    Answer::Executed {
        data: response.data,
        errors,
    }
}

/// Whether an operation selects one field and nothing else: of fragments at the root the library would stream nothing.
fn has_one_field(operation: &OperationDefinition) -> bool {
    let selections = &operation.selection_set.node.items;
    matches!(selections.as_slice(), [selection] if matches!(selection.node, Selection::Field(_)))
}

/// The operation that is to run, chosen as the library does.
fn selected<'d>(document: &'d ExecutableDocument, name: Option<&str>) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let operation = match name {
        Some(name) => operations.find(|(own, _)| own.is_some_and(|own| own == name))?,
        None => operations.next().filter(|_| operations.next().is_none())?,
    };
    Some(&operation.1.node)
}

/// A required variable without a value is a fault of the request. The library would notice it only where the value is used, after
/// fields before it have run.
fn check_required_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), ServerError> {
    for definition in &operation.variable_definitions {
        let (name, wanted) = (&definition.node.name.node, &definition.node.var_type.node);
        let is_given = match variables.get(name) {
            None => definition.node.default_value.is_some(),
            Some(value) => *value != Value::Null,
        };
        if !wanted.nullable && !is_given {
            let message = format!("Variable \"${name}\" of type \"{wanted}\" needs a value.");
            return Err(ServerError::new(message, Some(definition.pos)));
        }
    }
    Ok(())
}

/// Whether an operation's variables are scalars of their types. All other rules of validation look at the document alone, so a document
/// that was valid is valid again; anything less plain than this is for the library to judge.
fn are_plain(operation: &OperationDefinition, variables: &Variables) -> bool {
    operation.ty == OperationType::Query
        && operation.variable_definitions.iter().all(|definition| {
            let wanted = &definition.node.var_type.node;
            let BaseType::Named(name) = &wanted.base else { return false };
            match (name.as_str(), variables.get(&definition.node.name.node)) {
                ("ID" | "String", Some(Value::String(_))) | ("Boolean", Some(Value::Boolean(_))) => true,
                ("Int", Some(Value::Number(number))) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                // Where none is needed, and none is given or stands in the document.
                ("ID" | "String" | "Boolean" | "Int", None) => wanted.nullable && definition.node.default_value.is_none(),
                _ => false,
            }
        })
}

/// The parser shows the line it stopped at, which may hold personal data; where that is stands in `locations`.
fn syntax_error(mut error: ServerError) -> ServerError {
    if let Some((_, reason)) = error.message.rsplit_once("\n  = ") {
        error.message = format!("syntax error: {reason}");
    }
    error
}

/// The body of a refusal.
pub fn refused(code: &str, message: &str) -> Json {
    json!({"errors": [{"message": message, "extensions": {"code": code}}]})
}

fn error_json(error: &ServerError, default_code: &str) -> Json {
    let mut json = Map::new();
    json.insert("message".to_owned(), error.message.clone().into());
    if !error.locations.is_empty() {
        let locations = error.locations.iter().map(|at| json!({"line": at.line, "column": at.column}));
        json.insert("locations".to_owned(), locations.collect());
    }
    if !error.path.is_empty() {
        let segment = |segment: &PathSegment| match segment {
            PathSegment::Field(name) => Json::from(name.as_str()),
            PathSegment::Index(index) => Json::from(*index),
        };
        json.insert("path".to_owned(), error.path.iter().map(segment).collect());
    }
    let extensions = error
        .extensions
        .as_ref()
        .and_then(|extensions| serde_json::to_value(extensions).ok());
    let mut extensions = extensions
        .and_then(|extensions| extensions.as_object().cloned())
        .unwrap_or_default();
    extensions.entry("code").or_insert_with(|| default_code.into());
    json.insert("extensions".to_owned(), Json::Object(extensions));
    Json::Object(json)
}
