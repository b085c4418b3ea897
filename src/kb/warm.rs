//! `waggle kb warm`

use super::{Command, shown};
use crate::progress::Bar;
use crate::screen;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use waggle_knowledge::{Asking, FREQUENT_MAX, Warmed, questions_of};

/// The longest file of questions, in bytes.
const QUESTIONS_BYTES_MAX: u64 = 8 << 20;
/// As what a file standard input is named.
const STANDARD_INPUT: &str = "-";

#[derive(Args)]
pub(super) struct Warm {
    /// How many of the questions that users ask most
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(FREQUENT_MAX))
    )]
    top: u32,
    /// These questions instead: a file with one a line; `-` stands for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "top")]
    questions: Option<PathBuf>,
    /// The model that clients name [default: none, which is the tenant's]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The instructions that clients send [default: none, which are the tenant's]
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
}

impl Command {
    pub(super) async fn warm(&self, wishes: Warm) -> Result<ExitCode> {
        let Warm { top, questions, model, instructions } = wishes;
        let questions = match questions {
            Some(path) => questions_of(&read(&path)?)?,
            None => {
                let frequent = self.server.frequent_questions(top).await?;
                frequent.into_iter().map(|frequent| frequent.question).collect()
            }
        };
        if questions.is_empty() {
            screen::print(
                "There is nothing to ask: what users ask is counted while the variable `answer_cache` is `on`.",
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut stores = Vec::with_capacity(self.stores.len());
        for name in &self.stores {
            stores.push(self.server.store(name).await?.id);
        }
        let asking = Asking { stores, model, instructions };
        let count = questions.len();
        let bar = Bar::new();
        let watch = |done: usize| bar.step(done, count, format!("{done}/{count} asked"));
        let warmed = self.server.warm(&questions, &asking, &watch).await;
        bar.end();
        let warmed = warmed?;
        screen::print(&describe(&warmed))?;
        for failed in &warmed.failed {
            screen::complain(&format!("{}: {}", shown(&failed.question), shown(&failed.reason)));
        }
        Ok(if warmed.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The text of a file, or of standard input.
fn read(path: &Path) -> Result<String> {
    let (name, unreadable) = (path.display(), || format!("{} cannot be read", path.display()));
    let source: Box<dyn Read> = if path == Path::new(STANDARD_INPUT) {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).with_context(unreadable)?)
    };
    let mut text = String::new();
    source.take(QUESTIONS_BYTES_MAX + 1).read_to_string(&mut text).with_context(unreadable)?;
    if text.len() as u64 > QUESTIONS_BYTES_MAX {
        bail!("{name} is longer than {QUESTIONS_BYTES_MAX} bytes; ask fewer questions at once");
    }
    Ok(text)
}

fn describe(warmed: &Warmed) -> String {
    let Warmed { answered, there, unanswered, unkept, failed } = warmed;
    let failed = failed.len();
    let mut out = format!(
        "warmed: {answered} answered now, {there} were there, {unanswered} without an answer, {failed} failed\n"
    );
    if *unkept > 0 {
        let _ = writeln!(
            out,
            "{unkept} were answered by what is never kept: it cites nothing, or is in the words of its sources. Are these \
             the vector stores? Without --store they are those of the variable `knowledge`."
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_knowledge::FailedQuestion;

    #[test]
    fn what_has_become_of_the_questions_is_told_in_a_line() {
        let failed = FailedQuestion { question: "q".to_owned(), reason: "r".to_owned() };
        let mut warmed = Warmed { answered: 12, there: 5, unanswered: 1, unkept: 0, failed: vec![failed] };
        let line = "warmed: 12 answered now, 5 were there, 1 without an answer, 1 failed\n";
        assert_eq!(describe(&warmed), line);
        warmed.unkept = 2;
        let described = describe(&warmed);
        assert!(
            described.starts_with(line) && described.contains("\n2 were answered by what"),
            "{described}"
        );
    }

    #[test]
    fn questions_are_read_from_a_file_that_is_not_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.txt");
        std::fs::write(&path, "How much?\n").unwrap();
        assert_eq!(read(&path).unwrap(), "How much?\n");
        let file = File::create(&path).unwrap();
        file.set_len(QUESTIONS_BYTES_MAX + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than"));
        let absent = read(&folder.path().join("absent")).unwrap_err();
        assert!(absent.to_string().contains("absent cannot be read"), "{absent}");
    }
}
