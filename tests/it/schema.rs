//! The schema as clients read it: what is checked in is what is served, everything is described, and the conventions hold.

use serde_json::Value;
use std::path::Path;

/// What the parts of the schema are, from the schema itself; the library's own types left out.
async fn types() -> Vec<Value> {
    let of_type = "kind name ofType { kind name ofType { kind name ofType { kind name } } }";
    let input = format!("name description defaultValue type {{ {of_type} }}");
    let query = format!(
        "{{ __schema {{ types {{ kind name description
             fields(includeDeprecated: true) {{ name description args {{ {input} }} type {{ {of_type} }} }}
             inputFields {{ {input} }}
             enumValues(includeDeprecated: true) {{ name description }} }} }} }}"
    );
    let answer = tributary::graphql::schema(None).execute(query).await;
    assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    let data = answer.data.into_json().unwrap();
    let types: Vec<Value> = data["__schema"]["types"].as_array().unwrap().clone();
    let own: Vec<Value> = types.into_iter().filter(|ty| !name(ty).starts_with("__")).collect();
    assert!(own.len() > 50, "the schema is read: {}", own.len());
    own
}

fn name(part: &Value) -> &str {
    part["name"].as_str().unwrap()
}

/// The members under this key, none where it is null.
fn members<'v>(part: &'v Value, key: &str) -> &'v [Value] {
    part[key].as_array().map_or(&[], Vec::as_slice)
}

/// A type as it is written in the schema.
fn written(ty: &Value) -> String {
    match ty["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", written(&ty["ofType"])),
        "LIST" => format!("[{}]", written(&ty["ofType"])),
        _ => name(ty).to_owned(),
    }
}

#[test]
fn the_schema_that_is_checked_in_is_the_one_that_is_served() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let checked_in = std::fs::read_to_string(file).unwrap();
    let served = tributary::graphql::sdl();
    let difference = checked_in.lines().zip(served.lines()).find(|(old, new)| old != new);
    assert_eq!(
        difference, None,
        "run `cargo run -- schema > schema.graphql`, and read the difference as a client would"
    );
    assert_eq!(checked_in.len(), served.len());
}

#[tokio::test]
async fn everything_in_the_schema_is_described() {
    let mut faults = Vec::new();
    let mut seen = 0;
    let mut look = |part: &Value, path: String| {
        seen += 1;
        let description = part["description"].as_str().unwrap_or_default().trim();
        if description.is_empty() {
            faults.push(format!("{path} has no description"));
        } else if !description.ends_with(['.', ':']) {
            faults.push(format!(
                "{path}: a description is a sentence, with its full stop: {description}"
            ));
        }
    };
    let types = types().await;
    let built_in = ["Boolean", "Float", "ID", "Int", "String"];
    for ty in types.iter().filter(|ty| !built_in.contains(&name(ty))) {
        look(ty, name(ty).to_owned());
        for field in members(ty, "fields") {
            look(field, format!("{}.{}", name(ty), name(field)));
            for argument in members(field, "args") {
                look(argument, format!("{}.{}({}:)", name(ty), name(field), name(argument)));
            }
        }
        for key in ["inputFields", "enumValues"] {
            for member in members(ty, key) {
                look(member, format!("{}.{}", name(ty), name(member)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 250, "the schema is walked: {seen}");
}

#[tokio::test]
async fn every_field_that_can_be_null_says_when() {
    let mut faults = Vec::new();
    let mut nullable = 0;
    for ty in types().await {
        for field in members(&ty, "fields")
            .iter()
            .filter(|field| field["type"]["kind"] != "NON_NULL")
        {
            nullable += 1;
            let description = field["description"].as_str().unwrap_or_default();
            let words = description.split(|letter: char| !letter.is_alphanumeric());
            if !words.into_iter().any(|word| word == "null") {
                faults.push(format!("{}.{}: {description}", name(&ty), name(field)));
            }
        }
    }
    assert!(faults.is_empty(), "when is it null?\n{}", faults.join("\n"));
    assert!(nullable > 30, "the schema is walked: {nullable}");
}

#[tokio::test]
async fn mutations_take_one_input_and_answer_transaction_and_refusals() {
    let types = types().await;
    let find = |wanted: &str| {
        types
            .iter()
            .find(|ty| name(ty) == wanted)
            .unwrap_or_else(|| panic!("{wanted}"))
    };
    let mutations = members(find("Mutation"), "fields");
    assert!(mutations.len() >= 4);
    for mutation in mutations {
        let field = name(mutation);
        let title = field[..1].to_uppercase() + &field[1..];
        let arguments: Vec<_> = members(mutation, "args")
            .iter()
            .map(|argument| format!("{}: {}", name(argument), written(&argument["type"])))
            .collect();
        // One rule set is the input of what publishes it and of what only tries it.
        let input = match field {
            "identityRulesPublish" => "IdentityRulesInput".to_owned(),
            _ => format!("{title}Input"),
        };
        assert_eq!(arguments, [format!("input: {input}!")], "{field}");
        assert_eq!(written(&mutation["type"]), format!("{title}Payload!"), "{field}");
        let payload = members(find(&format!("{title}Payload")), "fields");
        let part = |wanted: &str| {
            payload
                .iter()
                .find(|part| name(part) == wanted)
                .map(|part| written(&part["type"]))
        };
        assert_eq!(part("transaction").as_deref(), Some("ID"), "{field}");
        assert_eq!(part("userErrors").as_deref(), Some("[UserError!]!"), "{field}");
    }
}

#[tokio::test]
async fn every_list_that_can_grow_is_a_connection_with_a_page_size() {
    let types = types().await;
    let mut lists = 0;
    for ty in &types {
        for field in members(ty, "fields") {
            let answered = written(&field["type"]);
            if !answered.trim_end_matches('!').ends_with("Connection") {
                continue;
            }
            lists += 1;
            let argument = |wanted: &str| {
                let found = members(field, "args").iter().find(|argument| name(argument) == wanted);
                found.map(|argument| written(&argument["type"]))
            };
            let path = format!("{}.{}", name(ty), name(field));
            assert!(answered.ends_with('!'), "{path} is never null");
            assert_eq!(argument("first").as_deref(), Some("Int!"), "{path}");
            assert_eq!(argument("after").as_deref(), Some("String"), "{path}");
        }
        if let Some(item) = name(ty).strip_suffix("Connection") {
            let parts: Vec<_> = members(ty, "fields")
                .iter()
                .map(|part| format!("{}: {}", name(part), written(&part["type"])))
                .collect();
            let expected = [
                format!("edges: [{item}Edge!]!"),
                format!("nodes: [{item}!]!"),
                "pageInfo: PageInfo!".to_owned(),
                "totalCount: Int".to_owned(),
            ];
            assert_eq!(parts, expected, "{}", name(ty));
        }
    }
    assert!(lists >= 8, "the schema is walked: {lists}");
}
