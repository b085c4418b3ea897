//! Which groups a filter lets pass; pure.

use crate::{Attribute, Compare, Comparison, FilterNode, Value};
use std::cmp::Ordering;

/// Whether a group with these attributes passes. `nodes` is a filter that was checked: nodes refer to earlier ones only.
#[must_use]
pub fn passes(nodes: &[FilterNode], attributes: &[Attribute]) -> bool {
    let mut passed: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let at = |place: &u32| passed.get(*place as usize).copied().unwrap_or_default();
        let passes = match node {
            FilterNode::Compare(compare) => compares(compare, attributes),
            FilterNode::All(places) => places.iter().all(at),
            FilterNode::Any(places) => places.iter().any(at),
        };
        passed.push(passes);
    }
    passed.last().copied().unwrap_or(true)
}

fn compares(compare: &Compare, attributes: &[Attribute]) -> bool {
    let attribute = attributes.iter().find(|attribute| attribute.name == compare.attribute);
    let Some(Attribute { value, .. }) = attribute else {
        return matches!(compare.comparison, Comparison::NotEqual | Comparison::NotOneOf);
    };
    let is_one_of = || compare.values.iter().any(|other| order(value, other) == Some(Ordering::Equal));
    let ordered = compare.values.first().and_then(|other| order(value, other));
    match compare.comparison {
        Comparison::Equal | Comparison::OneOf => is_one_of(),
        Comparison::NotEqual | Comparison::NotOneOf => !is_one_of(),
        Comparison::Greater => ordered.is_some_and(Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered.is_some_and(Ordering::is_ge),
        Comparison::Less => ordered.is_some_and(Ordering::is_lt),
        Comparison::LessOrEqual => ordered.is_some_and(Ordering::is_le),
    }
}

/// None for values of different types, and for what is no number.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
        (Value::Number(one), Value::Number(other)) => one.partial_cmp(other),
        (Value::Boolean(one), Value::Boolean(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Comparison; 8] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::OneOf,
        Comparison::NotOneOf,
    ];

    fn compare(comparison: Comparison, values: Vec<Value>) -> FilterNode {
        FilterNode::Compare(Compare { attribute: "a".into(), comparison, values })
    }

    fn group(value: Value) -> Vec<Attribute> {
        let other = Attribute { name: "b".into(), value: Value::Number(7.0) };
        vec![other, Attribute { name: "a".into(), value }]
    }

    #[test]
    fn each_comparison_passes_what_it_says() {
        let check = |value: Value, other: Value, expected: &[Comparison]| {
            for comparison in ALL {
                let node = compare(comparison, vec![other.clone()]);
                let passed = passes(&[node], &group(value.clone()));
                assert_eq!(passed, expected.contains(&comparison), "{value:?} {comparison:?} {other:?}");
            }
        };
        let text = |text: &str| Value::Text(text.into());
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, NotOneOf, OneOf};
        check(text("b"), text("b"), &[Equal, GreaterOrEqual, LessOrEqual, OneOf]);
        check(text("b"), text("a"), &[NotEqual, Greater, GreaterOrEqual, NotOneOf]);
        check(Value::Number(1.0), Value::Number(2.0), &[NotEqual, Less, LessOrEqual, NotOneOf]);
        check(Value::Number(0.0), Value::Number(-0.0), &[Equal, GreaterOrEqual, LessOrEqual, OneOf]);
        check(Value::Boolean(true), Value::Boolean(false), &[NotEqual, Greater, GreaterOrEqual, NotOneOf]);
        check(text("1"), Value::Number(1.0), &[NotEqual, NotOneOf]);
        check(Value::Number(f64::NAN), Value::Number(f64::NAN), &[NotEqual, NotOneOf]);
    }

    #[test]
    fn a_group_without_the_attribute_passes_what_excludes_only() {
        for comparison in ALL {
            let node = compare(comparison, vec![Value::Boolean(true)]);
            let excludes = matches!(comparison, Comparison::NotEqual | Comparison::NotOneOf);
            assert_eq!(passes(&[node], &[]), excludes, "{comparison:?}");
        }
    }

    #[test]
    fn no_filter_passes_everything_and_empty_nodes_what_logic_says() {
        assert!(passes(&[], &[]));
        assert!(passes(&[FilterNode::All(vec![])], &[]));
        assert!(!passes(&[FilterNode::Any(vec![])], &[]));
    }

    fn nodes() -> impl Strategy<Value = Vec<FilterNode>> {
        let leaf = (0..ALL.len(), prop::collection::vec(0_i32..4, 1..3)).prop_map(|(which, numbers)| {
            let values = numbers.into_iter().map(|number| Value::Number(number.into())).collect();
            compare(ALL[which], values)
        });
        let node = prop_oneof![
            leaf,
            prop::collection::vec(any::<u32>(), 0..4).prop_map(FilterNode::All),
            prop::collection::vec(any::<u32>(), 0..4).prop_map(FilterNode::Any),
        ];
        prop::collection::vec(node, 1..12).prop_map(|mut nodes| {
            for (place, node) in nodes.iter_mut().enumerate() {
                if let FilterNode::All(places) | FilterNode::Any(places) = node {
                    let place = u32::try_from(place).unwrap();
                    places.retain_mut(|other| {
                        *other = other.checked_rem(place).unwrap_or_default();
                        place > 0
                    });
                }
            }
            nodes
        })
    }

    /// The same by recursion from the root, as one would write it down.
    fn by_recursion(nodes: &[FilterNode], at: usize, value: f64) -> bool {
        match &nodes[at] {
            FilterNode::All(places) => places.iter().all(|place| by_recursion(nodes, *place as usize, value)),
            FilterNode::Any(places) => places.iter().any(|place| by_recursion(nodes, *place as usize, value)),
            FilterNode::Compare(Compare { comparison, values, .. }) => {
                let numbers: Vec<f64> = values
                    .iter()
                    .filter_map(|other| if let Value::Number(number) = other { Some(*number) } else { None })
                    .collect();
                match comparison {
                    Comparison::Equal | Comparison::OneOf => numbers.contains(&value),
                    Comparison::NotEqual | Comparison::NotOneOf => !numbers.contains(&value),
                    Comparison::Greater => value > numbers[0],
                    Comparison::GreaterOrEqual => value >= numbers[0],
                    Comparison::Less => value < numbers[0],
                    Comparison::LessOrEqual => value <= numbers[0],
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_filter_means_what_its_tree_means(nodes in nodes(), value in 0_i32..4) {
            let value = f64::from(value);
            let expected = by_recursion(&nodes, nodes.len() - 1, value);
            prop_assert_eq!(passes(&nodes, &group(Value::Number(value))), expected);
        }
    }
}
