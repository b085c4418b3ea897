//! What the query string of a list may say, and the page of a list that answers it.

use crate::problem::wrong;
use serde::Serialize;
use waggle_conversation::Viewer;
use waggle_openai::list::{LIMIT_DEFAULT, LIMIT_MAX, Order};
use waggle_openai::{ApiError, json, percent};

/// Files are many and their objects small: as many as OpenAI gives at once.
pub(crate) const FILES_LIMIT_MAX: usize = 10_000;

/// How far a file in a vector store has come, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It waits, or somebody works on it.
    InProgress,
    /// It is found.
    Completed,
    /// It is not taken in, for a reason that is told.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

/// A page of a list, as it is asked for. Fields of no meaning to a list are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageQuery {
    pub(crate) limit: usize,
    pub(crate) order: Order,
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    /// Only those of this status.
    pub(crate) filter: Option<Status>,
    /// Only those of this purpose.
    pub(crate) purpose: Option<String>,
    /// Those of this user, where a service asks.
    pub(crate) user: Option<String>,
}

impl PageQuery {
    /// Reads the query of a list whose pages hold up to 100.
    ///
    /// # Errors
    /// 400 naming the field that is wrong.
    pub(crate) fn read(query: &str) -> Result<Self, ApiError> {
        Self::read_bounded(query, LIMIT_DEFAULT, LIMIT_MAX)
    }

    /// Reads the query of a list of files.
    ///
    /// # Errors
    /// 400 naming the field that is wrong.
    pub(crate) fn read_files(query: &str) -> Result<Self, ApiError> {
        Self::read_bounded(query, FILES_LIMIT_MAX, FILES_LIMIT_MAX)
    }

    fn read_bounded(query: &str, limit: usize, limit_max: usize) -> Result<Self, ApiError> {
        let mut page = Self {
            limit,
            order: Order::Descending,
            after: None,
            before: None,
            filter: None,
            purpose: None,
            user: None,
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=limit_max).contains(limit));
                    let expected = || wrong("limit", &format!("an integer from 1 to {limit_max}"));
                    page.limit = limit.ok_or_else(expected)?;
                }
                "order" => page.order = order(value)?,
                "filter" if !value.is_empty() => page.filter = Some(status(value)?),
                "after" if !value.is_empty() => page.after = Some(value.to_owned()),
                "before" if !value.is_empty() => page.before = Some(value.to_owned()),
                "purpose" if !value.is_empty() => page.purpose = Some(value.to_owned()),
                "user" if !value.is_empty() => {
                    let user = percent::decode(value).ok_or_else(|| wrong("user", "the name of a user"))?;
                    page.user = Some(user);
                }
                _ => {}
            }
        }
        Ok(page)
    }

    /// Whose things are listed: a user's own, and for a service those of the user whom it names, else the services'.
    ///
    /// # Errors
    /// 400: no user can be called so; 403: a user names another.
    pub(crate) fn on_behalf_of(&self, viewer: &Viewer) -> Result<Viewer, ApiError> {
        let Some(name) = self.user.as_deref() else { return Ok(viewer.clone()) };
        let user = Viewer::user(name).ok_or_else(|| wrong("user", "the name of a user"))?;
        if viewer.is_service() || *viewer == user {
            return Ok(user);
        }
        let error = ApiError::invalid("A user may name nobody but themselves in 'user'.");
        Err(ApiError { status: 403, param: Some("user".to_owned()), code: Some("user_mismatch"), ..error })
    }

    /// The page of `entries`, which are oldest first, and whether there are more behind it. `id` is an entry's id as
    /// cursors name it.
    ///
    /// # Errors
    /// 400: a cursor names none of them.
    pub(crate) fn select<E>(
        &self,
        mut entries: Vec<E>,
        id: impl Fn(&E) -> String,
    ) -> Result<(Vec<E>, bool), ApiError> {
        if self.order == Order::Descending {
            entries.reverse();
        }
        let place = |param: &str, cursor: &str| {
            let found = entries.iter().position(|entry| id(entry) == cursor);
            found.ok_or_else(|| wrong(param, "the id of an entry of this list"))
        };
        let first = match &self.after {
            Some(cursor) => place("after", cursor)? + 1,
            None => 0,
        };
        let end = match &self.before {
            Some(cursor) => place("before", cursor)?,
            None => entries.len(),
        };
        // What stands before a cursor ends there; else a page begins where it is asked for.
        let first = if self.before.is_some() { first.max(end.saturating_sub(self.limit)) } else { first };
        let has_more = end.saturating_sub(first) > self.limit;
        let page = entries.into_iter().take(end).skip(first).take(self.limit).collect();
        Ok((page, has_more))
    }
}

fn order(value: &str) -> Result<Order, ApiError> {
    match value {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(wrong("order", "'asc' or 'desc'")),
    }
}

fn status(value: &str) -> Result<Status, ApiError> {
    match value {
        "in_progress" => Ok(Status::InProgress),
        "completed" => Ok(Status::Completed),
        "failed" => Ok(Status::Failed),
        "cancelled" => Ok(Status::Cancelled),
        _ => Err(wrong("filter", "'in_progress', 'completed', 'failed' or 'cancelled'")),
    }
}

#[derive(Serialize)]
struct List<'a, T> {
    object: &'static str,
    data: &'a [T],
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// A page as a list object; `ids` are those of its first and last entry.
pub(crate) fn list_json<T: Serialize>(data: &[T], ids: impl Fn(&T) -> String, has_more: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + 256 * data.len());
    let (first_id, last_id) = (data.first().map(&ids), data.last().map(&ids));
    json::push(&mut out, &List { object: "list", data, first_id, last_id, has_more });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, entries: &str, expected: Result<(&str, bool), &str>) {
        let page = PageQuery::read(query);
        let selected =
            page.and_then(|page| page.select(entries.chars().collect(), |entry| entry.to_string()));
        let selected = selected.map(|(page, more)| (page.into_iter().collect::<String>(), more));
        let selected = selected.as_ref().map(|(page, more)| (page.as_str(), *more));
        assert_eq!(selected.map_err(|error| error.param.as_deref().unwrap_or_default()), expected, "{query}");
    }

    #[test]
    fn a_page_begins_after_its_cursor_in_the_order_asked_for() {
        check("", "abc", Ok(("cba", false)));
        check("order=asc", "abc", Ok(("abc", false)));
        check("limit=2", "abc", Ok(("cb", true)));
        check("limit=2&after=b", "abc", Ok(("a", false)));
        check("limit=1&after=c", "abc", Ok(("b", true)));
        check("order=asc&after=c", "abc", Ok(("", false)));
        check("order=asc&limit=2&before=d", "abcde", Ok(("bc", false)));
        check("order=asc&after=a&before=d", "abcde", Ok(("bc", false)));
        check("order=asc&after=d&before=b", "abcde", Ok(("", false)));
        check("after=x", "abc", Err("after"));
        check("before=x", "abc", Err("before"));
    }

    #[test]
    fn a_query_is_held_to_its_bounds() {
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=", "limit"),
            ("limit=x", "limit"),
            ("order=up", "order"),
            ("filter=done", "filter"),
            ("user=%zz", "user"),
        ] {
            check(query, "", Err(param));
        }
        assert_eq!(PageQuery::read_files("").unwrap().limit, 10_000);
        assert_eq!(PageQuery::read_files("limit=10001").unwrap_err().param.as_deref(), Some("limit"));
        assert_eq!(PageQuery::read("filter=failed").unwrap().filter, Some(Status::Failed));
    }

    #[test]
    fn a_user_lists_their_own_and_a_service_whose_it_names() {
        let viewer = |name: Option<&str>| Viewer::from_field(&name.into_iter().collect::<Vec<_>>()).unwrap();
        let of = |query: &str, name| PageQuery::read(query).unwrap().on_behalf_of(&viewer(name));
        assert_eq!(of("", Some("ada")), Ok(viewer(Some("ada"))));
        assert_eq!(of("user=a%64a", Some("ada")), Ok(viewer(Some("ada"))));
        assert_eq!(of("user=ada", None), Ok(viewer(Some("ada"))));
        assert_eq!(of("", None), Ok(viewer(None)));
        assert_eq!(of("user=bob", Some("ada")).unwrap_err().status, 403);
        assert_eq!(of("user=a%20b", None).unwrap_err().status, 400);
    }
}
