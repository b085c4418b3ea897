//! Who asks, whose a record is, and the one rule between the two.
//!
//! A [`Viewer`] is made of nothing but the header field in which the host names the caller's user. What is read from
//! the store is `Owned`: its content comes out for a viewer who sees it, and in no other way, so no reader can forget
//! to ask.

use serde::{Deserialize, Serialize};

/// The longest name of a user, in bytes.
pub const USER_BYTES_MAX: usize = 256;

/// Why a request's caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewerError {
    /// The field was sent more than once.
    #[error("there are {0} of it instead of one")]
    Repeated(usize),
    /// Its value can be no user.
    #[error("its value is not 1 to {USER_BYTES_MAX} bytes of visible ASCII")]
    NotAUser,
}

/// Who asks: a user of the tenant, or one of the tenant's own services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer(Owner);

impl Viewer {
    /// Reads the values of the host's header field: none stands for a service of the tenant, one names the user.
    ///
    /// # Errors
    /// Anything else. It must not be served: whoever took it for a service would show one user the records of all.
    pub fn from_field<V: AsRef<[u8]>>(values: &[V]) -> Result<Self, ViewerError> {
        match values {
            [] => Ok(Self(Owner(None))),
            [value] => {
                let value = value.as_ref();
                let visible = value.iter().all(u8::is_ascii_graphic);
                let user = std::str::from_utf8(value).map_err(|_| ViewerError::NotAUser)?;
                if !visible || value.is_empty() || value.len() > USER_BYTES_MAX {
                    return Err(ViewerError::NotAUser);
                }
                Ok(Self(Owner(Some(user.into()))))
            }
            more => Err(ViewerError::Repeated(more.len())),
        }
    }

    /// One of the tenant's services: for what is done on behalf of no user.
    pub(crate) fn service() -> Self {
        Self(Owner(None))
    }

    /// That user, on whose behalf a service asks; `None` for what can be no user.
    pub fn user(name: &str) -> Option<Self> {
        Self::from_field(&[name]).ok()
    }

    /// The rule: a service sees all that is the tenant's, a user what is their own.
    pub fn sees(&self, owner: &Owner) -> bool {
        self.is_service() || self.0 == *owner
    }

    /// Whether it is one of the tenant's own services.
    pub fn is_service(&self) -> bool {
        self.0.is_services()
    }

    /// Whose it is when the viewer makes something that continues nothing.
    pub fn owner(&self) -> Owner {
        self.0.clone()
    }
}

/// Whose a record is: a user's, or nobody's but the tenant's, as is all that was made by a service and all that was
/// made before there were users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(Option<Box<str>>);

impl Owner {
    /// Whether it is no user's. Such a record is written without an owner.
    pub fn is_services(&self) -> bool {
        self.0.is_none()
    }

    /// The user.
    pub fn user(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// What was read from the store, still closed.
#[derive(Debug)]
pub(crate) struct Owned<T> {
    owner: Owner,
    content: T,
}

impl<T> Owned<T> {
    pub(crate) fn new(owner: Owner, content: T) -> Self {
        Self { owner, content }
    }

    /// The content and its owner, for a viewer who sees it. To all others it is not there.
    pub(crate) fn open(self, viewer: &Viewer) -> Option<(T, Owner)> {
        viewer.sees(&self.owner).then_some((self.content, self.owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(user: Option<&str>) -> Viewer {
        Viewer::from_field(&user.into_iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_user_sees_their_own_and_a_service_sees_everything() {
        let known = [None, Some("ada"), Some("bob"), Some("Ada"), Some("ad"), Some("adaa"), Some("null")];
        for owner in known {
            for asks in known {
                let expected = asks.is_none() || asks == owner;
                let (seen, made) = (viewer(asks), viewer(owner).owner());
                assert_eq!(seen.sees(&made), expected, "{asks:?} looks at {owner:?}'s");
                assert_eq!(Owned::new(made, ()).open(&seen).is_some(), expected);
            }
        }
    }

    #[test]
    fn what_can_be_no_user_is_nobody() {
        let longest = "u".repeat(USER_BYTES_MAX);
        assert_eq!(viewer(Some(&longest)).owner().user(), Some(&*longest));
        assert_eq!(viewer(Some("!\"\\~")).owner().user(), Some("!\"\\~"));
        let too_long = "u".repeat(USER_BYTES_MAX + 1);
        for value in ["", " ", "a b", "a\t", "a\0", "\u{7f}", "é", &too_long] {
            assert_eq!(Viewer::from_field(&[value]), Err(ViewerError::NotAUser), "{value:?}");
        }
        assert_eq!(Viewer::from_field(&[b"\xff"]), Err(ViewerError::NotAUser));
        assert_eq!(Viewer::from_field(&["a", "a"]), Err(ViewerError::Repeated(2)));
        assert_eq!(Viewer::from_field(&["", ""]), Err(ViewerError::Repeated(2)));
    }

    #[test]
    fn an_owner_is_read_as_it_was_written() {
        for user in ["ada", "\"", "\\u0061", "null", "{}"] {
            let owner = viewer(Some(user)).owner();
            let json = serde_json::to_string(&owner).unwrap();
            assert_eq!(serde_json::from_str::<Owner>(&json).unwrap(), owner, "{json}");
        }
    }
}
