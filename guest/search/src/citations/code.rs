//! Whether a place of a Markdown text is inside code, where brackets mean something else.

/// From so many backticks on, a run of them fences a block.
const FENCE_MIN: usize = 3;

/// Follows a text.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// How many backticks stand directly before this place.
    run: usize,
    /// How many opened the code that this place is in; 0: it is in none.
    opened: usize,
}

impl Code {
    /// Whether the next character is inside code.
    pub(super) fn is_inside(&self) -> bool {
        self.after_run().1 > 0
    }

    /// What a run of backticks that ends here makes: nothing of a run, and what is open then.
    fn after_run(&self) -> (usize, usize) {
        match (self.run, self.opened) {
            (0, opened) => (0, opened),
            (run, 0) => (0, run),
            (run, opened) if run == opened || (opened >= FENCE_MIN && run > opened) => (0, 0),
            (_, opened) => (0, opened),
        }
    }

    /// Goes over a character.
    pub(super) fn take(&mut self, character: char) {
        if character == '`' {
            self.run += 1;
            return;
        }
        (self.run, self.opened) = self.after_run();
        // Code within a line that nobody closes there was only a backtick.
        if character == '\n' && self.opened < FENCE_MIN {
            self.opened = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, inside: bool) {
        let mut code = Code::default();
        text.chars().for_each(|character| code.take(character));
        assert_eq!(code.is_inside(), inside, "{text:?}");
    }

    #[test]
    fn code_is_between_equal_runs_of_backticks() {
        check("a", false);
        check("a `b", true);
        check("a `b` ", false);
        check("a `b`", false);
        check("``a ` b", true);
        check("``a ` b``", false);
        check("```\na\n", true);
        check("```\na `x` \n", true);
        check("```\na\n```\n", false);
        check("```\na\n````\n", false);
        check("a ` b\n", false);
        check("`", true);
    }
}
