//! Orders and what can be done about them. Every decision is made here, under one lock, and is in the journal before anybody
//! hears of it.

use crate::journal::{Entry, Journal};
use crate::stats::{Counters, Effect, Stats};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// The most that is ever done: each is kept in memory, and in the journal.
pub(crate) const ENTRIES_MAX: usize = 200_000;
/// The longest note and reason, in characters.
pub(crate) const TEXT_CHARACTERS_MAX: usize = 1_000;
/// The longest idempotency key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It can still be cancelled.
    Processing,
    /// It is on its way.
    Shipped,
    /// It has arrived.
    Delivered,
    /// It will not be sent.
    Cancelled,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number.
    pub id: String,
    /// Whose it is.
    pub email: String,
    /// What was ordered.
    pub items: Vec<String>,
    /// What it costs, with its currency.
    pub total: String,
    /// How far it is.
    pub status: Status,
    /// When it was, or is to be, delivered: a date.
    pub delivery: String,
    /// What was noted about it, oldest first.
    pub notes: Vec<String>,
}

impl Order {
    fn new(id: u32, email: &str, items: &[&str], total: &str, status: Status, delivery: &str) -> Self {
        Self {
            id: id.to_string(),
            email: email.to_owned(),
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            total: total.to_owned(),
            status,
            delivery: delivery.to_owned(),
            notes: Vec::new(),
        }
    }
}

/// The orders that every shop of this example begins with.
fn first_orders() -> impl Iterator<Item = Order> {
    let ada = "ada@example.com";
    [
        Order::new(1001, ada, &["Kettle, 1.5 l"], "49.90 EUR", Status::Processing, "2026-12-02"),
        Order::new(1002, ada, &["Tea pot", "Two cups"], "34.00 EUR", Status::Shipped, "2026-11-26"),
        Order::new(1003, "bo@example.com", &["Lamp"], "89.00 EUR", Status::Delivered, "2026-11-12"),
        Order::new(
            1004,
            "bo@example.com",
            &["Chair", "Cushion"],
            "139.50 EUR",
            Status::Processing,
            "2026-12-05",
        ),
        Order::new(1005, "xiaoming@example.com", &["电饭煲"], "329.00 CNY", Status::Processing, "2026-12-01"),
    ]
    .into_iter()
}

/// Something that changes an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "lowercase")]
pub(crate) enum Deed {
    /// It is not to be sent.
    Cancel,
    /// Something is noted.
    Note {
        /// What.
        text: String,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("There is no order '{0}'.")]
    Unknown(String),
    #[error("Order '{id}' is {status} and cannot be cancelled any more.")]
    TooLate { id: String, status: String },
    #[error("This idempotency key was used for something else.")]
    KeyReused,
    #[error("The journal has {ENTRIES_MAX} entries, and no more are taken.")]
    Full,
    #[error("What was asked for could not be written down, so it was not done: {0}")]
    Unwritten(String),
}

/// What was done, or found done before under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) order: Order,
    pub(crate) replayed: bool,
}

/// All orders, and what was done about them.
#[derive(Debug)]
pub(crate) struct Shop {
    orders: BTreeMap<String, Order>,
    entries: Vec<Entry>,
    /// From an idempotency key to its entry.
    keys: HashMap<String, usize>,
    journal: Journal,
    counters: Counters,
}

impl Shop {
    /// The shop as its journal has it.
    pub(crate) fn restored(journal: Journal, entries: Vec<Entry>) -> Self {
        let orders = first_orders().map(|order| (order.id.clone(), order)).collect();
        let mut shop = Self {
            orders,
            entries: Vec::new(),
            keys: HashMap::new(),
            journal,
            counters: Counters::default(),
        };
        for entry in entries {
            shop.apply(entry);
        }
        shop
    }

    pub(crate) fn order(&self, id: &str) -> Option<&Order> {
        self.orders.get(id)
    }

    /// The orders of whoever has this address, oldest first.
    pub(crate) fn orders_of(&self, email: &str) -> Vec<&Order> {
        self.orders.values().filter(|order| order.email.eq_ignore_ascii_case(email)).collect()
    }

    pub(crate) fn asked(&mut self) {
        self.counters.requests += 1;
    }

    pub(crate) fn stats(&self) -> Stats {
        let effects = self.entries.iter().map(|entry| Effect {
            order: entry.order.clone(),
            deed: match entry.deed {
                Deed::Cancel => "cancel",
                Deed::Note { .. } => "note",
            },
            key: entry.key.clone(),
        });
        Stats::new(self.counters, effects.collect())
    }

    /// Does something about an order: once under the same key, and again without one.
    pub(crate) fn act(&mut self, id: &str, deed: Deed, key: Option<&str>) -> Result<Done, Refused> {
        if let Some(entry) = key.and_then(|key| self.keys.get(key)).and_then(|at| self.entries.get(*at)) {
            if entry.order != id || entry.deed != deed {
                return Err(Refused::KeyReused);
            }
            self.counters.replayed += 1;
            return self.done(id, true);
        }
        let order = self.orders.get(id).ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        if deed == Deed::Cancel && order.status != Status::Processing {
            let status = format!("{:?}", order.status).to_lowercase();
            return Err(Refused::TooLate { id: id.to_owned(), status });
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(Refused::Full);
        }
        let entry = Entry { order: id.to_owned(), key: key.map(str::to_owned), deed };
        self.journal.append(&entry).map_err(|error: io::Error| Refused::Unwritten(error.to_string()))?;
        self.apply(entry);
        self.done(id, false)
    }

    fn done(&self, id: &str, replayed: bool) -> Result<Done, Refused> {
        let order = self.orders.get(id).cloned().ok_or_else(|| Refused::Unknown(id.to_owned()))?;
        Ok(Done { order, replayed })
    }

    /// What the journal has taken happens.
    fn apply(&mut self, entry: Entry) {
        if let Some(order) = self.orders.get_mut(&entry.order) {
            match &entry.deed {
                Deed::Cancel => order.status = Status::Cancelled,
                Deed::Note { text } => order.notes.push(text.clone()),
            }
        }
        if let Some(key) = &entry.key {
            self.keys.insert(key.clone(), self.entries.len());
        }
        self.entries.push(entry);
    }
}
