//! What was found, as the model sees it: numbered sources in a message that says what they are, within a bound of tokens.

use crate::platform::Platform;
use waggle_openai::Nonce;
use waggle_openai::item::{Item, ItemStatus, Part, RawItem, Role, TOKENS_AROUND_A_MESSAGE};
use waggle_search::citations::CitedFile;
use waggle_search::prompt::{self, build};

const NOTHING: &str = "The user's question was looked up in what you are to answer from, and nothing was found. Say that you \
                       do not know it, in the language of the question; never invent an answer.";
const NO_NUMBERS: &str = "The answer is read by a program: write no numbers of sources into it.";

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The file it is of.
    pub(crate) file: CitedFile,
    /// The headings it stands under; may be empty.
    pub(crate) heading: String,
    /// What it says.
    pub(crate) text: String,
}

/// The message by which a model is told what was found.
#[derive(Debug)]
pub(super) struct Shown {
    /// The message.
    pub(super) message: RawItem,
    /// Its tokens.
    pub(super) tokens: u64,
    /// How many of the sources it shows: the first ones.
    pub(super) count: usize,
}

/// The message for these sources, of which as many are shown as have `tokens_max` tokens together. `cites` says whether the
/// answer is to cite them.
///
/// # Errors
/// None in practice: it always serialises.
pub(super) fn show<P: Platform>(
    platform: &P,
    model: &str,
    sources: &[Source],
    tokens_max: u64,
    cites: bool,
) -> serde_json::Result<Shown> {
    let count = |texts: &[&str]| -> Vec<u64> {
        platform.count_tokens(model, texts).iter().map(|one| one.tokens).collect()
    };
    let found: Vec<prompt::Source<'_>> = sources
        .iter()
        .map(|source| prompt::Source {
            filename: &source.file.filename,
            heading: &source.heading,
            text: &source.text,
        })
        .collect();
    let prompt = build(&found, tokens_max, count);
    let text = match (prompt.text, cites) {
        (text, _) if text.is_empty() => NOTHING.to_owned(),
        (text, true) => text,
        (text, false) => format!("{text}\n\n{NO_NUMBERS}"),
    };
    let item = Item::Message { role: Role::Developer, parts: vec![Part::text(text.as_str())], phase: None };
    // Nothing of it is stored, so its id is nobody's.
    let message = item.to_raw(Nonce::mint(0, 0), 0, ItemStatus::Completed)?;
    let tokens = count(&[&text]).iter().sum::<u64>() + TOKENS_AROUND_A_MESSAGE;
    Ok(Shown { message, tokens, count: prompt.sources })
}
