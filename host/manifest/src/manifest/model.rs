//! What a valid manifest says. Plain data; every value that can turn out wrong later keeps its place in the file.

use std::collections::BTreeMap;

use crate::located::Located;
use crate::outbound::OutboundHost;
use crate::routes::RoutePattern;
use crate::template::Template;

/// `[application]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// The application's name; never empty.
    pub name: String,
    /// The application's version, as written.
    pub version: Option<String>,
    /// What the application is for.
    pub description: Option<String>,
    /// Who wrote it.
    pub authors: Vec<String>,
}

/// An entry of `[variables]`: a value that is given when the application starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name, in `lower_snake_case`.
    pub name: Located<String>,
    /// What the variable is for.
    pub description: Option<String>,
    /// Its value if none is given; without one, the variable is required.
    pub default: Option<String>,
    /// True if the value must never be shown.
    pub is_secret: bool,
}

/// `[[trigger.http]]`: a route and the component that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTrigger {
    /// The trigger's name; made up as Spin does if the manifest gives none.
    pub id: String,
    /// Where requests come from.
    pub route: Located<Route>,
    /// The id of the component; it exists in the manifest.
    pub component: Located<String>,
}

/// Where a trigger's requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// From clients, by path.
    Public(RoutePattern),
    /// `route = { private = true }`: only from other functions, as `http://NAME.spin.internal`.
    Private,
}

/// `[component.NAME]`, or a component written inside a trigger. What the chosen profile overrides is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The component's name, in `kebab-case`; made up as Spin does if it was written inside a trigger.
    pub id: Located<String>,
    /// The WebAssembly file: a path relative to the manifest's folder, or an absolute one.
    pub source: Located<String>,
    /// What the component is for.
    pub description: Option<String>,
    /// Environment variables of the component.
    pub environment: BTreeMap<String, String>,
    /// Files the component may read.
    pub files: Vec<Located<FileMount>>,
    /// Globs, relative to the manifest's folder, of files that stay out although `files` names them.
    pub exclude_files: Vec<Located<String>>,
    /// The stores the component may open.
    pub key_value_stores: Vec<Located<String>>,
    /// The component's variables in the order of the file: names in `lower_snake_case`, values as templates.
    pub variables: Vec<(Located<String>, Located<Template>)>,
    /// Where the component may send requests.
    pub allowed_outbound_hosts: Vec<Located<AllowedHost>>,
    /// How the component is built from its source code.
    pub build: Option<Build>,
    /// The components that Spin composes it with. This host offers what they are for itself.
    pub dependencies: Vec<Located<String>>,
}

/// An entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMount {
    /// A glob or path relative to the manifest's folder; what it names, a folder with everything in it, appears under
    /// the same path below `/`.
    Pattern(String),
    /// A file or folder that appears elsewhere.
    Placement {
        /// The file or folder, relative to the manifest's folder.
        source: String,
        /// Its path in the component, always beginning with `/`.
        destination: String,
    },
}

/// An entry of `allowed_outbound_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// Without variables, so it is known already.
    Literal(OutboundHost),
    /// Known when the variables are.
    Template(Template),
}

/// `[component.NAME.build]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Shell commands to run one after the other; at least one.
    pub commands: Vec<String>,
    /// The folder to run them in, relative to the manifest's folder; the manifest's folder itself if absent.
    pub workdir: Option<Located<String>>,
    /// Globs, relative to the working folder, of the files that the result depends on.
    pub watch: Vec<String>,
}
