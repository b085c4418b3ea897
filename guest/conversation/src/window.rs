//! The window: which of the turns before this one a model gets to see.

use crate::record::StoredTurn;

/// The size of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// At most so many items.
    pub items_max: usize,
    /// At most so many tokens, as they were counted when the items were stored.
    pub tokens_max: u64,
}

impl WindowLimits {
    /// What is left when the current input, which always goes whole, has taken its part.
    pub fn without(self, items: usize, tokens: u64) -> Self {
        Self {
            items_max: self.items_max.saturating_sub(items),
            tokens_max: self.tokens_max.saturating_sub(tokens),
        }
    }

    /// One item and one token more, so that a window that is exactly full is told from one that is too small: see
    /// [`Window::exceeds`].
    pub fn and_one(self) -> Self {
        Self { items_max: self.items_max.saturating_add(1), tokens_max: self.tokens_max.saturating_add(1) }
    }
}

/// A window being filled, newest turn first.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    /// Newest first, each with the number of its entry; 0 for turns of a chain.
    turns: Vec<(u64, StoredTurn)>,
    full: bool,
    /// Whether a turn was left out.
    left_out: bool,
}

impl Window {
    /// An empty window.
    pub fn new(limits: WindowLimits) -> Self {
        let full = limits.items_max == 0 || limits.tokens_max == 0;
        Self { limits, turns: Vec::new(), full, left_out: false }
    }

    /// Whether no older turn can be added.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// How many more items there is room for.
    pub fn items_left(&self) -> usize {
        if self.full { 0 } else { self.limits.items_max }
    }

    /// Offers the next older turn. It is taken whole, or it and all that are older are left out: a model that sees
    /// half a turn, or a gap, is misled.
    pub fn offer(&mut self, turn: StoredTurn) {
        self.offer_entry(0, turn);
    }

    /// As [`offer`](Self::offer), with the number of its entry; whether it was left out. One without items never is.
    pub(crate) fn offer_entry(&mut self, sequence: u64, turn: StoredTurn) -> bool {
        if turn.is_empty() {
            return false;
        }
        let fits = turn.len() <= self.limits.items_max && turn.tokens <= self.limits.tokens_max;
        if self.full || !fits {
            self.full = true;
            self.left_out = true;
            return true;
        }
        self.limits = self.limits.without(turn.len(), turn.tokens);
        self.full = self.limits.items_max == 0 || self.limits.tokens_max == 0;
        self.turns.push((sequence, turn));
        false
    }

    /// Gives up the oldest turns until there is room for `tokens`, and takes it. Returns those turns, newest last, with
    /// the numbers of their entries.
    pub(crate) fn make_room(&mut self, tokens: u64) -> Vec<(u64, StoredTurn)> {
        let mut given_up = Vec::new();
        while self.limits.tokens_max < tokens
            && let Some((sequence, turn)) = self.turns.pop()
        {
            self.limits.tokens_max += turn.tokens;
            given_up.push((sequence, turn));
        }
        self.limits = self.limits.without(0, tokens);
        given_up
    }

    /// Whether there is more than `limits` allow, of a window that was made with [`WindowLimits::and_one`] of them.
    pub fn exceeds(&self, limits: WindowLimits) -> bool {
        let items: usize = self.turns.iter().map(|(_, turn)| turn.len()).sum();
        self.left_out || items > limits.items_max || self.tokens() > limits.tokens_max
    }

    /// The tokens of the turns taken.
    pub fn tokens(&self) -> u64 {
        self.turns.iter().map(|(_, turn)| turn.tokens).sum()
    }

    /// The items of the turns taken, oldest first, each as JSON.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.turns.iter().rev().flat_map(|(_, turn)| turn.items())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Standing, read_entry, write_entry};
    use proptest::prelude::*;
    use waggle_openai::Nonce;

    fn turn(number: usize, items: usize, tokens: u64) -> StoredTurn {
        let items: Vec<String> = (0..items).map(|item| format!("\"{number}.{item}\"")).collect();
        let value =
            write_entry(Nonce::mint(0, 0), items.iter().map(String::as_str), tokens, Standing::default());
        read_entry("k", value).unwrap().turn
    }

    fn fill(turns: &[(usize, u64)], limits: WindowLimits) -> Vec<String> {
        let mut window = Window::new(limits);
        for (number, (items, tokens)) in turns.iter().enumerate() {
            window.offer(turn(number, *items, *tokens));
        }
        window.items().map(str::to_owned).collect()
    }

    fn check(turns: &[(usize, u64)], items_max: usize, tokens_max: u64, expected: &[&str]) {
        assert_eq!(
            fill(turns, WindowLimits { items_max, tokens_max }),
            expected,
            "{turns:?} in {items_max}, {tokens_max}"
        );
    }

    #[test]
    fn the_newest_whole_turns_that_fit_are_taken_oldest_first() {
        let turns = [(2, 10), (1, 10), (2, 10)];
        check(&turns, 40, 8000, &["\"2.0\"", "\"2.1\"", "\"1.0\"", "\"0.0\"", "\"0.1\""]);
        check(&turns, 4, 8000, &["\"1.0\"", "\"0.0\"", "\"0.1\""]);
        check(&turns, 40, 20, &["\"1.0\"", "\"0.0\"", "\"0.1\""]);
        check(&turns, 1, 8000, &[]);
        check(&turns, 40, 9, &[]);
        check(&turns, 0, 0, &[]);
        check(&[(1, 5), (9, 5), (1, 5)], 5, 8000, &["\"0.0\""]);
        check(&[(0, 0), (1, 5)], 1, 5, &["\"1.0\""]);
    }

    #[test]
    fn room_is_made_by_giving_up_the_oldest_turns() {
        let made = |tokens: u64| {
            let mut window = Window::new(WindowLimits { items_max: 9, tokens_max: 40 });
            for number in 0..3 {
                window.offer_entry(9 - number, turn(number as usize, 1, 10));
            }
            let given_up = window.make_room(tokens).iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>();
            (given_up, window.tokens())
        };
        assert_eq!(made(0), (vec![], 30));
        assert_eq!(made(10), (vec![], 30));
        assert_eq!(made(11), (vec![7], 20));
        assert_eq!(made(30), (vec![7, 8], 10));
        assert_eq!(made(1000), (vec![7, 8, 9], 0));
    }

    #[test]
    fn a_window_tells_whether_there_is_more_than_its_limits_allow() {
        let check = |turns: &[(usize, u64)], items_max: usize, tokens_max: u64, expected: bool| {
            let limits = WindowLimits { items_max, tokens_max };
            let mut window = Window::new(limits.and_one());
            for (number, (items, tokens)) in turns.iter().enumerate() {
                window.offer(turn(number, *items, *tokens));
            }
            assert_eq!(window.exceeds(limits), expected, "{turns:?} in {items_max}, {tokens_max}");
        };
        check(&[], 0, 0, false);
        check(&[(2, 10), (2, 10)], 4, 20, false);
        check(&[(2, 10), (2, 10)], 4, 19, true);
        check(&[(2, 10), (2, 10)], 3, 20, true);
        check(&[(2, 10), (2, 10), (1, 1)], 4, 20, true);
        check(&[(1, 1)], 0, 8000, true);
        check(&[(2, 1)], 0, 0, true);
    }

    proptest! {
        #[test]
        fn a_window_is_within_its_limits_and_cannot_grow(
            turns in prop::collection::vec((1usize..5, 0u64..50), 0..20),
            items_max in 0usize..20,
            tokens_max in 0u64..200,
        ) {
            let limits = WindowLimits { items_max, tokens_max };
            let taken = fill(&turns, limits);
            let count = (0..=turns.len())
                .find(|count| turns[..*count].iter().map(|turn| turn.0).sum::<usize>() == taken.len())
                .unwrap();
            let size = |count: usize| {
                let turns = &turns[..count];
                (turns.iter().map(|turn| turn.0).sum::<usize>(), turns.iter().map(|turn| turn.1).sum::<u64>())
            };
            prop_assert!(size(count).0 <= items_max && size(count).1 <= tokens_max);
            if count < turns.len() && size(count).1 < tokens_max {
                let next = size(count + 1);
                prop_assert!(next.0 > items_max || next.1 > tokens_max);
            }
        }
    }
}
