//! How many files, and so connections, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit is too low and may not be raised.
#[derive(Debug, thiserror::Error)]
#[error(
    "this needs {needed} open files, but the process may have {allowed}: run `ulimit -n {needed}` in the shell before it \
     (as root, or raise `nofile` in /etc/security/limits.conf), and give the server as many"
)]
pub struct TooFewFiles {
    needed: u64,
    allowed: u64,
}

/// Raises the limit of open files to `needed`, if it is lower.
///
/// # Errors
/// A limit that this process may not raise.
pub(crate) fn allow_files(needed: u64) -> Result<(), TooFewFiles> {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |bound: Option<u64>| bound.is_none_or(|bound| bound >= needed);
    if is_enough(limit.current) {
        return Ok(());
    }
    // Without privileges the limit can be raised only to the maximum.
    let maximum = if is_enough(limit.maximum) { limit.maximum } else { Some(needed) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|_| TooFewFiles { needed, allowed: limit.maximum.or(limit.current).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_all_bounds_is_refused_with_what_to_do() {
        allow_files(8).unwrap();
        let error = allow_files(u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("run `ulimit -n 9223372036854775807`"), "{error}");
    }
}
