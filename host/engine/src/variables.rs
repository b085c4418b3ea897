//! The variables of a component: `spin:variables@3.0.0`, `fermyon:spin/variables@2.0.0` and `wasi:config`.

use crate::bindings::{fermyon, spin, wasi};
use crate::world::FunctionWorld;
use wasmtime::component::{Accessor, HasData};

pub(crate) struct VariablesView<'a>(pub(crate) &'a FunctionWorld);

pub(crate) struct Variables;

impl HasData for Variables {
    type Data<'a> = VariablesView<'a>;
}

/// Why a name has no value.
enum Missing {
    Invalid(String),
    Undefined(String),
}

impl VariablesView<'_> {
    fn lookup(&self, name: &str) -> Result<String, Missing> {
        if let Some(value) = self.0.variables.get(name) {
            return Ok(value.clone());
        }
        if is_valid_name(name) {
            return Err(Missing::Undefined(format!("the component has no variable `{name}`")));
        }
        Err(Missing::Invalid(
            "a variable's name has lower-case letters, digits and single underscores, and begins with a letter"
                .into(),
        ))
    }
}

/// Spin's rule for names of variables.
fn is_valid_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

impl fermyon::spin::variables::Host for VariablesView<'_> {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<String, fermyon::spin::variables::Error>> {
        use fermyon::spin::variables::Error;
        Ok(self.lookup(&name).map_err(|missing| match missing {
            Missing::Invalid(why) => Error::InvalidName(why),
            Missing::Undefined(why) => Error::Undefined(why),
        }))
    }
}

impl spin::variables::variables::Host for VariablesView<'_> {}

impl<T: Send> spin::variables::variables::HostWithStore<T> for Variables {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, spin::variables::variables::Error>> {
        use spin::variables::variables::Error;
        let found = accessor.with(|mut access| access.get().lookup(&name));
        Ok(found.map_err(|missing| match missing {
            Missing::Invalid(why) => Error::InvalidName(why),
            Missing::Undefined(why) => Error::Undefined(why),
        }))
    }
}

impl wasi::config::store::Host for VariablesView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, wasi::config::store::Error>> {
        Ok(Ok(self.0.variables.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, wasi::config::store::Error>> {
        Ok(Ok(self.0.variables.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_spins_rule() {
        let check = |name: &str, valid: bool| assert_eq!(is_valid_name(name), valid, "{name}");
        check("model", true);
        check("model_path2", true);
        check("Model", false);
        check("2model", false);
        check("model__path", false);
        check("model_", false);
        check("", false);
    }
}
