//! What is to be done for a file, by what the vector store holds already. Pure.

use crate::Member;

/// How far a file is already there, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum There {
    /// It is found.
    Whole,
    /// It is being taken in, by this id.
    Coming(String),
    /// It is not.
    Not,
}

/// What is to be done for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) there: There,
    /// Other versions, which go once this one is found.
    pub(crate) stale: Vec<String>,
}

/// What is to be done for the file that is called `label` and whose content hashes to `hash`.
pub(crate) fn plan(label: &str, hash: &str, members: &[Member]) -> Plan {
    let versions = || members.iter().filter(move |member| member.path() == Some(label));
    let same = |status: &'static str| {
        versions().find(move |member| member.hash() == Some(hash) && member.status == status)
    };
    let (there, kept) = match (same("completed"), same("in_progress")) {
        (Some(member), _) => (There::Whole, Some(&member.id)),
        (None, Some(member)) => (There::Coming(member.id.clone()), Some(&member.id)),
        (None, None) => (There::Not, None),
    };
    let stale = versions().map(|member| &member.id).filter(|id| Some(*id) != kept).cloned().collect();
    Plan { there, stale }
}

/// Whether a file is what somebody means who names `name`: it itself, or a folder it is in.
pub(crate) fn is_meant(path: &str, name: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn member(id: &str, path: &str, hash: &str, status: &str) -> Member {
        let attributes = json!({"path": path, "content_hash": hash});
        serde_json::from_value(json!({"id": id, "status": status, "attributes": attributes})).unwrap()
    }

    #[test]
    fn a_file_is_sent_when_its_content_is_not_there() {
        let check = |members: &[Member], there: There, stale: &[&str]| {
            let expected = Plan { there, stale: stale.iter().map(|id| (*id).to_owned()).collect() };
            assert_eq!(plan("a.md", "new", members), expected, "{members:?}");
        };
        let foreign: Member = serde_json::from_value(json!({"id": "0", "status": "completed"})).unwrap();
        check(&[], There::Not, &[]);
        check(&[foreign, member("1", "b.md", "new", "completed")], There::Not, &[]);
        check(&[member("1", "a.md", "new", "completed")], There::Whole, &[]);
        check(&[member("1", "a.md", "new", "in_progress")], There::Coming("1".to_owned()), &[]);
        check(&[member("1", "a.md", "new", "failed")], There::Not, &["1"]);
        check(&[member("1", "a.md", "old", "completed")], There::Not, &["1"]);
        check(
            &[member("1", "a.md", "old", "completed"), member("2", "a.md", "new", "completed")],
            There::Whole,
            &["1"],
        );
        check(
            &[member("1", "a.md", "new", "in_progress"), member("2", "a.md", "new", "completed")],
            There::Whole,
            &["1"],
        );
    }

    #[test]
    fn a_name_means_a_file_or_all_of_a_folder() {
        for (path, name, expected) in [
            ("docs/a.md", "docs/a.md", true),
            ("docs/a.md", "docs", true),
            ("docs/a.md", "./docs/", true),
            ("docs/a.md", "doc", false),
            ("docs/a.md", "docs/a", false),
            ("docs/a.md", "a.md", false),
        ] {
            assert_eq!(is_meant(path, name), expected, "{path} {name}");
        }
    }
}
