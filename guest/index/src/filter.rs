//! Which groups a search looks at: a filter, checked once and then asked for each group.

use crate::bounds::{self, FILTER_NODES_MAX, invalid};
use crate::{Attributes, Comparison, FilterNode, IndexError, Value};
use std::cmp::Ordering;

/// A filter whose nodes all refer to earlier ones.
#[derive(Debug, Clone)]
pub struct Filter {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Compare { attribute: String, comparison: Comparison, values: Vec<Value> },
    All(Nodes),
    Any(Nodes),
}

/// Which nodes: the bit of each one's place.
type Nodes = u128;

const _: () = assert!(FILTER_NODES_MAX <= Nodes::BITS as usize, "each node needs a bit");

impl Filter {
    /// Checks the nodes of a query.
    ///
    /// # Errors
    /// [`IndexError::Invalid`]: there are too many nodes, one refers to itself or a later one, or a comparison is against
    /// a bound.
    pub fn new(nodes: Vec<FilterNode>) -> Result<Self, IndexError> {
        bounds::filter_nodes(nodes.len())?;
        let checked = nodes.into_iter().enumerate().map(|(place, node)| check(place, node));
        Ok(Self { nodes: checked.collect::<Result<_, _>>()? })
    }

    /// Whether a group with these attributes is looked at.
    pub fn passes(&self, attributes: &Attributes) -> bool {
        let mut passed: Nodes = 0;
        let mut root = true;
        for (place, node) in self.nodes.iter().enumerate() {
            root = match node {
                Node::Compare { attribute, comparison, values } => {
                    compare(attributes, attribute, *comparison, values)
                }
                Node::All(nodes) => passed & nodes == *nodes,
                Node::Any(nodes) => passed & nodes != 0,
            };
            passed |= Nodes::from(root) << place;
        }
        root
    }
}

fn check(place: usize, node: FilterNode) -> Result<Node, IndexError> {
    match node {
        FilterNode::All(nodes) => Ok(Node::All(earlier(place, &nodes)?)),
        FilterNode::Any(nodes) => Ok(Node::Any(earlier(place, &nodes)?)),
        FilterNode::Compare { attribute, comparison, values } => {
            bounds::attribute_name(&attribute)?;
            bounds::filter_values(values.len())?;
            values.iter().try_for_each(bounds::attribute_value)?;
            let takes_many = matches!(comparison, Comparison::OneOf | Comparison::NotOneOf);
            if !takes_many && values.len() != 1 {
                return Err(invalid(format!("node {place} of the filter compares with exactly one value")));
            }
            Ok(Node::Compare { attribute, comparison, values })
        }
    }
}

fn earlier(place: usize, nodes: &[u32]) -> Result<Nodes, IndexError> {
    let mut earlier = 0;
    for node in nodes {
        let node = usize::try_from(*node).ok().filter(|node| *node < place);
        let Some(node) = node else {
            return Err(invalid(format!(
                "node {place} of the filter refers to a node that is not before it"
            )));
        };
        earlier |= 1 << node;
    }
    Ok(earlier)
}

fn compare(attributes: &Attributes, attribute: &str, comparison: Comparison, values: &[Value]) -> bool {
    let found = attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value);
    let any = |is: fn(Ordering) -> bool| {
        found.is_some_and(|found| values.iter().any(|value| order(found, value).is_some_and(is)))
    };
    match comparison {
        Comparison::Equal | Comparison::OneOf => any(Ordering::is_eq),
        Comparison::NotEqual | Comparison::NotOneOf => !any(Ordering::is_eq),
        Comparison::Greater => any(Ordering::is_gt),
        Comparison::GreaterOrEqual => any(Ordering::is_ge),
        Comparison::Less => any(Ordering::is_lt),
        Comparison::LessOrEqual => any(Ordering::is_le),
    }
}

/// Texts by their bytes, numbers by their value, false before true; values of different types have no order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(right),
        (Value::Boolean(left), Value::Boolean(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
