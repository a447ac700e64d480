//! Each limit from both sides, the known ways to hide from them, documents that must pass, and noise that must not break anything.

use std::iter::repeat_n;

use proptest::prelude::*;

use super::*;

fn survey(document: &str) -> Survey {
    check(document, &Limits::default()).unwrap_or_else(|refusal| panic!("{refusal}: {document:.200}"))
}

/// The code of the refusal, or `passes`.
fn verdict(document: &str) -> &'static str {
    check(document, &Limits::default()).map_or_else(|refusal| refusal.code(), |_| "passes")
}

fn repeated(piece: &str, times: usize) -> String {
    repeat_n(piece, times).collect()
}

/// `numbered("a#:x ", 2)` is `a0:x a1:x `.
fn numbered(piece: &str, times: usize) -> String {
    (0..times).map(|number| piece.replace('#', &number.to_string())).collect()
}

/// `{a{a{a}}}` for three levels.
fn selection_of_depth(levels: usize) -> String {
    format!("{}a{}", repeated("{a", levels - 1) + "{", repeated("}", levels))
}

fn unlimited() -> Limits {
    let all = usize::MAX;
    Limits {
        bytes: all,
        tokens: all,
        nesting: all,
        depth: all,
        introspection_depth: all,
        directives: all,
        spreads: all,
        fragments: all,
        aliases: all,
        root_fields: all,
        root_mutation_fields: all,
        expanded_size: all,
    }
}

/// Each limit in turn: what a document with so many looks like, the limit, the code one above it.
#[test]
fn every_limit_lets_pass_what_reaches_it_and_refuses_one_more() {
    type Case = (&'static str, usize, fn(usize) -> String);
    let cases: [Case; 13] = [
        ("QUERY_TOO_LARGE", 16_384, |n| format!("{{a}}{}", repeated(" ", n - 3))),
        ("QUERY_TOO_MANY_TOKENS", 2_000, |n| {
            format!("{{a(x:[{}])}}", repeated("1 ", n - 9))
        }),
        ("QUERY_TOO_NESTED", 48, |n| {
            format!("{{a(x:{}{})}}", repeated("[", n - 2), repeated("]", n - 2))
        }),
        ("QUERY_TOO_DEEP", 12, selection_of_depth),
        ("QUERY_TOO_DEEP", 20, |n| format!("{{__schema{}}}", selection_of_depth(n - 1))),
        ("QUERY_TOO_DEEP", 20, |n| {
            format!("{{b{{b:__type(name:\"\"){}}}}}", selection_of_depth(n - 1))
        }),
        ("TOO_MANY_DIRECTIVES", 32, |n| format!("{{a {}}}", repeated("@d", n))),
        ("TOO_MANY_SPREADS", 128, |n| format!("{{a{{{}}}}}", repeated("...{b}", n))),
        ("TOO_MANY_FRAGMENTS", 32, |n| {
            format!("{{a}}{}", numbered("fragment F# on T{a}", n))
        }),
        ("TOO_MANY_ALIASES", 60, |n| format!("{{a{{{}}}}}", numbered("b#:b ", n))),
        ("TOO_MANY_ROOT_FIELDS", 20, |n| format!("{{{}}}", repeated("a ", n))),
        ("TOO_MANY_ROOT_MUTATION_FIELDS", 4, |n| {
            format!("mutation {{{}}}", repeated("a ", n))
        }),
        ("FRAGMENTS_TOO_LARGE", 5_000, |n| {
            let spread = repeated("...F ", 49);
            let more = repeated("b ", n - 1 - 49 * 102);
            format!("{{a{{{spread}{more}}}}} fragment F on T{{{}}}", repeated("a ", 101))
        }),
    ];
    for (code, limit, document) in cases {
        assert_eq!(verdict(&document(limit)), "passes", "{code} at {limit}");
        assert_eq!(verdict(&document(limit + 1)), code, "{code} above {limit}");
    }
}

#[test]
fn an_admin_may_send_four_times_the_text() {
    let document = |length: usize| format!("{{a}}{}", repeated(" ", length - 3));
    assert!(check(&document(65_536), &Limits::admin()).is_ok());
    assert_eq!(
        check(&document(65_537), &Limits::admin()).unwrap_err().code(),
        "QUERY_TOO_LARGE"
    );
}

#[test]
fn a_list_literal_nested_two_thousand_deep_is_refused() {
    let list = repeated("[", 2_000) + &repeated("]", 2_000);
    assert_eq!(verdict(&format!("{{a(x:{list})}}")), "QUERY_TOO_NESTED");
    assert_eq!(verdict(&format!("query($x:Int={list}){{a}}")), "QUERY_TOO_NESTED");
    assert_eq!(verdict(&format!("query @d(x:{list}){{a}}")), "QUERY_TOO_NESTED");
}

#[test]
fn an_object_literal_nested_five_thousand_deep_is_refused() {
    let document = format!("{{a(x:{}1{})}}", repeated("{a:", 5_000), repeated("}", 5_000));
    assert_eq!(verdict(&document), "QUERY_TOO_LARGE");
    assert_eq!(check(&document, &Limits::admin()).unwrap_err().code(), "QUERY_TOO_NESTED");
}

#[test]
fn a_type_nested_a_thousand_deep_is_refused() {
    let list = repeated("[", 1_000) + "Int" + &repeated("]", 1_000);
    assert_eq!(verdict(&format!("query($x:{list}){{a}}")), "QUERY_TOO_NESTED");
}

#[test]
fn brackets_that_are_never_closed_are_counted_as_well() {
    assert_eq!(verdict(&repeated("{a", 49)), "QUERY_TOO_NESTED");
    assert_eq!(verdict(&format!("{{a(x:{}", repeated("[", 100))), "QUERY_TOO_NESTED");
    assert_eq!(verdict(&format!("~ }}){}", repeated("[", 49))), "QUERY_TOO_NESTED");
}

#[test]
fn a_selection_fifty_deep_is_called_too_deep_and_not_too_nested() {
    assert_eq!(verdict(&selection_of_depth(50)), "QUERY_TOO_DEEP");
}

#[test]
fn depth_is_counted_through_fragments() {
    let rest = " fragment F on T{a{...on T{a{...G}}}} fragment G on T{a{a}}";
    assert_eq!(
        verdict(&format!("{}{rest}", selection_of_depth(8).replacen("a}", "...F}", 1))),
        "passes"
    );
    assert_eq!(
        verdict(&format!("{}{rest}", selection_of_depth(10).replacen("a}", "...F}", 1))),
        "QUERY_TOO_DEEP"
    );
    // What is spread below `__schema` is measured by the limit for introspection.
    assert_eq!(
        verdict(&format!("{{__schema{{...F}}}} fragment F on T{}", selection_of_depth(19))),
        "passes"
    );
    assert_eq!(
        verdict(&format!("{{__schema{{...F}}}} fragment F on T{}", selection_of_depth(20))),
        "QUERY_TOO_DEEP"
    );
    assert_eq!(
        verdict(&format!("{{...F}} fragment F on T{{__schema{}}}", selection_of_depth(20))),
        "QUERY_TOO_DEEP"
    );
}

#[test]
fn an_alias_does_not_make_a_field_introspection() {
    assert_eq!(
        verdict(&format!("{{__schema:a{}}}", selection_of_depth(12))),
        "QUERY_TOO_DEEP"
    );
}

#[test]
fn a_chain_of_doubling_fragments_is_refused() {
    let link = |from: usize, to: usize| format!("fragment F{from} on T{{...F{to} ...F{to}}}");
    let chain: String = (0..30).map(|number| link(number, number + 1)).collect();
    assert_eq!(
        verdict(&format!("{{a{{...F0}}}} {chain} fragment F30 on T{{b}}")),
        "FRAGMENTS_TOO_LARGE"
    );
    // Nothing is selected at the end of the chain, no operation begins it: the library would walk all the same.
    assert_eq!(verdict(&format!("{{a{{...F0}}}} {chain}")), "FRAGMENTS_TOO_LARGE");
    assert_eq!(verdict(&format!("{{a}} {chain}")), "FRAGMENTS_TOO_LARGE");
}

#[test]
fn fragments_that_grow_beyond_every_number_are_refused() {
    let link = |from: usize, to: usize| format!("fragment F{from} on T{{{}}}", repeated(&format!("...F{to} "), 64));
    let chain: String = (0..20).map(|number| link(number, number + 1)).collect();
    let limits = Limits {
        expanded_size: 5_000,
        ..unlimited()
    };
    let (measure, limit, found) = (Measure::ExpandedSize, 5_000, usize::MAX);
    assert_eq!(
        check(&format!("{{a}}{chain}"), &limits),
        Err(Refusal::Exceeded { measure, limit, found })
    );
}

#[test]
fn fragments_that_spread_themselves_are_refused_even_if_no_operation_uses_them() {
    let one = "fragment A on T{...A}";
    let two = "fragment A on T{a{...B}} fragment B on T{...on T{...A}}";
    let three = "fragment C on T{...A @d} fragment A on T{b ...B} fragment B on T{...C b}";
    for cycle in [one, two, three] {
        for operation in ["{a}", "{...A}", "{a{...A}}", "query Q{...D} fragment D on T{a ...A}"] {
            assert_eq!(
                verdict(&format!("{operation} {cycle}")),
                "FRAGMENT_CYCLE",
                "{operation} {cycle}"
            );
            assert_eq!(
                verdict(&format!("{cycle} {operation}")),
                "FRAGMENT_CYCLE",
                "{cycle} {operation}"
            );
        }
    }
}

#[test]
fn a_fragment_used_twice_is_no_cycle() {
    assert_eq!(
        verdict("{...A ...B} fragment A on T{...C} fragment B on T{...A ...C} fragment C on T{a}"),
        "passes"
    );
}

#[test]
fn a_fragment_that_is_defined_nowhere_is_left_to_the_library() {
    assert!(survey("{a ...Nowhere}").complete);
}

#[test]
fn a_thousand_aliases_of_one_field_are_refused_as_aliases() {
    assert_eq!(verdict(&format!("{{{}}}", numbered("a#:a ", 1_000))), "TOO_MANY_ALIASES");
}

#[test]
fn colons_of_arguments_objects_and_variables_are_no_aliases() {
    let objects = repeated("{a:1,b:{c:$d}}", 40);
    let variables = numbered("$v#:Int=1 ", 40);
    assert_eq!(
        verdict(&format!("query Q({variables}){{a(x:[{objects}],y:2)@d(if:true){{b}}}}")),
        "passes"
    );
}

#[test]
fn root_fields_cannot_hide_in_fragments() {
    let five = repeated("a ", 5);
    for document in [
        format!("mutation{{...{{{five}}}}}"),
        format!("mutation{{...on M@d{{...{{{five}}}}}}}"),
        format!("mutation{{...F}} fragment F on M{{{five}}}"),
        String::from("mutation{a ...F} fragment F on M{...G ...G} fragment G on M{a a}"),
        format!("{{a}} mutation Second{{{five}}}"),
        format!("mutationGlued{{{five}}}"),
        String::from("mutation{...on#\n,\u{feff}F{a} a a a a} fragment on on M{a}"),
    ] {
        assert_eq!(verdict(&document), "TOO_MANY_ROOT_MUTATION_FIELDS", "{document}");
    }
    assert_eq!(
        verdict(&format!("subscription{{...F}} fragment F on S{{{}}}", repeated("a ", 21))),
        "TOO_MANY_ROOT_FIELDS"
    );
    assert_eq!(
        verdict("mutation{a{b b b b b} ...F} fragment F on M{a b{c c c c c} d}"),
        "passes"
    );
}

#[test]
fn operations_are_measured_together() {
    let half = repeated("...F ", 25);
    let fragment = format!("fragment F on T{{{}}}", repeated("a ", 100));
    assert_eq!(verdict(&format!("query A{{a{{{half}}}}} {fragment}")), "passes");
    assert_eq!(
        verdict(&format!("query A{{a{{{half}}}}} query B{{a{{{half}}}}} {fragment}")),
        "FRAGMENTS_TOO_LARGE"
    );
}

#[test]
fn what_stands_in_strings_and_comments_does_not_count() {
    let noise = repeated("{[(@...a:b", 100);
    for document in [
        format!("{{a(x:\"{noise}\")}}"),
        format!("{{a(x:\"\\\"{noise}\\\\\")}}"),
        format!("{{a(x:\"\"\"{noise}\n\" \"\" \\\"\"\"{noise}\\\"\"\"\"\"\")}}"),
        format!("{{a #{noise}\n}}"),
        format!("{{a #{noise}\r}}"),
        format!("#\"\"\"{noise}\u{2028}\"\r\n{{a}}#{noise}"),
        format!("{{a(x:\"#\" y:\"\"y:\"\"\"\"\"\")#{noise}\n}}"),
    ] {
        assert_eq!(survey(&document), survey("{a}"), "{document:.60}");
    }
}

#[test]
fn what_stands_behind_strings_and_comments_counts() {
    let list = repeated("[", 50) + &repeated("]", 50);
    for before in [
        "x:\"\" y:",
        "x:\"\\\\\" y:",
        "x:\"\\\"\" y:",
        "x:\"#\" y:",
        "x:\"\"\"\"\"\" y:",
        "x:\"\"\" \"\" \\\"\"\" \"\"\" y:",
        "x:\"\"\"\\\\\"\"\"\\\"\"\"\"\"\" y:",
        "#\"\n y:",
        "#\\\r y:",
        "# \"\"\"\r\n y:",
        ",\u{feff}\t\u{feff}y:",
    ] {
        assert_eq!(verdict(&format!("{{a({before}{list})}}")), "QUERY_TOO_NESTED", "{before}");
    }
}

/// The library would read `""` and `"["`, and go on to read brackets where everyone else sees text.
#[test]
fn a_block_string_without_an_end_is_refused() {
    assert_eq!(verdict("{a(x:[\"\"\"[\"])}"), "UNCLOSED_BLOCK_STRING");
    assert_eq!(verdict("{a(x:\"\"\"b\\\"\"\")}"), "UNCLOSED_BLOCK_STRING");
    assert_eq!(verdict("{a(x:\"\"\""), "UNCLOSED_BLOCK_STRING");
    assert_eq!(verdict("{a} #\"\"\""), "passes");
}

/// `[000]`, `[-1-1]`, `[truetrue]` and `[""1""1]` are lists of several values to the library.
#[test]
fn values_written_without_space_are_counted_one_by_one() {
    for (value, times) in [
        ("0", 1_992),
        ("-1", 1_992),
        ("null", 1_992),
        ("true0", 996),
        ("\"\"1.5e3", 996),
    ] {
        let document = format!("{{a(x:[{}])}}", repeated(value, times));
        assert_eq!(verdict(&document), "QUERY_TOO_MANY_TOKENS", "{value}");
    }
    let object = |fields: usize| format!("{{a(x:{{{}}})}}", repeated("b:trueb:null ", fields));
    assert_eq!(verdict(&object(331)), "passes"); // 9 tokens around six for each
    assert_eq!(verdict(&object(332)), "QUERY_TOO_MANY_TOKENS");
}

#[test]
fn names_that_begin_like_values_or_keywords_are_names() {
    let document = "query queryAll($nullable: trueType){trueName nullable: falseName mutation fragment{on query}...onward \
                    ...on on{null}} fragment onward on T{a} fragment on on on{subscription}";
    let found = survey(document);
    assert!(found.complete);
    assert_eq!(
        found.operations,
        [Operation {
            kind: OperationKind::Query,
            name: Some("queryAll".into())
        }]
    );
    assert_eq!(found.expanded_size, 10);
}

/// Without the comment the second document is `...on Type{b}`.
#[test]
fn a_comment_makes_on_the_name_of_a_fragment() {
    assert_eq!(survey("{...on#\n\nType{b}} fragment on on T{c d e}").expanded_size, 6);
    assert_eq!(survey("{...on\n\nType{b}} fragment on on T{c d e}").expanded_size, 2);
}

#[test]
fn the_operations_of_a_document_are_named_by_kind() {
    let found = survey("query A{a} mutation B($x:[Int!]!={a:1})@d(x:[{}]){b} fragment F on T{a} subscription{c} {d}");
    let operation = |kind, name: &str| Operation {
        kind,
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
    };
    assert_eq!(
        found.operations,
        [
            operation(OperationKind::Query, "A"),
            operation(OperationKind::Mutation, "B"),
            operation(OperationKind::Subscription, ""),
            operation(OperationKind::Query, ""),
        ]
    );
    assert!(found.complete && found.has_mutation() && found.has_subscription());
    assert!(!survey("{mutation subscription}").has_mutation());
    assert!(!survey("{a(x:\"mutation{b}\")}#mutation{b}").has_mutation());
    // The library reads a keyword off the front of a longer name.
    let glued = survey("fragmentF on T{a},\u{feff}mutationX{b}");
    assert_eq!(glued.operations, [operation(OperationKind::Mutation, "X")]);
    assert!(glued.complete && glued.has_mutation());
}

#[test]
fn syntax_errors_are_left_to_the_library() {
    let odd = "| |{|}|{}|{a|a|{a}}|{a(}|{a(x:[)]}|{a:}|{a:b:c}|{...}|{..a}|query|query Q|{1}|fragment F{a}|fragment on T{a}|\
               fragment F onT{a}|extend type T{a}|{a(x:\"b)}|{a(x:\"b\n)}|{a(x:\"\\|{a(x:-)}|{a(x:1.)}|{a(x:1e)}|{a}\u{a0}|\
               {客户}|{a\0}|{a @}|{a&b}|query($x){a|{\"a\"}|mutation{a}~";
    for document in odd.split('|') {
        assert_eq!(verdict(document), "passes", "{document}");
    }
    let broken = survey("query A{a} mutation B{b}} query C{c}");
    assert!(!broken.complete);
    assert_eq!(broken.operations.len(), 2);
}

#[test]
fn a_refusal_names_limit_and_remedy_and_repeats_nothing_of_the_document() {
    let secret = "ada_lovelace_example_com";
    let many = format!("{{{}}}", repeated(&format!("{secret}:{secret}(x:\"{secret}\")"), 61));
    let refusal = check(&many, &Limits::default()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the document has 61 aliases, the limit is 60: ask for a list or split it"
    );
    let name = repeated("F", 80);
    let refusal = check(&format!("{{a}}fragment {name} on T{{...{name}}}"), &Limits::default()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        format!("fragment {} comes to spread itself: break the cycle", &name[..64])
    );
}

/// What graphql-js sends for tools, with `ofType` followed nine times.
const INTROSPECTION: &str = r#"
    query IntrospectionQuery {
      __schema {
        description
        queryType { name kind }
        mutationType { name kind }
        subscriptionType { name kind }
        types { ...FullType }
        directives {
          name
          description
          isRepeatable
          locations
          args(includeDeprecated: true) { ...InputValue }
        }
      }
    }

    fragment FullType on __Type {
      kind
      name
      description
      specifiedByURL
      isOneOf
      fields(includeDeprecated: true) {
        name
        description
        args(includeDeprecated: true) { ...InputValue }
        type { ...TypeRef }
        isDeprecated
        deprecationReason
      }
      inputFields(includeDeprecated: true) { ...InputValue }
      interfaces { ...TypeRef }
      enumValues(includeDeprecated: true) {
        name
        description
        isDeprecated
        deprecationReason
      }
      possibleTypes { ...TypeRef }
    }

    fragment InputValue on __InputValue {
      name
      description
      type { ...TypeRef }
      defaultValue
      isDeprecated
      deprecationReason
    }

    fragment TypeRef on __Type {
      kind
      name
      ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType {
        kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } }
      } } } } } } }
    }
"#;

#[test]
fn the_introspection_query_of_the_usual_tools_passes() {
    let found = survey(INTROSPECTION);
    assert!(found.complete);
    assert_eq!(found.operations[0].name.as_deref(), Some("IntrospectionQuery"));
}

#[test]
fn a_customer_with_timeline_passes() {
    let found = survey(
        r#"
        # The page a support agent keeps open.
        query Customer($id: ID!, $first: Int = 20, $after: String, $kinds: [EventKind!] = [ORDER, TICKET]) {
          customer(id: $id) {
            ...Head
            health { score reasons { label weight } }
            segments(first: 10) { edges { node { id name since } } }
            timeline(first: $first, after: $after, filter: { kinds: $kinds, note: """any "text" {here}""" }) {
              edges {
                cursor
                node {
                  __typename
                  at
                  ... on Order { number total { amount currency } lines(first: 5) { nodes { sku quantity } } }
                  ... on Ticket @include(if: true) { subject channel { name } }
                }
              }
              pageInfo { hasNextPage endCursor }
            }
          }
          me: viewer { name }
        }
        fragment Head on Customer { id displayName emails { value verified } mergedFrom { id ...Short } }
        fragment Short on Customer { displayName }
        "#,
    );
    assert!(found.complete);
    assert_eq!(found.operations[0].name.as_deref(), Some("Customer"));
    assert_eq!(found.expanded_size, 46);
}

/// Pieces that mean something to the gate, so that a random row of them often goes far.
fn pieces() -> Vec<&'static str> {
    let text = "{ } { } ( ) [ ] : $ @ ! = ... ... .. on query mutation subscription fragment A B a b __schema true null 0 \
                -1.5e3 \" \"\" \"\"\" \\\"\"\" \\ # , \u{feff} é ~";
    text.split(' ').chain([" ", "\n", "\r"]).collect()
}

/// Each alone repeated is a way to make a careless reader start over at every step.
const REPEATED: &str = "\" \"\" \"a \"\\ \\\"\"\"\"\" \"\"\"\\\"\"\"\"\" # #\" { {a ( [ a: @a( a( ... ...A ...on,A{ 0 - 1e true \
                        fragment,A,on,B{...A} \u{feff}";

#[test]
fn sixty_four_kibibytes_of_anything_are_measured_without_starting_over() {
    for piece in REPEATED.split(' ') {
        for opening in ["", "{a(x:[", "{a(x:\"", "fragment F on T{"] {
            let document = format!("{opening}{}", repeated(piece, 65_536 / piece.len()));
            let _ = check(&document, &unlimited());
        }
    }
    let chain: String = (0..2_000)
        .map(|number| format!("fragment F{number} on T{{...F{}}}", number + 1))
        .collect();
    assert_eq!(
        check(&format!("{{...F0}}{chain}"), &unlimited()).unwrap().expanded_size,
        2_001
    );
}

proptest! {
    #[test]
    fn arbitrary_text_never_breaks_the_gate(document in ".{0,400}") {
        let _ = check(&document, &Limits::default());
        let _ = check(&document, &unlimited());
    }

    #[test]
    fn arbitrary_tokens_never_break_the_gate(pieces in prop::collection::vec(prop::sample::select(pieces()), 0..400)) {
        let _ = check(&pieces.concat(), &Limits::default());
        let _ = check(&pieces.concat(), &unlimited());
    }
}
