//! Grants that hold for one question to a server: before a tool is accepted, the host has a function list what the server can
//! do, and only what that function does for that very question has the grants that wait.

use http::{HeaderName, HeaderValue};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waggle_engine::CallerFields;
use waggle_tenancy::TenantId;
use waggle_tools::{Grants, Limits};
use waggle_work::WorkId;

/// Names the question, among the fields of whoever calls: the host sets it, and takes off what others call so.
const TRIAL_FIELD: HeaderName = HeaderName::from_static("waggle-tool-trial");
/// Questions at once.
const TRIALS_MAX: usize = 64;

/// A tool that waits, while its server is asked.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) tenant: TenantId,
    pub(crate) name: Arc<str>,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
}

/// The questions under way.
#[derive(Default)]
pub(crate) struct Trials(Mutex<HashMap<String, Arc<Trial>>>);

/// One question. With it the grants are gone.
pub(crate) struct Question {
    trials: Arc<Trials>,
    /// 128 random bits, as a text: nobody else's, and not to be guessed.
    id: String,
}

impl Trials {
    /// Begins a question; none where too many are under way.
    pub(crate) fn begin(self: &Arc<Self>, trial: Trial) -> Option<Question> {
        let mut all = self.lock();
        if all.len() >= TRIALS_MAX {
            return None;
        }
        let id = WorkId::random().to_string();
        all.insert(id.clone(), Arc::new(trial));
        Some(Question { trials: Arc::clone(self), id })
    }

    /// The tool `name` of `tenant`, if what is asked for by `caller` is that question.
    pub(crate) fn of(&self, tenant: &TenantId, name: &str, caller: &CallerFields) -> Option<Arc<Trial>> {
        let (_name, value) = caller.iter().find(|(field, _value)| *field == TRIAL_FIELD)?;
        let trial = self.lock().get(value.to_str().ok()?).cloned()?;
        (trial.tenant == *tenant && *trial.name == *name).then_some(trial)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Trial>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Who asks: a service of the tenant's, with the question's id.
    pub(crate) fn caller(&self) -> CallerFields {
        HeaderValue::from_str(&self.id).map(|id| (TRIAL_FIELD, id)).into_iter().collect()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.trials.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(tenant: &str) -> Trial {
        Trial {
            tenant: tenant.parse().unwrap(),
            name: "weather".into(),
            grants: Grants::default(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn grants_that_wait_hold_for_their_question_only() {
        let trials = Arc::<Trials>::default();
        let question = trials.begin(trial("bank")).unwrap();
        let (bank, shop): (TenantId, TenantId) = ("bank".parse().unwrap(), "shop".parse().unwrap());
        let asked = question.caller();
        assert!(trials.of(&bank, "weather", &asked).is_some());
        assert!(trials.of(&bank, "other", &asked).is_none());
        assert!(trials.of(&shop, "weather", &asked).is_none());
        assert!(trials.of(&bank, "weather", &CallerFields::default()).is_none());
        let guessed: CallerFields =
            [(TRIAL_FIELD, HeaderValue::from_static("work_00"))].into_iter().collect();
        assert!(trials.of(&bank, "weather", &guessed).is_none());
        drop(question);
        assert!(trials.of(&bank, "weather", &asked).is_none());
    }

    #[test]
    fn questions_have_a_bound() {
        let trials = Arc::<Trials>::default();
        let mut held: Vec<_> = (0..TRIALS_MAX).map(|_| trials.begin(trial("bank")).unwrap()).collect();
        assert!(trials.begin(trial("bank")).is_none());
        held.pop();
        assert!(trials.begin(trial("bank")).is_some());
    }
}
