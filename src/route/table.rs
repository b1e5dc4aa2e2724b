//! Which of many routes is the most specific that matches?
//!
//! The answer is the route with the greatest [`Specificity`](super::matcher::Specificity), found
//! without asking every route. Hosts are looked up by name, wildcards by the host's labels, and
//! each host has a tree of path segments that is walked once. The time of a search grows with the
//! host and the path, not with the number of routes. Two lists are gone through one by one:
//! regular expressions of one host, and routes with the same host and path that differ only in
//! method, fields or query. Both are kept in the order of precedence, so the first match wins.
//!
//! A host without a matching route does not end the search: the less specific hosts follow.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Route;
use super::matcher::{HostPattern, PathPattern, RequestView, RouteMatch};

/// All routes of a configuration, ready to be searched.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    exact_hosts: TextMap<PathIndex>,
    /// By the text from the first dot on: `.example.com`.
    wildcard_hosts: TextMap<PathIndex>,
    /// Bytes of the longest wildcard. A longer rest of a host is not looked up, which keeps a
    /// client's endless host from costing more than a short one.
    wildcard_bytes_max: usize,
    any_host: PathIndex,
}

/// A route that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Place of the route in the table.
    pub index: usize,
    pub route: &'a Arc<Route>,
    /// Bytes of the path that a prefix matched; all of an exact path; 0 for any path and for
    /// regular expressions.
    pub matched_prefix: usize,
}

impl RouteTable {
    /// Makes a table of routes in the order of the file.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let mut table = Self {
            routes: Vec::new(),
            exact_hosts: TextMap::default(),
            wildcard_hosts: TextMap::default(),
            wildcard_bytes_max: 0,
            any_host: PathIndex::default(),
        };
        for (index, route) in routes.iter().enumerate() {
            table.insert(index as u32, &route.matches);
        }
        table.routes = routes;
        let RouteTable { routes, exact_hosts, wildcard_hosts, any_host, .. } = &mut table;
        let named = exact_hosts.values_mut().chain(wildcard_hosts.values_mut());
        for paths in named.chain(std::iter::once(any_host)) {
            paths.sort(routes);
        }
        table
    }

    /// The most specific route that matches a request.
    pub fn find(&self, request: &RequestView<'_>) -> Option<Found<'_>> {
        let index = self.indexes(request.host).find_map(|paths| self.find_path(paths, request))?;
        let route = self.routes.get(index as usize)?;
        let matched_prefix = route.matches.path.named_bytes();
        Some(Found { index: index as usize, route, matched_prefix })
    }

    /// The routes in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Routes that no request can reach, each with the route that is chosen in its place.
    ///
    /// A route is named only if a single other one matches every request that it matches and is
    /// always more specific. Routes that only several others hide together are not found.
    pub fn never_match(&self) -> Vec<(usize, usize)> {
        let hidden = |(index, route): (usize, &Arc<Route>)| {
            let paths = self.index_of(route.matches.hosts.first())?;
            let mut candidates =
                paths.rivals(index as u32, &route.matches.path).map(|rival| rival as usize);
            let by = candidates.find(|rival| {
                let other = self.routes.get(*rival).map(|other| &other.matches);
                other.is_some_and(|other| other.hides(*rival, &route.matches, index))
            })?;
            Some((index, by))
        };
        self.routes.iter().enumerate().filter_map(hidden).collect()
    }

    /// What became of every route for a request, in the order of the file: `host`, `path`,
    /// `method`, `header` or `query` for the first part that did not match, `outranked` for a
    /// route that matched but is less specific, `matched` for the one chosen.
    pub fn trace(&self, request: &RequestView<'_>) -> Vec<(usize, &'static str)> {
        let chosen = self.find(request).map(|found| found.index);
        let outcome = |(index, route): (usize, &Arc<Route>)| {
            let matched = if chosen == Some(index) { "matched" } else { "outranked" };
            (index, route.matches.mismatch(request).unwrap_or(matched))
        };
        self.routes.iter().enumerate().map(outcome).collect()
    }

    fn insert(&mut self, route: u32, matches: &RouteMatch) {
        if matches.hosts.is_empty() {
            self.any_host.insert(route, &matches.path);
        }
        for host in &matches.hosts {
            let paths = match host {
                HostPattern::Exact(name) => self.exact_hosts.entry(name.as_str().into()),
                HostPattern::Wildcard(suffix) => {
                    self.wildcard_bytes_max = self.wildcard_bytes_max.max(suffix.len());
                    self.wildcard_hosts.entry(suffix.as_str().into())
                }
            };
            paths.or_default().insert(route, &matches.path);
        }
    }

    /// The indexes that apply to a host, the most specific first.
    fn indexes<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a PathIndex> {
        // A wildcard stands for at least one byte, so a dot in front begins no suffix.
        let start_min = host.len().saturating_sub(self.wildcard_bytes_max).max(1);
        let dotted = if self.wildcard_hosts.is_empty() { "" } else { host };
        let dots = dotted.match_indices('.').filter(move |(dot, _)| *dot >= start_min);
        let wildcards = dots.filter_map(|(dot, _)| self.wildcard_hosts.get(&host[dot..]));
        self.exact_hosts.get(host).into_iter().chain(wildcards).chain([&self.any_host])
    }

    fn index_of(&self, host: Option<&HostPattern>) -> Option<&PathIndex> {
        match host {
            None => Some(&self.any_host),
            Some(HostPattern::Exact(name)) => self.exact_hosts.get(name.as_str()),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard_hosts.get(suffix.as_str()),
        }
    }

    /// The most specific route under one host.
    fn find_path(&self, paths: &PathIndex, request: &RequestView<'_>) -> Option<u32> {
        let matches = |route: u32| self.routes.get(route as usize).map(|route| &route.matches);
        let holds = |route: &u32| matches(*route).is_some_and(|m| m.conditions_hold(request));
        let regex_holds = |route: &u32| {
            matches(*route).is_some_and(|m| m.path.matches(request.path)) && holds(route)
        };
        let (deepest, whole) = paths.walk(request.path);
        let exact = whole.then(|| paths.nodes[deepest].exact.iter().copied().find(holds));
        exact
            .flatten()
            .or_else(|| paths.regexes.iter().copied().find(regex_holds))
            .or_else(|| paths.upwards(deepest).find_map(|n| n.prefix.iter().copied().find(holds)))
    }
}

/// The routes of one host by their paths: a tree of the texts between slashes.
///
/// `/api/v1` is the segments ``, `api`, `v1`; the root, of no segments, is every path. A prefix
/// matches a path exactly if its segments begin the path's, so one walk down meets all prefixes
/// and the exact path, and going up again meets the prefixes from the longest to the shortest.
#[derive(Debug)]
struct PathIndex {
    /// The root is the first.
    nodes: Vec<Node>,
    regexes: Vec<u32>,
}

#[derive(Debug, Default)]
struct Node {
    children: TextMap<u32>,
    /// The root is its own parent.
    parent: u32,
    /// Routes whose exact path ends here.
    exact: Vec<u32>,
    /// Routes whose prefix ends here.
    prefix: Vec<u32>,
}

impl Default for PathIndex {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], regexes: Vec::new() }
    }
}

impl PathIndex {
    fn insert(&mut self, route: u32, path: &PathPattern) {
        let routes = match path {
            PathPattern::Exact(whole) => {
                let node = self.node_for(whole);
                &mut self.nodes[node].exact
            }
            PathPattern::Regex(_) => &mut self.regexes,
            PathPattern::Any | PathPattern::Prefix(_) => {
                let node = match path.prefix() {
                    None | Some("") => ROOT,
                    Some(prefix) => self.node_for(prefix),
                };
                &mut self.nodes[node].prefix
            }
        };
        // Routes come in order, so the same host named twice shows in the last entry.
        if routes.last() != Some(&route) {
            routes.push(route);
        }
    }

    fn node_for(&mut self, path: &str) -> usize {
        let mut node = ROOT;
        for segment in path.split('/') {
            let known = self.nodes[node].children.get(segment).copied();
            let child = known.unwrap_or_else(|| {
                let child = self.nodes.len() as u32;
                self.nodes[node].children.insert(segment.into(), child);
                self.nodes.push(Node { parent: node as u32, ..Node::default() });
                child
            });
            node = child as usize;
        }
        node
    }

    /// Puts every list in the order of precedence.
    fn sort(&mut self, routes: &[Arc<Route>]) {
        let rank = |route: &u32| {
            let matches = routes.get(*route as usize).map(|route| &route.matches);
            std::cmp::Reverse(matches.map(|matches| matches.condition_rank(*route as usize)))
        };
        self.regexes.sort_by_key(rank);
        for node in &mut self.nodes {
            node.exact.sort_by_key(rank);
            node.prefix.sort_by_key(rank);
        }
    }

    /// The deepest node that a path leads to, and whether that is all of the path.
    fn walk(&self, path: &str) -> (usize, bool) {
        let mut node = ROOT;
        if self.nodes[ROOT].children.is_empty() {
            return (ROOT, false);
        }
        for segment in path.split('/') {
            match self.nodes[node].children.get(segment) {
                Some(child) => node = *child as usize,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// A node and those above it, up to the root.
    fn upwards(&self, node: usize) -> impl Iterator<Item = &Node> {
        let above = |node: &usize| (*node != ROOT).then(|| self.nodes[*node].parent as usize);
        std::iter::successors(Some(node), above).map(|node| &self.nodes[node])
    }

    /// The routes that could match all that a route does and come first: expressions, and what
    /// stands before it under the same path.
    fn rivals(&self, route: u32, path: &PathPattern) -> impl Iterator<Item = u32> {
        let node = |path: &str| match path {
            "" => &self.nodes[ROOT],
            path => &self.nodes[self.walk(path).0],
        };
        let (regexes, same): (&[u32], &[u32]) = match path {
            PathPattern::Exact(whole) => (&[], &node(whole).exact),
            PathPattern::Regex(_) => (&[], &self.regexes),
            PathPattern::Any | PathPattern::Prefix(_) => {
                (&self.regexes, &node(path.prefix().unwrap_or_default()).prefix)
            }
        };
        let before = same.iter().take_while(move |other| **other != route);
        regexes.iter().chain(before).copied()
    }
}

const ROOT: usize = 0;

type TextMap<V> = HashMap<Box<str>, V, BuildHasherDefault<TextHasher>>;

/// Hashes one text in one go. The seed is fixed: keys come from the configuration, so a client
/// cannot fill a bucket, and the same configuration always makes the same table.
#[derive(Debug, Default, Clone, Copy)]
struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// Only ends a text, and there is never a second one.
    fn write_u8(&mut self, _terminator: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
