//! How many tokens a model counts: the words by the platform's tokenizer, all of one question in one call; what stands
//! around them, and images and files, by rule.

use crate::platform::{Platform, TokenCount};
use waggle_openai::item::{Item, TOKENS_AROUND_A_MESSAGE};
use waggle_openai::parameters::Parameters;
use waggle_openai::tool::{Tool, ToolChoice};

/// What a model counts for the beginning of its own answer, which stands at the end of every prompt.
pub(crate) const TOKENS_BEFORE_THE_ANSWER: u64 = 3;
/// What a model counts around the definition of a function, and around all of them together; OpenAI's numbers for GPT-4o.
const TOKENS_AROUND_A_TOOL: u64 = 7;
const TOKENS_AROUND_THE_TOOLS: u64 = 12;

/// What is to be counted together.
#[derive(Debug, Default)]
pub(crate) struct Tally<'t> {
    texts: Vec<&'t str>,
    /// The tokens of what is no text.
    untold: u64,
    is_estimate: bool,
}

/// The tokens of what a turn says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SaidTokens {
    /// Of the instructions.
    pub(crate) instructions: u64,
    /// Of the input.
    pub(crate) input: u64,
}

impl SaidTokens {
    /// With so many more of the input.
    pub(crate) fn and(self, more: u64) -> Self {
        Self { input: self.input + more, ..self }
    }

    /// Those of a whole prompt, in which so many stand before what is said.
    pub(crate) fn of_prompt(self, before: u64) -> u64 {
        self.instructions + before + self.input + TOKENS_BEFORE_THE_ANSWER
    }
}

impl<'t> Tally<'t> {
    /// Adds items.
    pub(crate) fn items<'i: 't>(mut self, items: impl IntoIterator<Item = &'t Item<'i>>) -> Self {
        for item in items {
            let untold = item.tally(&mut self.texts);
            self.untold += untold.tokens;
            self.is_estimate |= untold.is_estimate;
        }
        self
    }

    /// Adds instructions: a message, if there are any.
    pub(crate) fn instructions(mut self, instructions: &'t str) -> Self {
        if !instructions.is_empty() {
            self.texts.push(instructions);
            self.untold += TOKENS_AROUND_A_MESSAGE;
        }
        self
    }

    /// Adds the tools that go to the model, and the schema of the answer. How a model is shown these is its maker's own
    /// matter, so they are estimated by their JSON.
    pub(crate) fn parameters(mut self, parameters: &'t Parameters) -> Self {
        let tools: Vec<&Tool> = parameters.tools.iter().filter(|tool| is_sent(tool, parameters)).collect();
        for tool in &tools {
            let parameters = tool.parameters.as_ref().map(|schema| schema.get());
            let texts = [Some(tool.name.as_str()), tool.description.as_deref(), parameters];
            self.texts.extend(texts.into_iter().flatten().filter(|text| !text.is_empty()));
            self.untold += TOKENS_AROUND_A_TOOL;
        }
        if !tools.is_empty() {
            self.untold += TOKENS_AROUND_THE_TOOLS;
        }
        let schema = parameters.text.read_format().ok().flatten().and_then(|format| format.schema);
        self.texts.extend(schema.map(|schema| schema.get()));
        self.is_estimate |= !tools.is_empty() || schema.is_some();
        self
    }

    /// Counts all of it.
    pub(crate) fn count<P: Platform>(self, platform: &P, model: &str) -> TokenCount {
        let counted = counted(platform, model, &self.texts);
        TokenCount {
            tokens: self.untold + counted.iter().map(|one| one.tokens).sum::<u64>(),
            is_estimate: self.is_estimate || counted.iter().any(|one| one.is_estimate),
        }
    }
}

fn is_sent(tool: &Tool, parameters: &Parameters) -> bool {
    match &parameters.tool_choice {
        ToolChoice::Allowed { tools, .. } => tools.contains(&tool.name),
        _ => true,
    }
}

fn counted<P: Platform>(platform: &P, model: &str, texts: &[&str]) -> Vec<TokenCount> {
    if texts.is_empty() { Vec::new() } else { platform.count_tokens(model, texts) }
}

/// The tokens of items.
pub(crate) fn count_items<'t, 'i: 't, P: Platform>(
    platform: &P,
    model: &str,
    items: impl IntoIterator<Item = &'t Item<'i>>,
) -> u64 {
    Tally::default().items(items).count(platform, model).tokens
}

/// The tokens of what a turn says, counted in one call.
pub(crate) fn count_said<P: Platform>(
    platform: &P,
    model: &str,
    instructions: &str,
    input: &[Item<'_>],
) -> SaidTokens {
    let input = Tally::default().items(input);
    let (untold, input_texts) = (input.untold, input.texts.len());
    let all = input.instructions(instructions);
    let counted = counted(platform, model, &all.texts);
    let sum = |counts: &[TokenCount]| counts.iter().map(|one| one.tokens).sum::<u64>();
    let (of_input, of_instructions) = counted.split_at(input_texts.min(counted.len()));
    SaidTokens { input: untold + sum(of_input), instructions: all.untold - untold + sum(of_instructions) }
}
