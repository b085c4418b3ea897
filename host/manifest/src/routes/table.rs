//! The table of all public routes: a tree of segments in which a lookup allocates nothing but captured parameters.

use std::collections::HashMap;

use super::{Piece, RoutePattern, Segment};

/// More parameters than this in one route are possible, but cost an allocation that grows.
const PARAMETERS_USUAL: usize = 4;

/// Finds the route that serves a path.
///
/// As in Spin, a literal segment beats one with a parameter, which beats a wildcard, decided from the left; so the
/// longest fitting route wins, and an exact one beats the wildcard at the same place. Slashes at either end of a path
/// have no meaning, and paths are compared as they arrive, without decoding percents. Two differences from Spin: a
/// parameter never captures an empty text, and the order among routes that mix text and parameters in one segment
/// (`/:name.json`) is the one said here, where Spin's depends on how the other routes happen to be sorted.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    root: Node,
}

#[derive(Clone, Debug)]
struct Route {
    pattern: RoutePattern,
    component: String,
}

/// All routes that share a beginning. Numbers are places in `RouteTable::routes`.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    /// Most specific first; tried in order.
    mixed: Vec<(Vec<Piece>, Node)>,
    parameter: Option<Box<Node>>,
    exact: Option<usize>,
    wildcard: Option<usize>,
}

/// The route that serves a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch<'t, 'p> {
    /// Which of [`RouteTable::routes`] it is; none for a call that names its function.
    pub number: Option<usize>,
    /// The component that serves it.
    pub component: &'t str,
    /// The matched route in Spin's notation, as `spin-matched-route` gives it, such as `/users/:id/...`.
    pub matched_route: &'t str,
    /// The route as written in the manifest, as `spin-raw-component-route` gives it.
    pub raw_route: &'t str,
    /// The route without its wildcard, as `spin-component-route` gives it.
    pub component_route: &'t str,
    /// What the wildcard took, as `spin-path-info` gives it: empty or beginning with `/`, and ending with `/` if the
    /// path does. Empty for a route without wildcard.
    pub path_info: &'p str,
    /// What each `:name` took, in the order of the route.
    pub parameters: Vec<(&'t str, &'p str)>,
}

impl RouteTable {
    /// Builds the table from routes and the components that serve them. Of two routes of one shape, the later wins,
    /// as in Spin; a [`crate::Manifest`] never holds two such.
    pub fn new(routes: impl IntoIterator<Item = (RoutePattern, String)>) -> Self {
        let mut table = Self::default();
        for (pattern, component) in routes {
            let number = table.routes.len();
            table.root.insert(&pattern.segments, pattern.is_wildcard, number);
            table.routes.push(Route { pattern, component });
        }
        table
    }

    /// The routes with their components, in the order given.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = (&RoutePattern, &str)> {
        self.routes.iter().map(|route| (&route.pattern, route.component.as_str()))
    }

    /// The route that serves `path`, the path part of a request's target: without query, beginning with `/`. Anything
    /// else, such as the `*` of `OPTIONS *`, matches nothing.
    pub fn lookup<'t, 'p>(&'t self, path: &'p str) -> Option<RouteMatch<'t, 'p>> {
        if !path.starts_with('/') {
            return None;
        }
        let inner = path.trim_matches('/');
        let mut captures = Captures::default();
        let (number, rest) = self.root.find(Some(inner).filter(|inner| !inner.is_empty()), &mut captures)?;
        let route = self.routes.get(number)?;
        let pattern = &route.pattern;
        Some(RouteMatch {
            number: Some(number),
            component: &route.component,
            matched_route: pattern.as_str(),
            raw_route: pattern.raw(),
            component_route: pattern.prefix(),
            path_info: if pattern.is_wildcard { path_info(path, rest) } else { "" },
            parameters: pattern.parameter_names().zip(captures.values).collect(),
        })
    }
}

/// The texts captured on the way down; cut back when a branch turns out wrong.
#[derive(Default)]
struct Captures<'p> {
    values: Vec<&'p str>,
}

impl<'p> Captures<'p> {
    fn push(&mut self, value: &'p str) {
        if self.values.is_empty() {
            self.values.reserve(PARAMETERS_USUAL);
        }
        self.values.push(value);
    }
}

/// The end of `path` that a wildcard took: `rest` with the `/` before it and at most one `/` after it.
fn path_info<'p>(path: &'p str, rest: Option<&str>) -> &'p str {
    let trimmed = path.trim_end_matches('/');
    let slash_after = usize::from(trimmed.len() < path.len());
    let start = match rest {
        // `rest` is the end of `trimmed`, and a `/` stands before it.
        Some(rest) => trimmed.len().saturating_sub(rest.len() + 1),
        None => trimmed.len(),
    };
    path.get(start..trimmed.len() + slash_after).unwrap_or("")
}

impl Node {
    fn insert(&mut self, segments: &[Segment], is_wildcard: bool, number: usize) {
        let Some((first, others)) = segments.split_first() else {
            *(if is_wildcard { &mut self.wildcard } else { &mut self.exact }) = Some(number);
            return;
        };
        let child = match first {
            Segment::Literal(text) => self.literals.entry(text.clone()).or_default(),
            Segment::Parameter(_) => self.parameter.get_or_insert_default(),
            Segment::Mixed(pieces) => self.mixed_child(pieces),
        };
        child.insert(others, is_wildcard, number);
    }

    /// The branch for segments that look like `pieces`, whatever its parameters are called.
    fn mixed_child(&mut self, pieces: &[Piece]) -> &mut Node {
        let place = match self.mixed.iter().position(|(other, _)| same_shape(other, pieces)) {
            Some(place) => place,
            None => {
                let place = self.mixed.partition_point(|(other, _)| rank(other) <= rank(pieces));
                self.mixed.insert(place, (pieces.to_vec(), Node::default()));
                place
            }
        };
        &mut self.mixed[place].1
    }

    /// The best route below this node for `path`, which has no outer slashes (`None`: nothing is left), and what its
    /// wildcard took.
    fn find<'p>(
        &self,
        path: Option<&'p str>,
        captures: &mut Captures<'p>,
    ) -> Option<(usize, Option<&'p str>)> {
        let Some(text) = path else {
            return self.exact.or(self.wildcard).map(|number| (number, None));
        };
        let (segment, rest) = match text.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (text, None),
        };
        let depth = captures.values.len();
        if let Some(found) = self.literals.get(segment).and_then(|child| child.find(rest, captures)) {
            return Some(found);
        }
        for (pieces, child) in &self.mixed {
            captures.values.truncate(depth);
            if capture_pieces(pieces, segment, captures)
                && let Some(found) = child.find(rest, captures)
            {
                return Some(found);
            }
        }
        captures.values.truncate(depth);
        if let Some(child) = self.parameter.as_ref().filter(|_| !segment.is_empty()) {
            captures.push(segment);
            if let Some(found) = child.find(rest, captures) {
                return Some(found);
            }
            captures.values.truncate(depth);
        }
        self.wildcard.map(|number| (number, Some(text)))
    }
}

/// Smaller ranks are tried first: a segment that begins with text, then the one with more dots, then the one with
/// fewer parameters.
fn rank(pieces: &[Piece]) -> (bool, usize, usize) {
    let dots = pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => text.matches('.').count(),
        Piece::Parameter(_) => 0,
    });
    let dots: usize = dots.sum();
    let parameters = pieces.iter().filter(|piece| matches!(piece, Piece::Parameter(_))).count();
    (matches!(pieces.first(), Some(Piece::Parameter(_))), usize::MAX - dots, parameters)
}

fn same_shape(one: &[Piece], other: &[Piece]) -> bool {
    let same = |(a, b): (&Piece, &Piece)| match (a, b) {
        (Piece::Literal(a), Piece::Literal(b)) => a == b,
        (a, b) => matches!((a, b), (Piece::Parameter(_), Piece::Parameter(_))),
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Matches one segment against text and parameters joined by dots.
fn capture_pieces<'p>(pieces: &[Piece], segment: &'p str, captures: &mut Captures<'p>) -> bool {
    let mut text = segment;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => match text.strip_prefix(literal.as_str()) {
                Some(rest) => text = rest,
                None => return false,
            },
            Piece::Parameter(_) => {
                let is_last = index + 1 == pieces.len();
                let end = if is_last { text.len() } else { text.find('.').unwrap_or(0) };
                let (value, rest) = text.split_at(end);
                if value.is_empty() {
                    return false;
                }
                captures.push(value);
                text = rest;
            }
        }
    }
    text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[&str]) -> RouteTable {
        RouteTable::new(routes.iter().map(|route| (RoutePattern::parse(route).unwrap(), (*route).to_owned())))
    }

    /// Component, path info, parameters.
    type Expected<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn check(routes: &[&str], path: &str, expected: Option<Expected<'_>>) {
        // The order of the routes must not matter.
        for routes in [routes.to_vec(), routes.iter().rev().copied().collect()] {
            let table = table(&routes);
            let found = table.lookup(path);
            let found = found.as_ref().map(|m| (m.component, m.path_info, m.parameters.as_slice()));
            assert_eq!(found, expected, "{path} in {routes:?}");
        }
    }

    #[test]
    fn an_exact_route_takes_its_path_with_or_without_a_slash_at_the_end() {
        let routes = ["/", "/foo", "/foo/bar"];
        check(&routes, "/", Some(("/", "", &[])));
        check(&routes, "/foo", Some(("/foo", "", &[])));
        check(&routes, "/foo/", Some(("/foo", "", &[])));
        check(&routes, "//foo", Some(("/foo", "", &[])));
        check(&routes, "/foo/bar", Some(("/foo/bar", "", &[])));
        check(&routes, "/foo//bar", None);
        check(&routes, "/Foo", None);
        check(&routes, "/foobar", None);
        check(&routes, "/foo/bar/baz", None);
        check(&routes, "*", None);
        check(&routes, "foo", None);
        check(&routes, "", None);
    }

    #[test]
    fn a_wildcard_takes_any_rest_and_keeps_the_slash_at_the_end() {
        let routes = ["/test/..."];
        check(&routes, "/test", Some(("/test/...", "", &[])));
        check(&routes, "/test/", Some(("/test/...", "/", &[])));
        check(&routes, "/test//", Some(("/test/...", "/", &[])));
        check(&routes, "/test/hello", Some(("/test/...", "/hello", &[])));
        check(&routes, "/test/hello/", Some(("/test/...", "/hello/", &[])));
        check(&routes, "/test/hello//", Some(("/test/...", "/hello/", &[])));
        check(&routes, "/test//hello", Some(("/test/...", "//hello", &[])));
        check(&routes, "/testing", None);
        check(&["/..."], "/", Some(("/...", "/", &[])));
        check(&["/..."], "/1/2/3", Some(("/...", "/1/2/3", &[])));
        check(&["/..."], "//1", Some(("/...", "/1", &[])));
    }

    #[test]
    fn the_most_specific_route_wins_in_any_order() {
        let routes = ["/...", "/a", "/a/...", "/a/:x", "/a/b", "/a/b/...", "/a/:x/c", "/:y/b/d"];
        check(&routes, "/a", Some(("/a", "", &[])));
        check(&routes, "/a/b", Some(("/a/b", "", &[])));
        check(&routes, "/a/z", Some(("/a/:x", "", &[("x", "z")])));
        check(&routes, "/a/b/c", Some(("/a/b/...", "/c", &[])));
        check(&routes, "/a/z/c", Some(("/a/:x/c", "", &[("x", "z")])));
        check(&routes, "/a/z/d", Some(("/a/...", "/z/d", &[])));
        check(&routes, "/q/b/d", Some(("/:y/b/d", "", &[("y", "q")])));
        check(&routes, "/q/b/e", Some(("/...", "/q/b/e", &[])));
        // What a branch captured is forgotten when it turns out wrong.
        check(&["/:x/b", "/..."], "/a/c", Some(("/...", "/a/c", &[])));
        check(&["/:x/:y/c", "/:z/..."], "/1/2/3", Some(("/:z/...", "/2/3", &[("z", "1")])));
    }

    #[test]
    fn parameters_take_one_segment_or_its_parts_between_dots() {
        check(&["/1/:two/3"], "/1/2/3", Some(("/1/:two/3", "", &[("two", "2")])));
        check(&["/1/:two/..."], "/1/2/3", Some(("/1/:two/...", "/3", &[("two", "2")])));
        check(&["/1/:two"], "/1/", None);
        check(&["/1/:two/3"], "/1//3", None);
        check(&["/:x"], "/a.b", Some(("/:x", "", &[("x", "a.b")])));
        let files = ["/:name.json", "/:name", "/v1.:minor", "/:name.:kind"];
        check(&files, "/a.json", Some(("/:name.json", "", &[("name", "a")])));
        check(&files, "/a.xml", Some(("/:name.:kind", "", &[("name", "a"), ("kind", "xml")])));
        check(&files, "/v1.json", Some(("/v1.:minor", "", &[("minor", "json")])));
        check(&files, "/.json", Some(("/:name", "", &[("name", ".json")])));
        check(&files, "/plain", Some(("/:name", "", &[("name", "plain")])));
    }

    #[test]
    fn a_match_names_the_route_as_spins_headers_do() {
        let table = table(&["hello/:who/*"]);
        let found = table.lookup("/hello/a/b").unwrap();
        assert_eq!(found.matched_route, "/hello/:who/...");
        assert_eq!(found.raw_route, "hello/:who/*");
        assert_eq!(found.component_route, "/hello/:who");
    }
}
