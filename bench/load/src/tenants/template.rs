//! The command that starts the measured program, with places to be filled in.

use std::path::Path;

use anyhow::bail;

/// How the program is started unless the command line says otherwise.
pub(crate) const WAGGLE: &str = "target/release/waggle up --from {manifest} --quiet --listen 127.0.0.1:{port} \
     --tenants {tenants} --state-dir {state} --runtime-config-file {config} --model-endpoint {model_url}/v1";
/// How the simulated model is started.
pub(crate) const MODEL: &str = "target/release/model-sim --listen 127.0.0.1:{port} --recorded-requests-max 0";

/// Words of a command, split at blanks (so no path in it may hold one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    words: Vec<String>,
}

/// What is filled in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) port: u16,
    pub(crate) manifest: &'a Path,
    /// Without tenants the word of `{tenants}` and the flag before it are left out.
    pub(crate) tenants: Option<&'a Path>,
    pub(crate) state: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) model_url: &'a str,
}

const TENANTS: &str = "{tenants}";

impl Template {
    /// Takes a command apart; every name of `needed` must be in it.
    pub(crate) fn parse(text: &str, needed: &[&str]) -> anyhow::Result<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        for name in needed {
            if !words.iter().any(|word| word.contains(name)) {
                bail!("the command `{text}` lacks {name}, which is filled in for each server");
            }
        }
        Ok(Self { words })
    }

    /// The same without a flag that stands alone.
    pub(crate) fn without(&self, flag: &str) -> Self {
        Self { words: self.words.iter().filter(|word| *word != flag).cloned().collect() }
    }

    pub(crate) fn fill(&self, places: Places<'_>) -> Vec<String> {
        let mut filled: Vec<String> = Vec::new();
        for word in &self.words {
            if word.contains(TENANTS) && places.tenants.is_none() {
                if word == TENANTS {
                    filled.pop();
                }
                continue;
            }
            filled.push(replaced(word, places));
        }
        filled
    }
}

fn replaced(word: &str, places: Places<'_>) -> String {
    let path = |path: &Path| path.display().to_string();
    [
        ("{port}", places.port.to_string()),
        ("{manifest}", path(places.manifest)),
        (TENANTS, places.tenants.map(path).unwrap_or_default()),
        ("{state}", path(places.state)),
        ("{config}", path(places.config)),
        ("{model_url}", places.model_url.to_owned()),
    ]
    .iter()
    .fold(word.to_owned(), |word, (place, value)| word.replace(place, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(tenants: Option<&Path>) -> Places<'_> {
        Places {
            port: 81,
            manifest: Path::new("/m"),
            tenants,
            state: Path::new("/s"),
            config: Path::new("/c"),
            model_url: "http://u",
        }
    }

    #[test]
    fn places_are_filled_in_and_absent_tenants_leave_no_flag() {
        fn check(text: &str, tenants: Option<&str>, expected: &str) {
            let filled = Template::parse(text, &[]).unwrap().fill(places(tenants.map(Path::new)));
            assert_eq!(filled.join(" "), expected);
        }
        check(
            "w --listen h:{port} --tenants {tenants} {model_url}/v1",
            Some("/t"),
            "w --listen h:81 --tenants /t http://u/v1",
        );
        check("w --tenants {tenants} --from {manifest}", None, "w --from /m");
        check("w --tenants={tenants} {state} {config}", None, "w /s /c");
        let quiet = Template::parse("w --quiet x", &[]).unwrap().without("--quiet");
        assert_eq!(quiet.fill(places(None)), ["w", "x"]);
    }

    #[test]
    fn a_command_that_lacks_a_place_is_refused() {
        let error = Template::parse("w --from .", &["{port}"]).unwrap_err().to_string();
        assert!(error.contains("lacks {port}"), "{error}");
        assert!(Template::parse(WAGGLE, &["{port}", "{manifest}", TENANTS, "{state}", "{config}"]).is_ok());
        assert!(Template::parse(MODEL, &["{port}"]).is_ok());
    }
}
