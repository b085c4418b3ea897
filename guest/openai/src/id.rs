//! Identifiers: how they are made, and the only place where one that came from a client is parsed.
//!
//! Every id carries a nonce of 24 characters: ten that count milliseconds since 1970, so that ids sort by age and
//! neighbours in time are neighbours in the store, then fourteen (70 bits) of randomness.

use crate::digits::Digits;
use crate::item::HostedKind;
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Which bytes are of the alphabet.
const IN_ALPHABET: [bool; 256] = {
    let (mut known, mut index) = ([false; 256], 0);
    while index < ALPHABET.len() {
        known[ALPHABET[index] as usize] = true;
        index += 1;
    }
    known
};
const TIME_CHARACTERS: usize = 10;
const INDEX_DIGITS: usize = 3;

/// The most items one commit (a turn's input and output, or one call to add items) may hold.
pub const ITEMS_PER_COMMIT_MAX: usize = 1000;

/// The part of an id that makes it unique: 24 characters of a lower-case base 32 alphabet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce([u8; Nonce::LENGTH]);

impl Nonce {
    /// The length in characters, all of them ASCII.
    pub const LENGTH: usize = 24;

    /// Makes a nonce from the time and 70 of the given random bits.
    pub fn mint(unix_ms: u64, random: u128) -> Self {
        let mut characters = [b'0'; Self::LENGTH];
        let (time, tail) = characters.split_at_mut(TIME_CHARACTERS);
        let mut rest = unix_ms;
        for character in time.iter_mut().rev() {
            *character = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        let mut rest = random;
        for character in tail {
            *character = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        Self(characters)
    }

    /// Reads a nonce; `None` for anything but 24 characters of the alphabet.
    pub fn parse(text: &str) -> Option<Self> {
        let characters: [u8; Self::LENGTH] = text.as_bytes().try_into().ok()?;
        characters.iter().all(|character| IN_ALPHABET[usize::from(*character)]).then_some(Self(characters))
    }

    /// When it was made, in milliseconds since 1970, as whoever made it said.
    pub fn unix_ms(&self) -> u64 {
        let value = |character| ALPHABET.iter().position(|known| *known == character).unwrap_or_default();
        self.0.iter().take(TIME_CHARACTERS).fold(0, |time, character| time << 5 | value(*character) as u64)
    }

    /// The nonce as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever enters, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(pub Nonce);

        impl $name {
            /// Reads an id as clients write it; `None` when it cannot be one of ours.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix($prefix).and_then(Nonce::parse).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str($prefix)?;
                formatter.write_str(self.0.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&[$prefix, self.0.as_str()].concat())
            }
        }
    };
}

prefixed_id!(
    /// The id of a response: `resp_` and its nonce.
    ResponseId, "resp_"
);
prefixed_id!(
    /// The id of a conversation: `conv_` and its nonce.
    ConversationId, "conv_"
);
prefixed_id!(
    /// The id of a file: `file-` and its nonce.
    FileId, "file-"
);
prefixed_id!(
    /// The id of a vector store: `vs_` and its nonce.
    VectorStoreId, "vs_"
);
prefixed_id!(
    /// The id of a batch of files that were added to a vector store: `vsfb_` and its nonce.
    FileBatchId, "vsfb_"
);

/// What an item is, as its id's prefix says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// `msg_`
    Message,
    /// `fc_`
    FunctionCall,
    /// `fco_`
    FunctionCallOutput,
    /// `rs_`
    Reasoning,
    /// `cmp_`
    Compaction,
    /// `ws_`, `fs_`, `ci_`, `mcp_`, `mcpl_`, `mcpr_`, `mcpa_`
    Hosted(HostedKind),
}

impl ItemKind {
    fn all() -> impl Iterator<Item = Self> {
        const OURS: [ItemKind; 5] = [
            ItemKind::Message,
            ItemKind::FunctionCall,
            ItemKind::FunctionCallOutput,
            ItemKind::Reasoning,
            ItemKind::Compaction,
        ];
        OURS.into_iter().chain(HostedKind::ALL.map(Self::Hosted))
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Message => "msg_",
            Self::FunctionCall => "fc_",
            Self::FunctionCallOutput => "fco_",
            Self::Reasoning => "rs_",
            Self::Compaction => "cmp_",
            Self::Hosted(kind) => kind.prefix(),
        }
    }
}

/// The id of an item: a prefix by kind, the nonce of the commit that brought it, and its place in that commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemId {
    /// What the item is.
    pub kind: ItemKind,
    /// The nonce of the turn, or of the call that added the item.
    pub nonce: Nonce,
    /// The place in that commit, from 0 to 999.
    pub index: usize,
}

impl ItemId {
    /// The length of what follows the prefix, in characters, all of them ASCII.
    pub const PLACE_LENGTH: usize = Nonce::LENGTH + INDEX_DIGITS;

    /// Reads an id as clients write it; `None` when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) =
            ItemKind::all().find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))?;
        let (nonce, index) = rest.split_at_checked(Nonce::LENGTH)?;
        let digits = index.len() == INDEX_DIGITS && index.bytes().all(|digit| digit.is_ascii_digit());
        Some(Self { kind, nonce: Nonce::parse(nonce)?, index: index.parse().ok().filter(|_| digits)? })
    }

    /// Hands on what it consists of: its prefix, its nonce and its place.
    fn parts<T>(&self, to: impl FnOnce([&str; 3]) -> T) -> T {
        let index = Digits::new(self.index as u64, INDEX_DIGITS);
        to([self.kind.prefix(), self.nonce.as_str(), index.as_str()])
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts(|parts| parts.into_iter().try_for_each(|part| formatter.write_str(part)))
    }
}

impl serde::Serialize for ItemId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.parts(|parts| parts.concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_minted_id_reads_back(unix_ms in 0u64..1 << 50, random: u128, index in 0usize..ITEMS_PER_COMMIT_MAX) {
            let nonce = Nonce::mint(unix_ms, random);
            prop_assert_eq!(nonce.unix_ms(), unix_ms);
            prop_assert_eq!(ResponseId::parse(&ResponseId(nonce).to_string()), Some(ResponseId(nonce)));
            prop_assert_eq!(FileId::parse(&FileId(nonce).to_string()), Some(FileId(nonce)));
            prop_assert_eq!(VectorStoreId::parse(&VectorStoreId(nonce).to_string()), Some(VectorStoreId(nonce)));
            prop_assert_eq!(FileBatchId::parse(&FileBatchId(nonce).to_string()), Some(FileBatchId(nonce)));
            for kind in ItemKind::all() {
                let id = ItemId { kind, nonce, index };
                prop_assert_eq!(ItemId::parse(&id.to_string()), Some(id));
            }
        }

        #[test]
        fn nonces_sort_by_time(earlier in 0u64..1 << 49, later in 0u64..1 << 49, random: u128) {
            prop_assume!(earlier < later);
            prop_assert!(Nonce::mint(earlier, random) < Nonce::mint(later, 0));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".*") {
            let _response = ResponseId::parse(&text);
            let _item = ItemId::parse(&text);
        }
    }

    #[test]
    fn hostile_ids_are_not_ids() {
        let good = ResponseId(Nonce::mint(1, 1)).to_string();
        for text in [
            "",
            "resp_",
            "..",
            "/",
            "resp_\0",
            &format!("{good}\0"),
            &good.to_uppercase(),
            &good.replace("resp_", "conv_"),
            &"resp_".repeat(2000),
            "resp_éééééééééééé",
        ] {
            assert_eq!(ResponseId::parse(text), None, "{text:?}");
        }
        let nonce = Nonce::mint(1, 1);
        for text in
            [format!("msg_{nonce}"), format!("msg_{nonce}+12"), format!("msg_{nonce}0001"), "msg_é".into()]
        {
            assert_eq!(ItemId::parse(&text), None, "{text:?}");
        }
    }
}
