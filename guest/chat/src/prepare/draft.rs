//! A turn as its request asks for it, with what is known of it whatever came before.

use super::past::Past;
use super::turn::PreparedTurn;
use crate::agent::Keeping;
use crate::fallback::Reader;
use crate::format::Format;
use crate::knowledge::{Looked, is_ahead};
use crate::language::Language;
use crate::plan::Counting;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use crate::settings::Settings;
use crate::tokens::SaidTokens;
use std::cell::Cell;
use std::rc::Rc;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::item::RawItem;
use waggle_openai::parameters::Parameters;
use waggle_openai::request::{Continues, CreateResponse};
use waggle_openai::response::ResponseHead;
use waggle_openai::{Nonce, ResponseId};

/// What is known of a turn before it is made ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownTurn<'a> {
    /// The nonce of its response.
    pub(crate) nonce: Nonce,
    /// When it was accepted, in seconds since 1970, if that was before; then it runs in the background and is streamed.
    pub(crate) accepted_at: Option<u64>,
    /// Set when it is wanted no longer, and need not wait for its place in its conversation.
    pub(crate) stop: Option<&'a Cell<bool>>,
    /// Whether it is recorded what is done for it.
    pub(crate) keeping: Keeping,
}

/// A turn that is being made ready.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) known: KnownTurn<'a>,
    pub(super) language: Language,
    pub(super) continues: Continues,
    pub(super) stream: bool,
    background: bool,
    /// Whether it is asked ahead of users.
    pub(super) ahead: bool,
    pub(super) parameters: Parameters,
    pub(super) format: Format,
    /// The model that is named, or that stands for those of the tiers.
    pub(super) model: String,
    /// As which model its tokens are counted.
    pub(super) counted_as: String,
    renewal_s: u64,
}

/// By what it is decided whom to ask.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) settings: Rc<Settings>,
    pub(super) counting: Counting,
}

/// What a turn says itself, as it will be stored, and its tokens.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) items: Vec<RawItem>,
    pub(super) tokens: SaidTokens,
}

impl Draft<'_> {
    /// Whether it runs now, and is not only accepted: one that is accepted for the background is looked up when it runs.
    pub(super) fn runs(&self) -> bool {
        !self.background || self.known.accepted_at.is_some()
    }

    /// Its instructions, or the tenant's.
    pub(super) fn instructions<'s>(&'s self, settings: &'s Settings) -> &'s str {
        self.parameters.instructions.as_deref().unwrap_or(&settings.instructions)
    }

    /// The turn, ready. `tokens` are those that the model is shown beside the window, what was recalled and what is said.
    pub(super) fn into_turn(
        self,
        past: Past,
        input: Input,
        (looked, tokens): (Option<Looked>, u64),
        created_at: u64,
    ) -> PreparedTurn {
        let Self { known, language, continues, stream, background, parameters, format, model, .. } = self;
        let (silent, wants_json) = (past.is_silent(), format.is_json());
        let before = past.window.tokens() + past.recalled.tokens() + tokens;
        let aside = past.recalled.aside(&model);
        PreparedTurn {
            head: ResponseHead {
                id: ResponseId(known.nonce),
                created_at,
                background,
                model,
                continues,
                parameters,
            },
            stream,
            reader: Reader { language, wants_json },
            // Nothing fits every form.
            format: if silent { Format::Text } else { format },
            input: input.items,
            input_tokens: input.tokens.input,
            prompt_tokens: input.tokens.of_prompt(before),
            counted_as: self.counted_as,
            continuation: past.continuation,
            aside,
            looked: looked.map(Box::new),
            kept: None,
            renewal_s: self.renewal_s,
            silent,
            trace: None,
            acted: false,
        }
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Reads what the tenant's settings make of a request, whose input is looked at apart.
    ///
    /// # Errors
    /// 400: the form of the answer, or the model, is none that can be had; a variable cannot be read.
    pub(super) async fn draft<'a>(
        &self,
        viewer: &Viewer,
        request: CreateResponse<'_>,
        language: Language,
        known: KnownTurn<'a>,
    ) -> Result<(Draft<'a>, Basis), Problem> {
        let CreateResponse { continues, stream, background, mut parameters, .. } = request;
        let stream = stream || known.accepted_at.is_some();
        let ahead = is_ahead(viewer, &parameters.metadata);
        parameters.metadata.drop_reserved();
        let format = Format::read(&parameters.text)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?.to_owned();
        let counting = Counting::read(&self.platform, &settings, &model).await?;
        let counted_as = counting.model(&model).to_owned();
        let renewal_s = settings.renewal_s;
        let draft = Draft {
            known,
            language,
            continues,
            stream,
            background,
            ahead,
            parameters,
            format,
            model,
            counted_as,
            renewal_s,
        };
        Ok((draft, Basis { settings, counting }))
    }
}
