//! The people put there on purpose: a dozen merges and splits that the rules make and a person should question.
//!
//! Each is told as it happens to shops. The rules are not wrong: what the channels said leaves no better answer, so somebody who knows
//! more has to give it.

use super::catalogue::{PRODUCTS, decimal, line};
use super::names::Country;
use super::person::phone;
use super::tell::{DAY, Told, over, system_of, till, told};
use entity::Channel;
use serde_json::{Value, json};

/// So many people are needed.
pub const PEOPLE: u64 = 22;
/// Numbers of telephones that nobody else has: beyond those of any company.
const PHONES: u64 = 9_990_000;

/// A record: its system, and the key by which that calls it.
pub type RecordKey = (Channel, String);

/// What would put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The two records are different people.
    Separate,
    /// The two records are one person.
    Link,
    /// This value recognises nobody: kind and value.
    Block(&'static str, &'static str),
}

/// A merge or a split to question.
#[derive(Clone, Debug)]
pub struct Question {
    pub title: &'static str,
    pub what: &'static str,
    /// The two records in question.
    pub a: RecordKey,
    pub b: RecordKey,
    /// Whether the default rules make them one customer.
    pub together: bool,
    /// Identifiers that find the two: kind and value.
    pub looks: [(&'static str, String); 2],
    pub remedy: Remedy,
}

/// Where the cast plays.
struct Stage {
    now: i64,
    /// The number of the first of them.
    first: u64,
    told: Vec<Told>,
}

impl Stage {
    fn say(&mut self, who: u64, days_ago: i64, channel: Channel, message: Value) {
        let id = format!("{}-cast-{}", system_of(channel).key, self.told.len());
        // A minute apart, so that the order on the stage is the order in time.
        let at = self.now - days_ago * DAY - 7_200 + 60 * i64::try_from(self.told.len() % 60).unwrap_or_default();
        self.told.push(told(channel, at, self.first + who, id, message));
    }

    fn account(&mut self, who: u64, days_ago: i64, user: &str, (first, last): (&str, &str), more: Value) -> RecordKey {
        let traits = over(json!({"firstName": first, "lastName": last}), more);
        let message = json!({"type": "identify", "userId": user, "anonymousId": format!("browser-{user}"), "traits": traits});
        self.say(who, days_ago, Channel::Web, message);
        self.buy(who, days_ago - 1, Channel::Web, json!({"userId": user}), user);
        (Channel::Web, format!("u:{user}"))
    }

    fn card(&mut self, who: u64, days_ago: i64, card: &str, (first, last): (&str, &str), more: Value) -> RecordKey {
        let traits = over(json!({"firstName": first, "name": format!("{first} {last}")}), more);
        self.say(
            who,
            days_ago,
            Channel::Pos,
            over(json!({"type": "identify", "traits": traits}), till(card)),
        );
        self.buy(who, days_ago, Channel::Pos, till(card), card);
        (Channel::Pos, format!("a:card-{card}"))
    }

    fn call(&mut self, who: u64, days_ago: i64, caller: &str, traits: Value) -> RecordKey {
        let call = json!({"type": "track", "event": "Call Received", "anonymousId": caller,
            "properties": {"topic": "where is my order", "minutes": 6}, "context": {"traits": traits}});
        self.say(who, days_ago, Channel::CallCentre, call);
        (Channel::CallCentre, format!("a:{caller}"))
    }

    fn buy(&mut self, who: u64, days_ago: i64, channel: Channel, ids: Value, mark: &str) {
        let product = &PRODUCTS[self.told.len() % PRODUCTS.len()];
        let order = json!({"order_id": format!("{mark}-1"), "revenue": decimal(product.price), "currency": "EUR",
            "products": [line(Country::Britain, product, 1)]});
        let message = json!({"type": "track", "event": "Order Completed", "properties": order});
        self.say(who, days_ago, channel, over(message, ids));
    }
}

fn number(n: u64) -> String {
    phone(Country::Britain, PHONES + n)
}

/// What they say, and what to ask about it. `first`: the number of the first of them.
pub fn play(now: i64, first: u64) -> (Vec<Told>, Vec<Question>) {
    let mut stage = Stage {
        now,
        first,
        told: Vec::new(),
    };
    let mut questions = wrongly_one(&mut stage);
    questions.extend(wrongly_two(&mut stage));
    questions.extend(wrongly_everybody(&mut stage));
    let mut told = stage.told;
    told.sort_by_key(|told| told.at);
    (told, questions)
}

/// Different people who became one customer.
fn wrongly_one(stage: &mut Stage) -> Vec<Question> {
    let family = number(1);
    let rosa = stage.account(
        0,
        500,
        "C-000101",
        ("Rosa", "Marsh"),
        json!({"email": "rosa.marsh@mail.example", "phone": family}),
    );
    stage.account(
        1,
        400,
        "C-000102",
        ("Ivy", "Marsh"),
        json!({"email": "ivy.marsh@mail.example", "phone": family}),
    );
    let call = stage.call(1, 90, "caller-marsh", json!({"phone": family}));
    let whose_call = Question {
        title: "A call from the family's telephone",
        what: "Rosa and her daughter Ivy gave one number, and the rule that first names must agree kept them apart. A call without a \
               name went to Rosa, who had the number first. It was Ivy who called.",
        a: call,
        b: rosa,
        together: true,
        looks: [
            ("EMAIL", "rosa.marsh@mail.example".to_owned()),
            ("EMAIL", "ivy.marsh@mail.example".to_owned()),
        ],
        remedy: Remedy::Separate,
    };

    let grace = stage.account(
        2,
        450,
        "C-000103",
        ("Grace", "Foster"),
        json!({"email": "the.fosters@mail.example"}),
    );
    let leo = stage.card(
        3,
        200,
        "L-000104",
        ("Leo", "Foster"),
        json!({"email": "the.fosters@mail.example"}),
    );
    let couple = Question {
        title: "A couple with one mailbox",
        what: "Leo gave the address that his wife Grace shops with when he took a loyalty card. One customer has two first names now.",
        a: leo,
        b: grace,
        together: true,
        looks: [("LOYALTY_ID", "L-000104".to_owned()), ("USER_ID", "C-000103".to_owned())],
        remedy: Remedy::Separate,
    };

    let landline = number(3);
    let father = stage.account(
        4,
        600,
        "C-000105",
        ("Arthur", "Price"),
        json!({"email": "arthur.price@post.example", "phone": landline, "birthday": "1951-03-02"}),
    );
    let son = stage.card(
        5,
        150,
        "L-000106",
        ("Arthur", "Price"),
        json!({"phone": landline, "birthday": "1984-11-19"}),
    );
    let same_name = Question {
        title: "Father and son of one name",
        what: "Arthur Price and Arthur Price share a telephone, so even first names agree. Their birthdays lie 33 years apart.",
        a: son,
        b: father,
        together: true,
        looks: [("LOYALTY_ID", "L-000106".to_owned()), ("USER_ID", "C-000105".to_owned())],
        remedy: Remedy::Separate,
    };

    let anna = stage.account(
        6,
        380,
        "C-000107",
        ("Anna", "Weber"),
        json!({"email": "anna.weber@post.example"}),
    );
    let anne = stage.card(
        7,
        120,
        "L-000108",
        ("Anne", "Weber"),
        json!({"email": "anna.weber@post.example"}),
    );
    stage.say(
        7,
        119,
        Channel::Email,
        json!({"type": "identify", "anonymousId": "subscriber-anne", "traits": {"email": "anne.weber@post.example"}}),
    );
    let typing = Question {
        title: "A typing error that is somebody's address",
        what: "A clerk typed anna.weber where Anne Weber had said anne.weber: her card, and what she buys with it, went to Anna.",
        a: anne,
        b: anna,
        together: true,
        looks: [
            ("LOYALTY_ID", "L-000108".to_owned()),
            ("EMAIL", "anne.weber@post.example".to_owned()),
        ],
        remedy: Remedy::Separate,
    };

    let tablet = "tablet-shop-window";
    let sign_in =
        |user: &str| json!({"type": "track", "event": "Signed In", "userId": user, "anonymousId": tablet, "properties": {}});
    let tom = stage.account(
        8,
        300,
        "C-000109",
        ("Thomas", "Hall"),
        json!({"email": "thomas.hall@web.example"}),
    );
    stage.account(
        9,
        290,
        "C-000110",
        ("Ruth", "Evans"),
        json!({"email": "ruth.evans@web.example"}),
    );
    stage.say(8, 60, Channel::Web, sign_in("C-000109"));
    for name in ["Teas", "Pots", "Gift boxes"] {
        stage.say(
            9,
            60,
            Channel::Web,
            json!({"type": "page", "name": name, "anonymousId": tablet, "properties": {}}),
        );
    }
    stage.say(9, 60, Channel::Web, sign_in("C-000110"));
    let whose_tablet = Question {
        title: "The tablet in the shop window",
        what: "Thomas did not sign out. What Ruth looked at before she signed in herself is in his timeline.",
        a: (Channel::Web, format!("a:{tablet}")),
        b: tom,
        together: true,
        looks: [("USER_ID", "C-000109".to_owned()), ("USER_ID", "C-000110".to_owned())],
        remedy: Remedy::Separate,
    };

    let mia = stage.account(
        20,
        350,
        "C-000121",
        ("Mia", "Green"),
        json!({"email": "mia.green@mail.example"}),
    );
    let guest = json!({"anonymousId": "browser-of-isla", "context": {"traits": {"email": "mia.green@mail.example"}}});
    stage.buy(21, 45, Channel::Web, guest, "gift");
    stage.account(
        21,
        20,
        "C-000122",
        ("Isla", "Clarke"),
        json!({"email": "isla.clarke@mail.example"}),
    );
    let gift = Question {
        title: "A present, ordered under the address of whoever gets it",
        what: "Isla ordered as a guest and typed Mia's address, so that Mia would get the news of the parcel. Mia got the order, too.",
        a: (Channel::Web, "a:browser-of-isla".to_owned()),
        b: mia,
        together: true,
        looks: [
            ("ANONYMOUS_ID", "browser-of-isla".to_owned()),
            ("EMAIL", "isla.clarke@mail.example".to_owned()),
        ],
        remedy: Remedy::Separate,
    };
    vec![whose_call, couple, same_name, typing, whose_tablet, gift]
}

/// One person who stayed two customers.
fn wrongly_two(stage: &mut Stage) -> Vec<Question> {
    let first = stage.account(
        10,
        700,
        "C-000111",
        ("Freya", "Hall"),
        json!({"email": "freya.hall@mail.example"}),
    );
    let second = stage.account(
        10,
        80,
        "C-000112",
        ("Freya", "Hall"),
        json!({"email": "freya.hall@mail.example"}),
    );
    let two_accounts = Question {
        title: "One person with two accounts",
        what: "Freya forgot her account and made another with the same address. A customer has one customer number, so they stay two, \
               and the address stays with the first.",
        a: first,
        b: second,
        together: false,
        looks: [("USER_ID", "C-000111".to_owned()), ("USER_ID", "C-000112".to_owned())],
        remedy: Remedy::Link,
    };

    let samuel = stage.account(
        11,
        330,
        "C-000113",
        ("Samuel", "Rose"),
        json!({"email": "samuel.rose@mail.example"}),
    );
    let mistyped = stage.card(
        11,
        100,
        "L-000114",
        ("Samuel", "Rose"),
        json!({"email": "samuel.rose@mial.example"}),
    );
    let typing = Question {
        title: "A typing error that is nobody's address",
        what: "mial.example for mail.example: his card knows nothing of his account.",
        a: samuel,
        b: mistyped,
        together: false,
        looks: [("USER_ID", "C-000113".to_owned()), ("LOYALTY_ID", "L-000114".to_owned())],
        remedy: Remedy::Link,
    };

    let mobile = phone(Country::China, PHONES + 8);
    let jing = stage.account(
        12,
        260,
        "C-000115",
        ("静", "陈"),
        json!({"email": "chen.jing@youxiang.example", "phone": mobile}),
    );
    let pinyin = stage.card(12, 70, "L-000116", ("Jing", "Chen"), json!({"phone": mobile}));
    let two_scripts = Question {
        title: "One name in two scripts",
        what: "陈静 signed up on the web; abroad a till wrote Jing Chen, with the same number. To the rules 静 and Jing are two first names.",
        a: jing,
        b: pinyin,
        together: false,
        looks: [("USER_ID", "C-000115".to_owned()), ("LOYALTY_ID", "L-000116".to_owned())],
        remedy: Remedy::Link,
    };

    let elizabeth = number(9);
    let formal = stage.account(
        13,
        240,
        "C-000117",
        ("Elizabeth", "Cox"),
        json!({"email": "elizabeth.cox@mail.example", "phone": elizabeth}),
    );
    let liz = stage.call(13, 30, "caller-liz", json!({"phone": elizabeth, "firstName": "Liz"}));
    let nickname = Question {
        title: "Liz is Elizabeth",
        what: "She said Liz on the telephone. First names that differ keep a shared number from joining people, here one too many.",
        a: formal,
        b: liz,
        together: false,
        looks: [("USER_ID", "C-000117".to_owned()), ("ANONYMOUS_ID", "caller-liz".to_owned())],
        remedy: Remedy::Link,
    };
    vec![two_accounts, typing, two_scripts, nickname]
}

/// Values that are everybody's.
fn wrongly_everybody(stage: &mut Stage) -> Vec<Question> {
    let mut callers = |days: i64, first: u64, email: &str, names: [&str; 3]| {
        let mut who = first;
        names.map(|name| {
            who += 1;
            let caller = format!("caller-{}", name.to_lowercase());
            stage.call(who - 1, days, &caller, json!({"email": email, "firstName": name}))
        })
    };
    let office = callers(160, 14, "office@teahouse.example", ["Oscar", "Florence", "Henry"]);
    let nothing = callers(50, 17, "keine@angabe.example", ["Uwe", "Sabine", "Lukas"]);
    let [oscar, _, henry] = office;
    let [uwe, _, lukas] = nothing;
    vec![
        Question {
            title: "The mailbox of a company",
            what: "Three colleagues called and gave the address of their office: one customer with three first names.",
            a: oscar,
            b: henry,
            together: true,
            looks: [
                ("EMAIL", "office@teahouse.example".to_owned()),
                ("ANONYMOUS_ID", "caller-henry".to_owned()),
            ],
            remedy: Remedy::Block("EMAIL", "office@teahouse.example"),
        },
        Question {
            title: "A placeholder that no list knows",
            what: "\"Keine Angabe\" means \"not stated\": an agent made an address of it for whoever gave none.",
            a: uwe,
            b: lukas,
            together: true,
            looks: [
                ("EMAIL", "keine@angabe.example".to_owned()),
                ("ANONYMOUS_ID", "caller-lukas".to_owned()),
            ],
            remedy: Remedy::Block("EMAIL", "keine@angabe.example"),
        },
    ]
}
