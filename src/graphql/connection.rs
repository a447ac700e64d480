//! Lists that can grow, after the Relay specification: edges with cursors, nodes, page info, and a total that is counted only when it is
//! asked for.

use super::error;
use crate::base::paging::{self, Page, Slice};
use crate::store::{Store, StoreError};
use async_graphql::{Context, Error, Object, OutputType, Result, SimpleObject, TypeName};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::sync::Arc;

/// Totals are exact up to here and null beyond: counting further costs more than anybody gains from it.
pub const COUNTED_TO: u64 = 10_000;
/// The most of one page.
const MAX_PAGE: i32 = 100;

/// Counts a list, up to one more than `COUNTED_TO`.
pub type Count = Arc<dyn Fn(Store) -> BoxFuture<'static, Result<u64, StoreError>> + Send + Sync>;

/// A page of a list of `T`, whose type is named after it.
pub struct Connection<T> {
    edges: Vec<(String, T)>,
    has_next_page: bool,
    has_previous_page: bool,
    count: Option<Count>,
}

/// An item of a list, and its place in it.
pub struct Edge<T> {
    cursor: String,
    node: T,
}

/// Where a page lies in its list.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether there is another page behind this one.
    has_next_page: bool,
    /// Whether this page began after a cursor.
    has_previous_page: bool,
    /// Cursor of the first item; null when the page is empty.
    start_cursor: Option<String>,
    /// Cursor of the last item, for `after`; null when the page is empty.
    end_cursor: Option<String>,
}

impl<T> Connection<T> {
    /// From a slice; `key` makes the cursor of a row, `node` the item.
    pub fn new<R, K: Serialize>(slice: Slice<R>, after: Option<&str>, key: impl Fn(&R) -> K, node: impl Fn(R) -> T) -> Self {
        let edges = slice
            .rows
            .into_iter()
            .map(|row| (paging::encode(&key(&row)), node(row)))
            .collect();
        Self {
            edges,
            has_next_page: slice.more,
            has_previous_page: after.is_some(),
            count: None,
        }
    }

    pub fn counted(mut self, count: Count) -> Self {
        self.count = Some(count);
        self
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", <T as OutputType>::type_name()).into()
    }
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", <T as OutputType>::type_name()).into()
    }
}

/// A page of a list.
#[Object(name_type)]
impl<T: OutputType + Clone> Connection<T> {
    /// The items with their cursors.
    async fn edges(&self) -> Vec<Edge<T>> {
        self.edges
            .iter()
            .map(|(cursor, node)| Edge {
                cursor: cursor.clone(),
                node: node.clone(),
            })
            .collect()
    }

    /// The items alone.
    async fn nodes(&self) -> Vec<T> {
        self.edges.iter().map(|(_, node)| node.clone()).collect()
    }

    /// Where this page lies.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.has_next_page,
            has_previous_page: self.has_previous_page,
            start_cursor: self.edges.first().map(|(cursor, _)| cursor.clone()),
            end_cursor: self.edges.last().map(|(cursor, _)| cursor.clone()),
        }
    }

    /// How many items the whole list has: exact up to 10,000, null beyond, and null for lists inside a list.
    async fn total_count(&self, ctx: &Context<'_>) -> Option<Result<u64>> {
        let count = self.count.as_ref()?;
        let services = match super::services(ctx) {
            Ok(services) => services,
            Err(error) => return Some(Err(error)),
        };
        match count(services.store.clone()).await {
            Ok(count) if count > COUNTED_TO => None,
            Ok(count) => Some(Ok(count)),
            Err(error) => Some(Err(error::store(&error))),
        }
    }
}

/// An item of a list and its place.
#[Object(name_type)]
impl<T: OutputType + Clone> Edge<T> {
    /// Its place, for `after`.
    async fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The item.
    async fn node(&self) -> &T {
        &self.node
    }
}

/// The page asked for by `first` and `after`.
pub fn page<K: DeserializeOwned>(first: i32, after: Option<&str>) -> Result<Page<K>, Error> {
    if !(1..=MAX_PAGE).contains(&first) {
        return Err(error::bad_input("first", format!("must lie between 1 and {MAX_PAGE}")));
    }
    let key = after.map(|cursor| paging::decode(cursor).ok_or_else(|| error::bad_input("after", "is no cursor of this list")));
    Ok(Page {
        first: u64::from(first.unsigned_abs()),
        after: key.transpose()?,
    })
}
