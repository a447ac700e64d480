//! Orders out of the e-commerce events: `Order Completed`, `Order Updated`, `Order Refunded`, `Order Cancelled`, and their older
//! spellings. Pure.

use super::message::{OrderLine, OrderReport, OrderReportKind, Refusal};
use crate::base::Money;
use crate::base::money::{self, Currency, MoneyError};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// What an event says about an order; `None` for any other event. `message_id` stands in for a missing order id of a completion, so
/// that a purchase is counted once and never lost.
pub fn order_report(name: &str, properties: &Map<String, Value>, message_id: &str) -> Result<Option<OrderReport>, Refusal> {
    let kind = match name {
        "Order Completed" | "Completed Order" => OrderReportKind::Completed,
        "Order Updated" | "Updated Order" => OrderReportKind::Updated,
        "Order Refunded" | "Refunded Order" => OrderReportKind::Refunded,
        "Order Cancelled" | "Order Canceled" | "Cancelled Order" => OrderReportKind::Cancelled,
        _ => return Ok(None),
    };
    let order_id = match text(properties, "order_id").or_else(|| text(properties, "orderId")) {
        Some(order_id) => order_id,
        None if kind == OrderReportKind::Completed => text(properties, "checkout_id").unwrap_or_else(|| message_id.to_owned()),
        None => {
            return Err(Refusal::new(
                "missing_order_id",
                "properties.order_id",
                format!("{name} needs the id of the order it speaks of"),
            ));
        }
    };
    let currency = match properties.get("currency") {
        None | Some(Value::Null) => None,
        Some(Value::String(code)) if code.trim().is_empty() => None,
        Some(Value::String(code)) => Some(Currency::parse(code).map_err(|error| refuse("currency", &error))?),
        Some(_) => return Err(refuse("currency", &MoneyError::NotACurrency)),
    };
    let products = products(properties)?;
    let (amount, lines) = match kind {
        OrderReportKind::Completed | OrderReportKind::Updated => {
            let amount = match goods_amount(properties)? {
                None => sum_of(&products)?,
                amount => amount,
            };
            (amount, identified(products))
        }
        OrderReportKind::Refunded => refund(properties, products)?,
        OrderReportKind::Cancelled => (None, Vec::new()),
    };
    check_fits(amount, &lines, currency.as_ref())?;
    Ok(Some(OrderReport {
        kind,
        order_id,
        amount,
        currency,
        lines,
    }))
}

/// What a refund gives back: its amount, else its products, else everything. Products without a price are left for the order to value:
/// a refund that lists products is partial, and must not be taken for all of it.
fn refund(properties: &Map<String, Value>, products: Vec<OrderLine>) -> Result<(Option<Decimal>, Vec<OrderLine>), Refusal> {
    if let Some(amount) = refunded_goods(properties)? {
        return Ok((Some(amount), Vec::new()));
    }
    if products.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (priced, unpriced): (Vec<_>, Vec<_>) = products.into_iter().partition(|product| product.price.is_some());
    Ok((Some(sum_of(&priced)?.unwrap_or_default()), identified(unpriced)))
}

/// As `goods_amount`, whatever the signs: some send what they give back as amounts below zero.
fn refunded_goods(properties: &Map<String, Value>) -> Result<Option<Decimal>, Refusal> {
    if let Some(amount) = first_amount(properties, &["revenue", "subtotal"])? {
        return Ok(Some(amount.abs()));
    }
    let Some(total) = first_amount(properties, &["total"])? else {
        return Ok(first_amount(properties, &["value"])?.map(|amount| amount.abs()));
    };
    let shipping = first_amount(properties, &["shipping"])?.unwrap_or_default().abs();
    let tax = first_amount(properties, &["tax"])?.unwrap_or_default().abs();
    let goods = total.abs().checked_sub(shipping).and_then(|rest| rest.checked_sub(tax));
    goods
        .map(|goods| Some(goods.max(Decimal::ZERO)))
        .ok_or_else(|| refuse("total", &MoneyError::TooLarge))
}

/// Whether everything fits into minor units, asked here so that only this item is refused.
fn check_fits(amount: Option<Decimal>, lines: &[OrderLine], currency: Option<&Currency>) -> Result<(), Refusal> {
    let currency = currency.cloned().unwrap_or_else(Currency::assumed);
    let fits = |amount: Decimal, name: &str| {
        Money::from_decimal(amount, currency.clone())
            .map(|_| ())
            .map_err(|error| refuse(name, &error))
    };
    amount.map_or(Ok(()), |amount| fits(amount, "revenue"))?;
    for (i, line) in lines.iter().enumerate() {
        line.price
            .map_or(Ok(()), |price| fits(price, &format!("products.{i}.price")))?;
    }
    Ok(())
}

/// `revenue` and `subtotal` exclude shipping and tax by definition; `total` includes them, so they are taken out where they are named.
fn goods_amount(properties: &Map<String, Value>) -> Result<Option<Decimal>, Refusal> {
    if let Some(amount) = first_amount(properties, &["revenue", "subtotal"])? {
        return Ok(Some(amount));
    }
    let Some(total) = first_amount(properties, &["total"])? else {
        return first_amount(properties, &["value"]);
    };
    let shipping = first_amount(properties, &["shipping"])?.unwrap_or_default();
    let tax = first_amount(properties, &["tax"])?.unwrap_or_default();
    let goods = total.checked_sub(shipping).and_then(|rest| rest.checked_sub(tax));
    goods.map(Some).ok_or_else(|| refuse("total", &MoneyError::TooLarge))
}

fn first_amount(properties: &Map<String, Value>, names: &[&str]) -> Result<Option<Decimal>, Refusal> {
    for name in names {
        if let Some(value) = properties.get(*name).filter(|value| !is_blank(value)) {
            return money::parse_amount(value).map(Some).map_err(|error| refuse(name, &error));
        }
    }
    Ok(None)
}

/// Of a product that names neither product id nor sku nothing can be said later, though it costs.
fn identified(mut products: Vec<OrderLine>) -> Vec<OrderLine> {
    products.retain(|product| !product.sku.is_empty());
    products
}

/// The products of a report; the sku of one that names none is empty.
fn products(properties: &Map<String, Value>) -> Result<Vec<OrderLine>, Refusal> {
    let products = match properties.get("products") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(products)) => products,
        Some(_) => {
            return Err(Refusal::new(
                "invalid_products",
                "properties.products",
                "must be a list of products",
            ));
        }
    };
    products.iter().enumerate().map(|(i, product)| line(i, product)).collect()
}

/// More pieces than this are one at the price of all: a quantity is a 32-bit number for those who ask.
const MAX_PIECES: u64 = i32::MAX as u64;

fn line(i: usize, product: &Value) -> Result<OrderLine, Refusal> {
    let Value::Object(product) = product else {
        return Err(Refusal::new(
            "invalid_products",
            format!("properties.products.{i}"),
            "must be an object",
        ));
    };
    let sku = text(product, "product_id")
        .or_else(|| text(product, "sku"))
        .or_else(|| text(product, "productId"));
    let price = match product.get("price").filter(|value| !is_blank(value)) {
        None => None,
        Some(value) => Some(money::parse_amount(value).map_err(|error| refuse(&format!("products.{i}.price"), &error))?),
    };
    let quantity = match product.get("quantity").filter(|value| !is_blank(value)) {
        None => Decimal::ONE,
        Some(value) => money::parse_amount(value).map_err(|_| {
            Refusal::new(
                "invalid_quantity",
                format!("properties.products.{i}.quantity"),
                "must be a number",
            )
        })?,
    };
    // Goods sold by weight: a line of one piece at the price of all of it, so that the money stays exact.
    let (quantity, price) = match i64::try_from(quantity) {
        Ok(whole) if quantity.is_integer() && whole.unsigned_abs() <= MAX_PIECES => (whole, price),
        _ => {
            let whole = price.map(|price| {
                price
                    .checked_mul(quantity)
                    .ok_or_else(|| refuse(&format!("products.{i}.price"), &MoneyError::TooLarge))
            });
            (1, whole.transpose()?)
        }
    };
    Ok(OrderLine {
        sku: sku.unwrap_or_default(),
        name: text(product, "name"),
        category: text(product, "category"),
        quantity,
        price,
    })
}

/// What the lines add up to; `None` when one of them has no price.
fn sum_of(lines: &[OrderLine]) -> Result<Option<Decimal>, Refusal> {
    let mut sum: Option<Decimal> = None;
    for line in lines {
        let Some(price) = line.price else { return Ok(None) };
        let added = price
            .checked_mul(Decimal::from(line.quantity))
            .and_then(|amount| sum.unwrap_or_default().checked_add(amount));
        sum = Some(added.ok_or_else(|| refuse("products", &MoneyError::TooLarge))?);
    }
    Ok(sum)
}

fn text(properties: &Map<String, Value>, name: &str) -> Option<String> {
    match properties.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        // Beyond 64 bits a number has lost digits, and two orders would share one id.
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

fn refuse(name: &str, error: &MoneyError) -> Refusal {
    let code = match error {
        MoneyError::NotACurrency => "invalid_currency",
        MoneyError::NotAnAmount | MoneyError::TooLarge | MoneyError::Inexact => "invalid_amount",
    };
    Refusal::new(code, format!("properties.{name}"), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(name: &str, properties: Value) -> Result<Option<OrderReport>, Refusal> {
        order_report(name, properties.as_object().expect("an object"), "m-1")
    }

    fn amount(name: &str, properties: Value) -> Option<String> {
        report(name, properties)
            .expect("accepted")
            .expect("an order")
            .amount
            .map(|amount| amount.to_string())
    }

    #[test]
    fn revenue_counts_before_subtotal_and_total_without_shipping_and_tax() {
        assert_eq!(
            amount("Order Completed", json!({"order_id":"o","revenue":45,"total":52.5})).as_deref(),
            Some("45")
        );
        assert_eq!(
            amount("Order Completed", json!({"order_id":"o","subtotal":"40.00","total":52.5})).as_deref(),
            Some("40.00")
        );
        assert_eq!(
            amount("Order Completed", json!({"order_id":"o","total":52.5,"shipping":5,"tax":2.5})).as_deref(),
            Some("45.0")
        );
        let products = json!({"order_id":"o","products":[{"sku":"a","price":10,"quantity":2},{"sku":"b","price":"2.50"}]});
        assert_eq!(amount("Completed Order", products).as_deref(), Some("22.50"));
        assert_eq!(amount("Order Completed", json!({"order_id":"o"})), None);
    }

    #[test]
    fn sums_beyond_all_measure_are_refused() {
        for properties in [
            json!({"order_id":"o","products":[{"sku":"a","price":7.9e28},{"sku":"b","price":7.9e28}]}),
            json!({"order_id":"o","products":[{"sku":"a","price":7.9e28,"quantity":9}]}),
            json!({"order_id":"o","total":7.9e28,"shipping":-7.9e28}),
        ] {
            assert_eq!(
                report("Order Completed", properties).expect_err("refused").code,
                "invalid_amount"
            );
        }
    }

    #[test]
    fn a_refund_without_an_amount_is_all_that_is_left_and_a_partial_one_adds_up_its_products() {
        assert_eq!(amount("Order Refunded", json!({"order_id":"o"})), None);
        let partial = json!({"order_id":"o","products":[{"product_id":"p","price":3,"quantity":2}]});
        assert_eq!(amount("Order Refunded", partial).as_deref(), Some("6"));
        let below_zero = json!({"order_id":"o","total":-60,"shipping":-5,"tax":10});
        assert_eq!(
            amount("Order Refunded", below_zero).as_deref(),
            Some("45"),
            "as of an order, without shipping and tax"
        );
        let more_tax = json!({"order_id":"o","total":5,"tax":10});
        assert_eq!(amount("Order Refunded", more_tax).as_deref(), Some("0"));
    }

    #[test]
    fn products_that_came_back_without_a_price_are_left_to_the_order() {
        let returned = json!({"order_id":"o","products":[{"product_id":"p","quantity":2},{"sku":"q","price":3},{"quantity":1}]});
        let report = report("Order Refunded", returned).expect("accepted").expect("a refund");
        assert_eq!(report.amount, Some(Decimal::from(3)));
        let pieces: Vec<_> = report.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        assert_eq!(pieces, [("p", 2)]);
    }

    #[test]
    fn a_product_without_an_id_costs_all_the_same() {
        let products = json!({"order_id":"o","products":[{"sku":"a","price":10},{"name":"Gift wrapping","price":2}]});
        assert_eq!(amount("Order Completed", products.clone()).as_deref(), Some("12"));
        let lines = report("Order Completed", products)
            .expect("accepted")
            .expect("an order")
            .lines;
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn an_order_without_an_id_is_kept_under_the_message_and_a_refund_without_one_is_refused() {
        let order = report("Order Completed", json!({"revenue":1}))
            .expect("accepted")
            .expect("an order");
        assert_eq!(order.order_id, "m-1");
        assert_eq!(
            report("Order Refunded", json!({"total":1})).expect_err("refused").code,
            "missing_order_id"
        );
    }

    #[test]
    fn money_that_cannot_be_read_is_refused_with_its_field() {
        let refusal = report("Order Completed", json!({"order_id":"o","revenue":"lots"})).expect_err("refused");
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            ("invalid_amount", Some("properties.revenue"))
        );
        let refusal = report("Order Completed", json!({"order_id":"o","currency":"€"})).expect_err("refused");
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            ("invalid_currency", Some("properties.currency"))
        );
        assert_eq!(report("Product Viewed", json!({"price":"lots"})), Ok(None));
    }

    #[test]
    fn goods_by_weight_become_one_piece_at_the_whole_price() {
        let properties = json!({"order_id":"o","products":[{"sku":"flour","price":2.4,"quantity":1.5}]});
        let order = report("Order Completed", properties).expect("accepted").expect("an order");
        assert_eq!(
            (
                order.lines[0].quantity,
                order.lines[0].price.map(|price| price.normalize().to_string())
            ),
            (1, Some("3.6".to_owned()))
        );
    }
}
