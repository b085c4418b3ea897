//! A component, compiled and linked, of which it is known how its functions are called.

use crate::bindings::ToolComponentPre;
use crate::error::ComponentError;
use crate::imports::Imports;
use crate::reflect::{LeftOut, PlainFunction, reflect};
use crate::state::CallState;
use std::collections::HashMap;
use wasmtime::component::{Component, InstancePre, Linker};

/// How the exported interface begins that makes a component a tool by itself.
const TOOL_INTERFACE: &str = "waggle:tool/tool@";

/// How a component is a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It exports `waggle:tool/tool@0.1.x`.
    Tool,
    /// It exports functions, which are tools by their types.
    Plain,
}

/// A component that can be called.
pub struct Prepared {
    pub(crate) kind: Kind,
    pub(crate) imports: Imports,
    digest: String,
    compiled_bytes: usize,
}

/// How its functions are called.
pub(crate) enum Kind {
    Tool(ToolComponentPre<CallState>),
    Plain(PlainComponent),
}

/// A component whose functions are tools by their types.
pub(crate) struct PlainComponent {
    pub(crate) pre: InstancePre<CallState>,
    /// In the order of its exports.
    pub(crate) functions: Vec<PlainFunction>,
    pub(crate) left_out: Vec<LeftOut>,
    by_name: HashMap<String, usize>,
}

impl PlainComponent {
    pub(crate) fn function(&self, name: &str) -> Option<&PlainFunction> {
        self.functions.get(*self.by_name.get(name)?)
    }
}

impl Prepared {
    /// Links a compiled component.
    pub(crate) fn link(
        linker: &Linker<CallState>,
        component: &Component,
        digest: String,
    ) -> Result<Self, ComponentError> {
        let imports = Imports::of(component);
        if !imports.refused.is_empty() {
            return Err(ComponentError::Imports { imports: imports.refused });
        }
        let link_error = |error: wasmtime::Error| ComponentError::Link(format!("{error:#}"));
        let pre = linker.instantiate_pre(component).map_err(link_error)?;
        let kind = match tool_interface(component) {
            Some(interface) => Kind::Tool(ToolComponentPre::new(pre).map_err(|error| {
                ComponentError::Link(format!(
                    "it exports `{interface}`, which is not the waggle:tool/tool@0.1.x of this host: {error:#}"
                ))
            })?),
            None => Kind::Plain(plain(component, pre, imports.outbound() || imports.key_value())?),
        };
        let code = component.image_range();
        let compiled_bytes = (code.end as usize).saturating_sub(code.start as usize);
        Ok(Self { kind, imports, digest, compiled_bytes })
    }

    /// How it is a tool.
    #[must_use]
    pub fn style(&self) -> Style {
        match self.kind {
            Kind::Tool(_) => Style::Tool,
            Kind::Plain(_) => Style::Plain,
        }
    }

    /// `sha256:` and 64 hexadecimal digits, of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its machine code, bytes.
    #[must_use]
    pub fn compiled_bytes(&self) -> usize {
        self.compiled_bytes
    }
}

fn tool_interface(component: &Component) -> Option<String> {
    let kind = component.component_type();
    let mut names = kind.exports(component.engine()).map(|(name, _item)| name);
    names.find(|name| name.starts_with(TOOL_INTERFACE)).map(str::to_owned)
}

fn plain(
    component: &Component,
    pre: InstancePre<CallState>,
    changes: bool,
) -> Result<PlainComponent, ComponentError> {
    let (functions, left_out) = reflect(component, changes);
    if functions.is_empty() {
        return Err(ComponentError::NothingUsable { exports: left_out });
    }
    let name = |(index, function): (usize, &PlainFunction)| (function.description.name.clone(), index);
    let by_name = functions.iter().enumerate().map(name).collect();
    Ok(PlainComponent { pre, functions, left_out, by_name })
}
