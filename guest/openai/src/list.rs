//! Lists: the query that asks for a page, and the object that answers it.

use crate::error::ApiError;
use crate::id::ItemId;
use crate::item::{RawItem, StoredId};
use crate::json;

/// The most items of one page.
pub const LIMIT_MAX: usize = 100;
/// The items of a page when the query does not say.
pub const LIMIT_DEFAULT: usize = 20;

/// The order of a list by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery<Cursor = ItemId> {
    /// At most so many items: 1 to 100.
    pub limit: usize,
    /// In this order.
    pub order: Order,
    /// Beginning after this item.
    pub after: Option<Cursor>,
}

impl PageQuery {
    /// Reads `limit`, `order` and `after`, an item's id, from a query string; other fields are skipped.
    ///
    /// # Errors
    /// 400 naming the field that is wrong.
    pub fn read(query: &str) -> Result<Self, ApiError> {
        Self::read_by(query, |value| ItemId::parse(value).ok_or_else(unknown_cursor))
    }
}

impl<Cursor> PageQuery<Cursor> {
    /// As [`PageQuery::read`], of a list whose cursors are read by `cursor`.
    ///
    /// # Errors
    /// 400 naming the field that is wrong; what `cursor` says.
    pub fn read_by(query: &str, cursor: impl Fn(&str) -> Result<Cursor, ApiError>) -> Result<Self, ApiError> {
        let mut page = Self { limit: LIMIT_DEFAULT, order: Order::Descending, after: None };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "limit" => {
                    page.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                        .ok_or_else(|| wrong("limit", &format!("an integer from 1 to {LIMIT_MAX}")))?;
                }
                "order" => {
                    page.order = match value {
                        "asc" => Order::Ascending,
                        "desc" => Order::Descending,
                        _ => return Err(wrong("order", "'asc' or 'desc'")),
                    }
                }
                "after" if !value.is_empty() => page.after = Some(cursor(value)?),
                _ => {}
            }
        }
        Ok(page)
    }
}

fn wrong(param: &str, expected: &str) -> ApiError {
    ApiError::invalid_param(
        param,
        "invalid_value",
        format!("Invalid value for '{param}': it must be {expected}."),
    )
}

/// 400: the `after` cursor is not an item of this list.
pub fn unknown_cursor() -> ApiError {
    wrong("after", "the id of an item of this list")
}

/// A page of items as a list object, with `first_id` and `last_id`.
pub fn to_json(items: &[RawItem], has_more: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + items.iter().map(|item| item.get().len() + 1).sum::<usize>());
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
    json::push(&mut out, items);
    out.extend_from_slice(b",\"first_id\":");
    json::push(&mut out, &items.first().and_then(id));
    out.extend_from_slice(b",\"last_id\":");
    json::push(&mut out, &items.last().and_then(id));
    out.extend_from_slice(b",\"has_more\":");
    json::push(&mut out, &has_more);
    out.push(b'}');
    out
}

/// The id of a stored item.
pub fn id(item: &RawItem) -> Option<&str> {
    serde_json::from_str::<StoredId<'_>>(item.get()).ok().map(|stored| stored.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<(usize, Order), &str>) {
        let read = PageQuery::read(query);
        let read = read.as_ref().map(|page| (page.limit, page.order));
        assert_eq!(read.map_err(|error| error.param.as_deref().unwrap_or_default()), expected, "{query}");
    }

    #[test]
    fn page_queries_are_held_to_their_bounds() {
        check("", Ok((20, Order::Descending)));
        check("limit=100&order=asc&include[]=x", Ok((100, Order::Ascending)));
        check("limit=0", Err("limit"));
        check("limit=101", Err("limit"));
        check("limit=-1", Err("limit"));
        check("limit=", Err("limit"));
        check("order=up", Err("order"));
        check("after=%00", Err("after"));
        check("after=", Ok((20, Order::Descending)));
    }
}
