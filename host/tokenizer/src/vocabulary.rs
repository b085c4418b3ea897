//! The vocabularies: parts of the program, unpacked when they are first needed.
//!
//! That takes a tenth of a second and some ten MiB each, so a thread of its own does it. Nobody waits for it, and no
//! tenant is charged for it.

use crate::encoding::Encoding;
use bpe_openai::Tokenizer;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A vocabulary on its way into memory.
struct Vocabulary {
    begun: AtomicBool,
    unpacked: OnceLock<&'static Tokenizer>,
}

impl Vocabulary {
    const fn new() -> Self {
        Self { begun: AtomicBool::new(false), unpacked: OnceLock::new() }
    }
}

static O200K_BASE: Vocabulary = Vocabulary::new();
static CL100K_BASE: Vocabulary = Vocabulary::new();

fn vocabulary(encoding: Encoding) -> &'static Vocabulary {
    match encoding {
        Encoding::O200kBase => &O200K_BASE,
        Encoding::Cl100kBase => &CL100K_BASE,
    }
}

/// The tokenizer, if it is in memory. If not, this begins to bring it there.
pub(crate) fn ready(encoding: Encoding) -> Option<&'static Tokenizer> {
    let vocabulary = vocabulary(encoding);
    if let Some(tokenizer) = vocabulary.unpacked.get() {
        return Some(tokenizer);
    }
    if !vocabulary.begun.swap(true, Ordering::Relaxed) {
        let begun = thread::Builder::new().name("tokenizer".to_owned()).spawn(move || {
            unpack(encoding);
        });
        if let Err(error) = begun {
            tracing::warn!(%encoding, %error, "no thread to load a tokenizer; tokens are estimated until there is one");
            vocabulary.begun.store(false, Ordering::Relaxed);
        }
    }
    None
}

/// Brings the tokenizer into memory.
pub(crate) fn unpack(encoding: Encoding) -> &'static Tokenizer {
    vocabulary(encoding).unpacked.get_or_init(|| match encoding {
        Encoding::O200kBase => bpe_openai::o200k_base(),
        Encoding::Cl100kBase => bpe_openai::cl100k_base(),
    })
}
