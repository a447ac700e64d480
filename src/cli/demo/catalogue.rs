//! What the company sells, and at which price in which currency.

use super::names::Country;
use serde_json::{Value, json};

/// A tea and tableware company that nobody has heard of.
pub const COMPANY: &str = "Blue Kettle Tea & Table";

/// Something on the shelf; `price` in euro cents.
#[derive(Debug)]
pub struct Product {
    pub sku: &'static str,
    pub name: &'static str,
    pub category: &'static str,
    pub price: i64,
}

const fn product(sku: &'static str, name: &'static str, category: &'static str, price: i64) -> Product {
    Product {
        sku,
        name,
        category,
        price,
    }
}

/// Cheap first within each category, so that who spends more reaches further.
pub const PRODUCTS: [Product; 24] = [
    product("tea-101", "English Breakfast, 100 g", "Tea", 590),
    product("tea-102", "Assam, 250 g", "Tea", 890),
    product("tea-103", "Earl Grey, 250 g", "Tea", 990),
    product("tea-104", "茉莉花茶 Jasmine pearls, 100 g", "Tea", 1_450),
    product("tea-105", "龙井 Longjing, first harvest, 50 g", "Tea", 2_900),
    product("tea-106", "普洱 Pu'er cake, 2012", "Tea", 6_400),
    product("cof-101", "House espresso, 250 g", "Coffee", 850),
    product("cof-102", "Ethiopia Sidamo, 500 g", "Coffee", 1_690),
    product("cof-103", "Panama Geisha, 200 g", "Coffee", 3_900),
    product("cup-101", "Two cups, white", "Cups", 1_800),
    product("cup-102", "Travel cup", "Cups", 2_400),
    product("cup-103", "青花 Blue-and-white cups, four", "Cups", 4_600),
    product("pot-101", "Glass pot, 1 l", "Pots", 2_700),
    product("pot-102", "Cast-iron pot", "Pots", 4_900),
    product("pot-103", "紫砂 Yixing clay pot", "Pots", 12_900),
    product("ket-101", "Stove kettle", "Kettles", 3_900),
    product("ket-102", "Electric kettle with thermometer", "Kettles", 8_900),
    product("swe-101", "Shortbread", "Sweets", 450),
    product("swe-102", "Lebkuchen", "Sweets", 690),
    product("swe-103", "月饼 Mooncakes, box of six", "Sweets", 2_600),
    product("gif-101", "Gift card", "Gifts", 2_500),
    product("gif-102", "Gift box, small", "Gifts", 3_500),
    product("gif-103", "Gift box, large", "Gifts", 7_500),
    product("gif-104", "Tea chest, twelve kinds", "Gifts", 15_900),
];

/// Monthly deliveries: plan and euro cents.
pub const PLANS: [(&str, i64); 3] = [
    ("Tea of the month", 1_490),
    ("Coffee every month", 1_990),
    ("Collector", 4_900),
];

/// The price in a country's currency, in minor units, as a price list would round it.
pub const fn price_in(country: Country, cents: i64) -> i64 {
    match country {
        Country::Britain | Country::Germany => cents,
        Country::America => cents * 11 / 10 / 10 * 10 + 9,
        // About eight yuan to the euro, in whole yuan.
        Country::China => cents * 8 / 100 * 100,
    }
}

/// Minor units as decimal text.
pub fn decimal(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// A line of an order, or a product that was looked at.
pub fn line(country: Country, product: &Product, quantity: i64) -> Value {
    json!({
        "product_id": product.sku, "name": product.name, "category": product.category,
        "price": decimal(price_in(country, product.price)), "quantity": quantity,
    })
}
