//! What columns mean by their names, in the spellings that exports of shops and address books use, in English, German and Chinese. Pure.
//!
//! Only what is certain by its name: whether somebody allows something is never guessed, and a bare number that may be anybody's is an
//! external id of the file's own source.

use super::FileFault;
use super::mapping::{
    ColumnType, EventColumns, FileKind, IdentifierColumn, Mapping, PurchaseColumns, RateColumns, SpendColumns, ValueColumn, When,
    identifier_kind, nulls,
};

/// What a column may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    CustomerId,
    Key,
    Identifier(&'static str),
    Trait(&'static str, ColumnType),
    UpdatedAt,
    CreatedAt,
    Date,
    OrderId,
    Amount,
    Currency,
    Sku,
    ProductName,
    Category,
    Quantity,
    Price,
    EventName,
    MessageId,
    From,
    Until,
    To,
    Rate,
    Channel,
    Campaign,
    Bought,
    /// Ours, of an export.
    Internal,
}

const NAMES: [(Role, &[&str]); 38] = [
    (Role::Key, &["key", "recordkey"]),
    (
        Role::CustomerId,
        &[
            "id",
            "customerid",
            "customernumber",
            "customerno",
            "clientid",
            "contactid",
            "kundennummer",
            "kundennr",
            "kundenid",
            "客户编号",
            "客户号",
            "客户id",
            "顾客编号",
        ],
    ),
    (
        Role::Identifier("USER_ID"),
        &["userid", "username", "benutzerid", "benutzername", "用户id", "用户编号"],
    ),
    (Role::Identifier("ANONYMOUS_ID"), &["anonymousid", "visitorid", "匿名id"]),
    (Role::Identifier("DEVICE_ID"), &["deviceid", "gerätid", "设备id", "设备号"]),
    (
        Role::Identifier("LOYALTY_ID"),
        &[
            "loyaltyid",
            "loyaltynumber",
            "memberid",
            "membershipnumber",
            "membernumber",
            "mitgliedsnummer",
            "会员号",
            "会员编号",
            "会员卡号",
        ],
    ),
    (
        Role::Identifier("EMAIL"),
        &[
            "email",
            "mail",
            "emailaddress",
            "mailaddress",
            "emailadresse",
            "mailadresse",
            "邮箱",
            "电子邮箱",
            "电子邮件",
            "邮件地址",
        ],
    ),
    (
        Role::Identifier("PHONE"),
        &[
            "phone",
            "phonenumber",
            "phoneno",
            "mobile",
            "mobilephone",
            "mobilenumber",
            "cell",
            "cellphone",
            "telephone",
            "tel",
            "telefon",
            "telefonnummer",
            "handy",
            "handynummer",
            "mobil",
            "mobilnummer",
            "手机",
            "手机号",
            "手机号码",
            "电话",
            "电话号码",
            "联系电话",
        ],
    ),
    (
        Role::Trait("first_name", ColumnType::Text),
        &["firstname", "givenname", "forename", "vorname", "名", "名字"],
    ),
    (
        Role::Trait("last_name", ColumnType::Text),
        &["lastname", "surname", "familyname", "nachname", "familienname", "姓", "姓氏"],
    ),
    (
        Role::Trait("name", ColumnType::Text),
        &[
            "name",
            "fullname",
            "customername",
            "kundenname",
            "姓名",
            "客户姓名",
            "客户名称",
        ],
    ),
    (
        Role::Trait("birthday", ColumnType::Date),
        &[
            "birthday",
            "birthdate",
            "dateofbirth",
            "dob",
            "geburtsdatum",
            "geburtstag",
            "生日",
            "出生日期",
        ],
    ),
    (
        Role::Trait("gender", ColumnType::Text),
        &["gender", "sex", "geschlecht", "性别"],
    ),
    (
        Role::Trait("title", ColumnType::Text),
        &["title", "salutation", "anrede", "称谓"],
    ),
    (
        Role::Trait("company", ColumnType::Text),
        &[
            "company",
            "companyname",
            "organisation",
            "organization",
            "firma",
            "unternehmen",
            "公司",
            "公司名称",
        ],
    ),
    (
        Role::Trait("address.street", ColumnType::Text),
        &["street", "streetaddress", "address1", "strasse", "straße", "街道", "详细地址"],
    ),
    (
        Role::Trait("address.postal_code", ColumnType::Text),
        &[
            "postalcode",
            "postcode",
            "zip",
            "zipcode",
            "plz",
            "postleitzahl",
            "邮编",
            "邮政编码",
        ],
    ),
    (
        Role::Trait("address.city", ColumnType::Text),
        &["city", "town", "stadt", "ort", "城市"],
    ),
    (
        Role::Trait("address.state", ColumnType::Text),
        &["state", "province", "region", "bundesland", "省", "省份"],
    ),
    (Role::Trait("address.country", ColumnType::Text), &["country", "land", "国家"]),
    (
        Role::UpdatedAt,
        &[
            "updatedat",
            "updated",
            "lastmodified",
            "modifiedat",
            "changedat",
            "lastupdated",
            "geändertam",
            "letzteänderung",
            "更新时间",
            "修改时间",
        ],
    ),
    (
        Role::CreatedAt,
        &[
            "createdat",
            "created",
            "registeredat",
            "signupdate",
            "registrationdate",
            "angelegtam",
            "erstelltam",
            "registriertam",
            "创建时间",
            "注册时间",
            "注册日期",
        ],
    ),
    (
        Role::Date,
        &[
            "date",
            "day",
            "at",
            "time",
            "timestamp",
            "datetime",
            "occurredat",
            "eventtime",
            "orderdate",
            "orderedat",
            "ordertime",
            "purchasedate",
            "purchasedat",
            "datum",
            "zeitpunkt",
            "tag",
            "bestelldatum",
            "bestelltam",
            "日期",
            "时间",
            "下单时间",
            "下单日期",
            "订单时间",
            "订单日期",
            "事件时间",
            "购买时间",
        ],
    ),
    (
        Role::OrderId,
        &[
            "orderid",
            "ordernumber",
            "orderno",
            "ordernr",
            "invoicenumber",
            "bestellnummer",
            "bestellnr",
            "auftragsnummer",
            "订单号",
            "订单编号",
            "订单id",
        ],
    ),
    (
        Role::Amount,
        &[
            "amount",
            "total",
            "totalamount",
            "revenue",
            "ordertotal",
            "ordervalue",
            "grandtotal",
            "subtotal",
            "spend",
            "cost",
            "costs",
            "betrag",
            "summe",
            "umsatz",
            "gesamtbetrag",
            "gesamtsumme",
            "kosten",
            "ausgaben",
            "金额",
            "订单金额",
            "总金额",
            "总价",
            "花费",
            "费用",
        ],
    ),
    (
        Role::Currency,
        &["currency", "currencycode", "währung", "waehrung", "币种", "货币"],
    ),
    (
        Role::Sku,
        &[
            "sku",
            "productid",
            "productsku",
            "lineitemsku",
            "itemid",
            "artikelnummer",
            "artikelnr",
            "商品编号",
            "商品id",
            "货号",
        ],
    ),
    (
        Role::ProductName,
        &[
            "productname",
            "product",
            "lineitemname",
            "itemname",
            "artikel",
            "artikelname",
            "produkt",
            "商品名称",
            "商品",
        ],
    ),
    (
        Role::Category,
        &["category", "productcategory", "kategorie", "类别", "分类", "商品分类"],
    ),
    (
        Role::Quantity,
        &["quantity", "qty", "lineitemquantity", "menge", "anzahl", "stückzahl", "数量"],
    ),
    (
        Role::Price,
        &[
            "price",
            "unitprice",
            "lineitemprice",
            "preis",
            "einzelpreis",
            "stückpreis",
            "单价",
            "价格",
        ],
    ),
    (
        Role::EventName,
        &[
            "event",
            "eventname",
            "eventtype",
            "action",
            "ereignis",
            "aktion",
            "事件",
            "事件名称",
        ],
    ),
    (Role::MessageId, &["messageid", "eventid"]),
    (
        Role::From,
        &[
            "from",
            "fromcurrency",
            "base",
            "basecurrency",
            "von",
            "vonwährung",
            "源货币",
            "开始日期",
        ],
    ),
    (
        Role::To,
        &["to", "tocurrency", "quote", "quotecurrency", "nach", "inwährung", "目标货币"],
    ),
    (Role::Until, &["until", "enddate", "dateto", "periodend", "bis", "结束日期"]),
    (Role::Rate, &["rate", "exchangerate", "kurs", "wechselkurs", "汇率"]),
    (
        Role::Internal,
        &["customer", "source", "firstseen", "lastseen", "recordcount", "identifiers"],
    ),
];

/// Names whose meaning depends on the rest of the file.
const OF_SPEND: [(Role, &[&str]); 3] = [
    (Role::Channel, &["channel", "kanal", "medium", "渠道"]),
    (Role::Campaign, &["campaign", "campaignname", "kampagne", "广告系列", "活动"]),
    (Role::Bought, &["bought", "purpose", "zweck", "spendtype", "用途"]),
];

fn folded(heading: &str) -> String {
    heading.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

fn role_in(names: &[(Role, &[&str])], folded: &str) -> Option<Role> {
    names.iter().find(|(_, names)| names.contains(&folded)).map(|(role, _)| *role)
}

/// The columns of a file with what each may be.
struct Headings<'h> {
    roles: Vec<(&'h str, Option<Role>)>,
}

impl<'h> Headings<'h> {
    fn of(headings: &'h [String]) -> Self {
        let role = |heading: &'h String| {
            let folded = folded(heading);
            (
                heading.as_str(),
                role_in(&OF_SPEND, &folded).or_else(|| role_in(&NAMES, &folded)),
            )
        };
        Self {
            roles: headings.iter().map(role).collect(),
        }
    }

    /// The first column of a role.
    fn column(&self, role: Role) -> Option<String> {
        let found = self.roles.iter().find(|(_, of_column)| *of_column == Some(role));
        found.map(|(heading, _)| (*heading).to_owned())
    }

    fn has(&self, role: Role) -> bool {
        self.column(role).is_some()
    }

    fn when(&self, roles: &[Role]) -> Option<When> {
        roles.iter().find_map(|role| self.column(*role)).map(When::Column)
    }

    fn kind(&self) -> FileKind {
        let names_somebody = self.has(Role::CustomerId)
            || self.has(Role::Key)
            || self.roles.iter().any(|(_, role)| matches!(role, Some(Role::Identifier(_))));
        if self.has(Role::Rate) && self.has(Role::From) && self.has(Role::To) {
            FileKind::Rates
        } else if !names_somebody && self.has(Role::Amount) && (self.has(Role::Channel) || self.has(Role::Campaign)) {
            FileKind::Spend
        } else if self.has(Role::OrderId) {
            FileKind::Orders
        } else if self.has(Role::EventName) {
            FileKind::Events
        } else {
            FileKind::People
        }
    }
}

/// The mapping that the names of the columns suggest, and the columns that it leaves out. `kind`: when it is known already.
pub(super) fn recognise(headings: &[String], kind: Option<FileKind>, source: &str) -> Result<(Mapping, Vec<String>), FileFault> {
    let found = Headings::of(headings);
    let mut mapping = Mapping {
        kind: kind.unwrap_or_else(|| found.kind()),
        null: nulls(),
        ..Mapping::default()
    };
    let missing = |what: &str| {
        FileFault::invalid(format!(
            "no column is recognised as {what}: write a mapping file (see --help)"
        ))
    };
    match mapping.kind {
        FileKind::Messages => return Ok((mapping, Vec::new())),
        FileKind::Rates => {
            mapping.rate = Some(RateColumns {
                date: found.when(&[Role::Date]).ok_or_else(|| missing("the date"))?,
                from: found
                    .column(Role::From)
                    .ok_or_else(|| missing("the currency to convert from"))?,
                to: found.column(Role::To).ok_or_else(|| missing("the currency to convert to"))?,
                rate: found.column(Role::Rate).ok_or_else(|| missing("the rate"))?,
            });
        }
        FileKind::Spend => {
            mapping.spend = Some(SpendColumns {
                date: Some(found.when(&[Role::Date, Role::From]).ok_or_else(|| missing("the date"))?),
                until: found.when(&[Role::Until, Role::To]),
                amount: found.column(Role::Amount).ok_or_else(|| missing("the amount"))?,
                currency: None,
                currency_column: found.column(Role::Currency),
                channel: found.column(Role::Channel),
                campaign: found.column(Role::Campaign),
                bought: found.column(Role::Bought),
            });
        }
        FileKind::People | FileKind::Events | FileKind::Orders => people(&found, &mut mapping, source)?,
    }
    let used = mapping.columns();
    let left_out = headings.iter().filter(|heading| !used.contains(&heading.as_str()));
    let left_out = left_out.cloned().collect();
    Ok((mapping, left_out))
}

fn people(found: &Headings<'_>, mapping: &mut Mapping, source: &str) -> Result<(), FileFault> {
    mapping.key = found.column(Role::Key).or_else(|| found.column(Role::CustomerId));
    mapping.message_id = found.column(Role::MessageId);
    if let Some(column) = found.column(Role::CustomerId) {
        mapping.identifier.push(IdentifierColumn {
            column,
            kind: "EXTERNAL_ID".to_owned(),
            namespace: Some(source.to_owned()),
            several: false,
        });
    }
    for (column, role) in &found.roles {
        if let Some(Role::Identifier(kind)) = role {
            mapping.identifier.push(IdentifierColumn {
                column: (*column).to_owned(),
                kind: (*kind).to_owned(),
                namespace: None,
                several: false,
            });
        }
        mapping.identifier.extend(exported_identifier(column));
    }
    if mapping.key.is_none() && mapping.identifier.is_empty() {
        let message = "no column is recognised by which a person is known (an id, an e-mail address, a phone number): write a mapping file (see --help)";
        return Err(FileFault::invalid(message));
    }
    match mapping.kind {
        FileKind::Orders => {
            let order_id = found.column(Role::OrderId);
            let order_id = order_id.ok_or_else(|| {
                FileFault::invalid("no column is recognised as the order's number: write a mapping file (see --help)")
            })?;
            mapping.purchase = Some(PurchaseColumns {
                order_id,
                at: found.when(&[Role::Date, Role::CreatedAt]),
                amount: found.column(Role::Amount),
                currency_column: found.column(Role::Currency),
                sku: found.column(Role::Sku),
                product_name: found.column(Role::ProductName),
                category: found.column(Role::Category),
                quantity: found.column(Role::Quantity),
                price: found.column(Role::Price),
                ..PurchaseColumns::default()
            });
        }
        FileKind::Events => {
            let name_column = found.column(Role::EventName);
            if name_column.is_none() {
                return Err(FileFault::invalid(
                    "no column is recognised as the event's name: write a mapping file (see --help)",
                ));
            }
            mapping.event = Some(EventColumns {
                name_column,
                at: found.when(&[Role::Date, Role::CreatedAt]),
                ..EventColumns::default()
            });
            let used: Vec<String> = mapping.columns().into_iter().map(str::to_owned).collect();
            let is_property = |(heading, role): &&(&str, Option<Role>)| {
                *role != Some(Role::Internal) && !used.iter().any(|used| used == heading)
            };
            let property = found
                .roles
                .iter()
                .filter(is_property)
                .map(|(heading, _)| value_column(heading, None, ColumnType::Auto));
            if let Some(event) = &mut mapping.event {
                event.property = property.collect();
            }
        }
        _ => {
            mapping.at = found.when(&[Role::UpdatedAt]);
            traits(found, mapping);
        }
    }
    Ok(())
}

/// A column of an export: `identifier.EMAIL`, or with a namespace `identifier.EXTERNAL_ID:erp`.
fn exported_identifier(heading: &str) -> Option<IdentifierColumn> {
    let name = heading.strip_prefix("identifier.")?;
    let (kind, namespace) = match name.split_once(':') {
        Some((kind, namespace)) => (kind, Some(namespace.to_owned())),
        None => (name, None),
    };
    identifier_kind(kind)?;
    Some(IdentifierColumn {
        column: heading.to_owned(),
        kind: kind.to_owned(),
        namespace,
        several: true,
    })
}

fn traits(found: &Headings<'_>, mapping: &mut Mapping) {
    for (heading, role) in &found.roles {
        if exported_identifier(heading).is_some() {
            continue;
        }
        let named = heading.strip_prefix("trait.").filter(|name| !name.is_empty());
        let column = match (named, role) {
            (Some(name), _) => value_column(heading, Some(name), ColumnType::Auto),
            (None, Some(Role::Identifier("EMAIL"))) => value_column(heading, Some("email"), ColumnType::Text),
            (None, Some(Role::Identifier("PHONE"))) => value_column(heading, Some("phone"), ColumnType::Text),
            (
                None,
                Some(Role::Identifier(_) | Role::Key | Role::CustomerId | Role::UpdatedAt | Role::MessageId | Role::Internal),
            ) => continue,
            (None, Some(Role::Trait(name, value_type))) => value_column(heading, Some(name), *value_type),
            (None, Some(Role::CreatedAt)) => value_column(heading, Some("created_at"), ColumnType::DateTime),
            (None, _) => value_column(heading, None, ColumnType::Auto),
        };
        let name = column.name.as_deref().unwrap_or(heading);
        let is_taken = mapping
            .traits
            .iter()
            .any(|known| known.name.as_deref().unwrap_or(&known.column) == name);
        if !heading.is_empty() && !is_taken {
            mapping.traits.push(column);
        }
    }
}

fn value_column(heading: &str, name: Option<&str>, value_type: ColumnType) -> ValueColumn {
    ValueColumn {
        column: heading.to_owned(),
        name: name.filter(|name| *name != heading).map(str::to_owned),
        value_type,
        format: None,
    }
}

impl Mapping {
    /// Every column that it speaks of.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<Option<&str>> = vec![
            self.key.as_deref(),
            self.message_id.as_deref(),
            self.at.as_ref().map(When::column),
        ];
        columns.extend(self.identifier.iter().map(|column| Some(column.column.as_str())));
        columns.extend(self.traits.iter().map(|column| Some(column.column.as_str())));
        columns.extend(self.consent.iter().map(|column| Some(column.column.as_str())));
        if let Some(event) = &self.event {
            columns.extend([event.name_column.as_deref(), event.at.as_ref().map(When::column)]);
            columns.extend(event.property.iter().map(|column| Some(column.column.as_str())));
        }
        if let Some(purchase) = &self.purchase {
            columns.extend([Some(purchase.order_id.as_str()), purchase.at.as_ref().map(When::column)]);
            let texts = [
                &purchase.kind_column,
                &purchase.amount,
                &purchase.currency_column,
                &purchase.sku,
                &purchase.product_name,
                &purchase.category,
                &purchase.quantity,
                &purchase.price,
            ];
            columns.extend(texts.map(Option::as_deref));
        }
        if let Some(rate) = &self.rate {
            columns.extend([rate.date.column(), &rate.from, &rate.to, &rate.rate].map(Some));
        }
        if let Some(spend) = &self.spend {
            columns.extend([
                spend.date.as_ref().map(When::column),
                spend.until.as_ref().map(When::column),
                Some(&spend.amount),
            ]);
            columns.extend([&spend.currency_column, &spend.channel, &spend.campaign, &spend.bought].map(Option::as_deref));
        }
        columns.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
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
}
