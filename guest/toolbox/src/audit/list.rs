//! `GET /v1/tools/audit`: the log, a page at a time.

use super::{Entry, Log, PAGE_ENTRIES, key_of};
use crate::problem::{Problem, wrong};
use serde::Serialize;
use waggle_conversation::{Store, StoreError, Viewer};
use waggle_openai::list::{Order, PageQuery};
use waggle_openai::{ApiError, json, percent};
use waggle_platform::Reply;

/// What ids begin with.
const PREFIX: &str = "audit_";
/// How many digits they have.
const DIGITS: usize = 12;

/// Which page is asked for, and of whose calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryQuery {
    /// Which page.
    pub page: PageQuery<u64>,
    /// Whose calls; without, everybody's.
    pub user: Option<String>,
}

impl EntryQuery {
    /// Whether the caller may ask so: a service for all, a user for their own.
    fn is_for(&self, caller: &Viewer) -> bool {
        let subject = self.user.as_deref().and_then(Viewer::user);
        caller.is_service() || subject.is_some_and(|subject| subject == *caller)
    }
}

/// Reads `limit` (1 to 100), `order` (`asc`, `desc`), `after` (an entry's id) and `user`; other fields are skipped.
///
/// # Errors
/// 400 naming the field that is wrong.
pub(crate) fn read_query(query: &str) -> Result<EntryQuery, ApiError> {
    let page = PageQuery::<u64>::read_by(query, |value| {
        let digits = value.strip_prefix(PREFIX);
        let digits = digits
            .filter(|digits| digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| wrong("after", "the id of an entry of this list"))
    })?;
    let named = query.split('&').filter_map(|pair| pair.strip_prefix("user=")).rfind(|name| !name.is_empty());
    let user = named.map(|name| {
        let name = percent::decode(name).filter(|name| Viewer::user(name).is_some());
        name.ok_or_else(|| wrong("user", "the name of a user"))
    });
    Ok(EntryQuery { page, user: user.transpose()? })
}

#[derive(Serialize)]
struct Listed {
    id: String,
    object: &'static str,
    created_at: u64,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: &'a [Listed],
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
}

impl<S: Store> Log<'_, S> {
    /// A page of the log.
    ///
    /// # Errors
    /// 403: the caller is a user who does not ask for their own calls; 500: the store's.
    pub(crate) async fn list(&self, caller: &Viewer, query: &EntryQuery) -> Result<Reply, Problem> {
        if !query.is_for(caller) {
            let message = "The audit log is for the tenant's services. Users may read their own calls, by naming \
                           themselves in 'user'.";
            return Err(ApiError::not_a_service(message).into());
        }
        // One more than is wanted says whether there are more.
        let limit = query.page.limit;
        let mut found = self.find(query, limit + 1).await?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let listed = found.into_iter().map(|(number, entry)| Listed {
            id: format!("{PREFIX}{number:0width$}", width = DIGITS),
            object: "tool.call",
            created_at: entry.at_ms / 1000,
            entry,
        });
        let data: Vec<Listed> = listed.collect();
        let list = List {
            object: "list",
            data: &data,
            first_id: data.first().map(|entry| entry.id.as_str()),
            last_id: data.last().map(|entry| entry.id.as_str()),
            has_more,
        };
        let mut out = Vec::with_capacity(512 * data.len() + 128);
        json::push(&mut out, &list);
        Ok(Reply::json(out))
    }

    /// Up to `count` entries that are there, not too old and meant.
    async fn find(&self, query: &EntryQuery, count: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        let EntryQuery { page, user } = query;
        let (floor, newest) = self.ends().await?;
        let since_ms = self.since_ms();
        let (mut least, mut most) = (floor + 1, newest);
        match (page.order, page.after) {
            (Order::Ascending, Some(after)) => least = least.max(after.saturating_add(1)),
            (Order::Descending, Some(after)) => most = most.min(after.saturating_sub(1)),
            (_, None) => {}
        }
        let mut found = Vec::new();
        while least <= most && found.len() < count {
            let numbers: Vec<u64> = match page.order {
                Order::Ascending => (least..=most.min(least + PAGE_ENTRIES - 1)).collect(),
                Order::Descending => {
                    (least.max(most.saturating_sub(PAGE_ENTRIES - 1))..=most).rev().collect()
                }
            };
            let values = self.store.get_many(numbers.iter().copied().map(key_of).collect()).await?;
            let read = numbers
                .iter()
                .zip(values)
                .filter_map(|(number, value)| Some((*number, Entry::read(&value?)?)));
            let is_meant = |entry: &Entry| user.is_none() || entry.user == *user;
            found.extend(read.filter(|(_, entry)| entry.at_ms >= since_ms && is_meant(entry)));
            let Some(last) = numbers.last() else { break };
            match page.order {
                Order::Ascending => least = last + 1,
                Order::Descending => most = last - 1,
            }
        }
        found.truncate(count);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_held_to_their_bounds() {
        let check = |query: &str, expected: Result<(usize, Option<u64>), &str>| {
            let read = read_query(query);
            let read = read.as_ref().map(|query| (query.page.limit, query.page.after));
            assert_eq!(read.map_err(|error| error.param.as_deref().unwrap_or_default()), expected, "{query}");
        };
        check("", Ok((20, None)));
        check("limit=100&after=audit_000000000007&x=y", Ok((100, Some(7))));
        check("after=", Ok((20, None)));
        check("limit=0", Err("limit"));
        check("limit=101", Err("limit"));
        check("order=up", Err("order"));
        check("after=audit_7", Err("after"));
        check("after=audit_+00000000007", Err("after"));
        check("user=a%20b", Err("user"));
        check("user=%zz", Err("user"));
    }

    #[test]
    fn a_user_may_ask_for_their_own_calls_and_a_service_for_all() {
        let check = |query: &str, caller: Option<&str>, expected: bool| {
            let caller = Viewer::from_field(&caller.into_iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(read_query(query).unwrap().is_for(&caller), expected, "{query} {caller:?}");
        };
        check("", None, true);
        check("user=ada", None, true);
        check("user=%61da&limit=1", Some("ada"), true);
        check("user=bob", Some("ada"), false);
        check("user=ada&user=bob", Some("ada"), false);
        check("", Some("ada"), false);
        check("user=", Some("ada"), false);
    }
}
