//! The tools of each tenant: what they are, what each may reach and use up, and which version of them is accepted.
//!
//! [`Registry`] is the only writer of these records, which lie in the tenant's own part of a store that several hosts may
//! share; each host follows what the others write. What runs tools and carries their calls asks [`Registry::of`] for the
//! tenant's [`Snapshot`]: the tools that are accepted and enabled, and nothing else. A version that nobody has accepted is
//! in no snapshot. Nothing here runs a tool, opens a socket or holds a secret.

mod check;
mod difference;
mod digest;
mod grants;
mod head;
pub mod import;
mod keys;
pub mod layout;
mod limits;
mod new_tool;
mod registry;
mod snapshot;
mod tool;

pub use check::{Mistake, check_name};
pub use difference::differences;
pub use digest::{Digest, DigestError};
pub use grants::{Grants, Origin, OriginError};
pub use keys::{Listed, MemoryToolKeys, StoreFailure, ToolKeys};
pub use limits::Limits;
pub use new_tool::{NewTool, Override};
pub use registry::{
    COMPONENT_BYTES_MAX, COMPONENTS_MAX, Component, Registry, RegistryError, TOOLS_MAX, ToolSource, Unlisted,
};
pub use snapshot::{AcceptedTool, Snapshot};
pub use tool::{Changed, Function, Kind, Pending, Place, Placed, RequestTemplate, Tool, Version};

/// The name under which the built-in tools stand together; no tool of a registry has it.
pub const BUILT_IN_NAME: &str = "waggle";
