//! Who somebody is: name, home, ids, and which channels know them. Made from the seed and a number, so that anybody can be made alone.

use super::chance::Chance;
use super::names::{CHINESE_FAMILY, CHINESE_GIVEN, Country, ENGLISH_FAMILY, ENGLISH_GIVEN, GERMAN_FAMILY, GERMAN_GIVEN};

/// Ten people live in six households.
const SIZES: [u64; 6] = [1, 1, 2, 1, 3, 2];
const PEOPLE_PER_BLOCK: u64 = 10;
const HOUSEHOLDS_PER_BLOCK: u64 = 6;

/// People under one roof.
#[derive(Clone, Debug)]
pub struct Household {
    pub number: u64,
    pub country: Country,
    pub city: &'static str,
    pub street: String,
    /// One telephone for everybody, which some give as theirs.
    pub landline: Option<String>,
    /// A tablet on the kitchen table, in whose browser everybody is logged in by turns.
    pub tablet: Option<String>,
    family: usize,
}

/// The numbers of the people of a household.
pub fn members(household: u64) -> std::ops::Range<u64> {
    let (block, place) = (household / HOUSEHOLDS_PER_BLOCK, household % HOUSEHOLDS_PER_BLOCK);
    let sizes = SIZES.iter().zip(0..).map(|(size, n)| (n, *size));
    let before: u64 = sizes.clone().filter(|(n, _)| *n < place).map(|(_, size)| size).sum();
    let size: u64 = sizes.filter(|(n, _)| *n == place).map(|(_, size)| size).sum();
    let first = block * PEOPLE_PER_BLOCK + before;
    first..first + size
}

/// In which household somebody lives, and in which place.
fn home_of(person: u64) -> (u64, u64) {
    let (block, mut place) = (person / PEOPLE_PER_BLOCK, person % PEOPLE_PER_BLOCK);
    let mut household = block * HOUSEHOLDS_PER_BLOCK;
    for size in SIZES {
        if place < size {
            break;
        }
        place -= size;
        household += 1;
    }
    (household, place)
}

impl Household {
    pub fn of(seed: u64, number: u64) -> Self {
        let mut chance = Chance::of(seed, "household", number);
        let country = match chance.below(100) {
            0..38 => Country::Britain,
            38..70 => Country::China,
            70..83 => Country::Germany,
            _ => Country::America,
        };
        let street = *chance.pick(country.streets());
        let house = chance.within(1..=180);
        let street = match country {
            Country::China => format!("{street}{house}号"),
            Country::Germany => format!("{street} {house}"),
            Country::Britain | Country::America => format!("{house} {street}"),
        };
        let people = members(number).count();
        Self {
            number,
            country,
            city: *chance.pick(country.cities()),
            street,
            landline: chance.maybe(45, |_| phone(country, 2 * number + 1)),
            tablet: if people > 1 {
                chance.maybe(35, |_| format!("browser-home-{number}"))
            } else {
                None
            },
            family: chance.index(10_000),
        }
    }
}

/// A customer of the company.
#[derive(Clone, Debug)]
pub struct Person {
    pub number: u64,
    pub country: Country,
    /// As they write it themselves.
    pub first: &'static str,
    pub last: &'static str,
    /// What friends, and the call centre, say.
    pub nickname: Option<&'static str>,
    /// First and last name in the letters of an address.
    pub latin: (String, String),
    pub birthday: String,
    pub email: String,
    pub phone: String,
    /// They give the number of the house as theirs.
    pub gives_landline: bool,
    /// So many days ago the company heard of them first.
    pub joined: i64,
    /// Of 100: how much they like what they get.
    pub content: u64,
    pub knows: Knows,
}

/// Which channels know somebody.
#[derive(Clone, Copy, Debug)]
pub struct Knows {
    pub web: bool,
    pub app: bool,
    pub card: bool,
    pub crm: bool,
    pub newsletter: bool,
    pub social: bool,
}

impl Knows {
    /// Web shop, app and CRM share the customer number.
    pub const fn account(self) -> bool {
        self.web || self.app
    }
}

impl Person {
    pub fn of(seed: u64, number: u64) -> Self {
        let (household, place) = home_of(number);
        let home = Household::of(seed, household);
        let mut chance = Chance::of(seed, "person", number);
        let name = name(&mut chance, &home, place);
        let has_account = chance.percent(78);
        let web = has_account && chance.percent(75);
        let knows = Knows {
            web,
            app: has_account && (!web || chance.percent(40)),
            card: !has_account || chance.percent(40),
            crm: has_account && chance.percent(50),
            newsletter: chance.percent(50),
            social: chance.percent(12),
        };
        // A third was there before the books were opened.
        let joined = if chance.percent(33) { 730 } else { chance.within(1..=729) };
        let email = email(&mut chance, &name.latin, number);
        Self {
            number,
            country: home.country,
            phone: phone(home.country, 2 * number),
            gives_landline: home.landline.is_some() && chance.percent(40),
            birthday: format!(
                "{}-{:02}-{:02}",
                chance.within(1945..=2006),
                chance.within(1..=12),
                chance.within(1..=28)
            ),
            content: chance.below(100),
            first: name.first,
            last: name.last,
            nickname: name.nickname,
            latin: name.latin,
            email,
            joined,
            knows,
        }
    }

    /// What web shop, app and CRM call them.
    pub fn customer_number(&self) -> String {
        format!("C-{}", 100_000 + self.number)
    }

    pub fn card(&self) -> String {
        format!("L-{}", 7_000_000 + self.number)
    }

    pub fn handle(&self) -> String {
        format!("@{}_{}", self.latin.0, self.number)
    }

    pub fn subscriber(&self) -> String {
        format!("subscriber-{}", self.number)
    }

    pub fn caller(&self) -> String {
        format!("caller-{}", self.number)
    }

    /// The whole name in one text.
    pub fn full_name(&self) -> String {
        match self.country {
            Country::China => format!("{}{}", self.last, self.first),
            _ => format!("{} {}", self.first, self.last),
        }
    }
}

struct Name {
    first: &'static str,
    last: &'static str,
    nickname: Option<&'static str>,
    latin: (String, String),
}

fn name(chance: &mut Chance, home: &Household, place: u64) -> Name {
    let ascii = |text: &str| text.replace('\'', "").to_lowercase();
    match home.country {
        Country::China => {
            // Who marries keeps the name; children have the father's.
            let family = if place == 1 { chance.index(10_000) } else { home.family };
            let (last, last_latin) = CHINESE_FAMILY[family % CHINESE_FAMILY.len()];
            let (first, first_latin) = *chance.pick(&CHINESE_GIVEN);
            Name {
                first,
                last,
                nickname: None,
                latin: (first_latin.to_owned(), last_latin.to_owned()),
            }
        }
        Country::Germany => {
            let (last, last_latin) = GERMAN_FAMILY[home.family % GERMAN_FAMILY.len()];
            let (first, first_latin) = *chance.pick(&GERMAN_GIVEN);
            Name {
                first,
                last,
                nickname: None,
                latin: (first_latin.to_owned(), last_latin.to_owned()),
            }
        }
        Country::Britain | Country::America => {
            let last = ENGLISH_FAMILY[home.family % ENGLISH_FAMILY.len()];
            let (first, nickname) = *chance.pick(&ENGLISH_GIVEN);
            Name {
                first,
                last,
                nickname,
                latin: (ascii(first), ascii(last)),
            }
        }
    }
}

/// Nobody's address: the number makes it one of a kind, and `.example` belongs to nobody.
fn email(chance: &mut Chance, (first, last): &(String, String), number: u64) -> String {
    let host = *chance.pick(&["mail.example", "post.example", "web.example", "youxiang.example"]);
    let initial = first.get(..1).unwrap_or_default();
    match chance.below(4) {
        0 => format!("{first}.{last}{number}@{host}"),
        1 => format!("{initial}{last}{number}@{host}"),
        2 => format!("{first}_{number}@{host}"),
        _ => format!("{last}.{first}.{number}@{host}"),
    }
}

/// A telephone number that rings nowhere: in none of these countries a local number begins with a zero.
pub fn phone(country: Country, number: u64) -> String {
    let (high, low) = (number / 10_000 % 1_000, number % 10_000);
    match country {
        Country::Britain => format!("+44 20 0{high:03} {low:04}"),
        Country::China => format!("+86 10 0{high:03} {low:04}"),
        Country::Germany => format!("+49 30 0{high:03} {low:04}"),
        Country::America => format!("+1 {} 0{:02} {low:04}", 212 + high / 100, high % 100),
    }
}

/// The same number as people type it.
pub fn as_typed(chance: &mut Chance, phone: &str) -> String {
    match chance.below(4) {
        0 => phone.replace(' ', ""),
        1 => phone.replace(' ', "-"),
        2 => phone.replacen('+', "00", 1),
        _ => phone.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn everybody_lives_in_one_household() {
        let lived_in: Vec<u64> = (0..12).flat_map(members).collect();
        assert_eq!(lived_in, (0..20).collect::<Vec<_>>());
        for person in 0..40 {
            let (household, place) = home_of(person);
            assert_eq!(members(household).start + place, person);
        }
    }

    #[test]
    fn ids_addresses_and_numbers_are_one_of_a_kind() {
        let mut seen = HashSet::new();
        for number in 0..3_000 {
            let person = Person::of(5, number);
            for value in [
                person.email.clone(),
                person.phone.clone(),
                person.customer_number(),
                person.card(),
            ] {
                assert!(seen.insert(value.clone()), "{value} twice");
            }
        }
        for household in 0..1_800 {
            if let Some(landline) = Household::of(5, household).landline {
                assert!(seen.insert(landline.clone()), "{landline} twice");
            }
        }
    }
}
