//! Where a turn is looked up, and who answers from what is found.

use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::settings::variable;
use waggle_openai::file_search::{FileSearch, VECTOR_STORES_MAX};
use waggle_openai::parameters::Parameters;

/// The variable with the vector stores that every turn is answered from which names none.
const KNOWLEDGE_VARIABLE: &str = "knowledge";
/// The variable that says who answers: `model` (the default) or `extractive`.
const ANSWERS_VARIABLE: &str = "answers";

/// The vector stores a turn is to be answered from.
#[derive(Debug)]
pub(crate) enum Stores<'a> {
    /// Those of the request's tool.
    Tool(&'a FileSearch),
    /// Those that the tenant answers every turn from.
    Tenant(Vec<String>),
}

impl<'a> Stores<'a> {
    /// Those of a turn; `None` where it is answered from none.
    ///
    /// # Errors
    /// The variable cannot be read, or is no list; the log says what is wrong with it.
    pub(crate) async fn of<P: Platform>(
        platform: &P,
        parameters: &'a Parameters,
    ) -> Result<Option<Self>, Problem> {
        if !parameters.may_search() {
            return Ok(None);
        }
        if let Some(search) = &parameters.file_search {
            return Ok(Some(Self::Tool(search)));
        }
        let Some(text) = variable(platform, KNOWLEDGE_VARIABLE).await? else { return Ok(None) };
        let ids = list(&text).map_err(|reason| {
            internal(format!("the variable '{KNOWLEDGE_VARIABLE}' cannot be used: {reason}"))
        })?;
        Ok((!ids.is_empty()).then_some(Self::Tenant(ids)))
    }

    /// Their ids.
    pub(crate) fn ids(&self) -> &[String] {
        match self {
            Self::Tool(search) => &search.vector_store_ids,
            Self::Tenant(ids) => ids,
        }
    }

    /// The tool that names them.
    pub(crate) fn tool(&self) -> Option<&FileSearch> {
        match self {
            Self::Tool(search) => Some(search),
            Self::Tenant(_) => None,
        }
    }
}

/// Reads ids that are separated by commas, or are the strings of a JSON array.
fn list(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    let ids: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|error| format!("it is no list of strings: {error}"))?
    } else {
        text.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect()
    };
    if ids.len() > VECTOR_STORES_MAX {
        return Err(format!(
            "it names {} vector stores; at most {VECTOR_STORES_MAX} are searched",
            ids.len()
        ));
    }
    if let Some(other) = ids.iter().find(|id| !id.starts_with("vs_")) {
        return Err(format!("'{other}' is no id of a vector store: those begin with vs_"));
    }
    Ok(ids)
}

/// Whether what is found is the answer itself, in its own words, and no model is asked.
///
/// # Errors
/// The variable cannot be read, or is neither of the two words.
pub(crate) async fn answers_itself<P: Platform>(platform: &P) -> Result<bool, Problem> {
    match variable(platform, ANSWERS_VARIABLE).await?.as_deref().map(str::trim) {
        None | Some("" | "model") => Ok(false),
        Some("extractive") => Ok(true),
        Some(other) => {
            let told =
                format!("the variable '{ANSWERS_VARIABLE}' must be 'model' or 'extractive', not '{other}'");
            Err(internal(told))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(list(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn the_tenants_stores_are_a_list_by_commas_or_in_json() {
        check("", &[]);
        check(" , ", &[]);
        check("[]", &[]);
        check("vs_1", &["vs_1"]);
        check(" vs_1 ,vs_2,", &["vs_1", "vs_2"]);
        check(r#" ["vs_1", "vs_2"] "#, &["vs_1", "vs_2"]);
        for wrong in ["[", "[1]", "{}", "store", r#"["file_1"]"#, &"vs_1,".repeat(17)] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}
