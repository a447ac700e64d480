//! Which columns are known by their names.

use super::super::mapping::When;
use super::*;

fn headings(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn recognised(text: &str) -> (Mapping, Vec<String>) {
    recognise(&headings(text), None, "crm").unwrap()
}

#[test]
fn people_are_recognised_in_three_languages() {
    for text in [
        "Customer ID,E-mail address,Mobile phone,First Name,Surname,Date of birth,City,Favourite colour",
        "Kundennummer,E-Mail,Telefon,Vorname,Nachname,Geburtsdatum,Ort,Favourite colour",
        "客户编号,电子邮箱,手机号,名,姓,出生日期,城市,Favourite colour",
    ] {
        let (mapping, left_out) = recognised(text);
        let kinds: Vec<&str> = mapping.identifier.iter().map(|identifier| identifier.kind.as_str()).collect();
        let names: Vec<&str> = mapping
            .traits
            .iter()
            .map(|column| column.name.as_deref().unwrap_or(&column.column))
            .collect();
        assert_eq!(
            (mapping.kind, kinds),
            (FileKind::People, vec!["EXTERNAL_ID", "EMAIL", "PHONE"]),
            "{text}"
        );
        assert_eq!(
            names,
            [
                "email",
                "phone",
                "first_name",
                "last_name",
                "birthday",
                "address.city",
                "Favourite colour"
            ]
        );
        assert_eq!(mapping.key.as_deref(), text.split(',').next());
        assert!(left_out.is_empty(), "{left_out:?}");
    }
}

#[test]
fn orders_events_rates_and_spend_are_recognised() {
    let (orders, left_out) = recognised("Order number,E-Mail,Order date,Total,Currency,SKU,Qty,Unit price,Weather");
    let purchase = orders.purchase.unwrap();
    assert_eq!(
        (orders.kind, purchase.order_id.as_str(), purchase.sku.as_deref()),
        (FileKind::Orders, "Order number", Some("SKU"))
    );
    assert_eq!(
        (purchase.at, left_out),
        (Some(When::Column("Order date".to_owned())), headings("Weather"))
    );
    let (events, _) = recognised("user_id,event,timestamp,page,price");
    let event = events.event.unwrap();
    let properties: Vec<&str> = event.property.iter().map(|column| column.column.as_str()).collect();
    assert_eq!((events.kind, properties), (FileKind::Events, vec!["page", "price"]));
    assert_eq!(recognised("日期,源货币,目标货币,汇率").0.rate.unwrap().rate, "汇率");
    let spend = recognised("Datum,Kanal,Kampagne,Kosten,Währung").0.spend.unwrap();
    assert_eq!(
        (spend.amount.as_str(), spend.campaign.as_deref()),
        ("Kosten", Some("Kampagne"))
    );
}

#[test]
fn nothing_is_made_of_a_file_that_names_nobody() {
    let fault = recognise(&headings("colour,size"), None, "crm").unwrap_err();
    assert!(fault.to_string().contains("mapping file"));
    assert!(recognise(&headings("email,amount"), Some(FileKind::Orders), "crm").is_err());
}

#[test]
fn consent_is_never_guessed() {
    let (mapping, _) = recognised("email,newsletter,marketing consent");
    assert!(mapping.consent.is_empty());
}
