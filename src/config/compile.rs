//! The whole: sections are read, what concerns several of them is checked, and a [`Config`] comes
//! out, or every error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::Table;
use super::error::{Findings, Place, Problem};
use super::listener::{self, ReadListener};
use super::read::{Context, Section, join};
use super::reference::ROOT;
use super::route::{self, ReadRoute, RoutePlan, Target};
use super::server::{self, AdminSettings, LogSettings, ServerSettings};
use super::service::{self, ReadService};
use crate::limits::{LARGE_ROUTES, LISTENERS_MAX};
use crate::name::{RouteName, ServiceName};
use crate::plan::{ListenerPlan, ServicePlan};
use crate::route::{Action, Route, RouteTable, Routes};
use crate::snapshot::EdgePolicy;
use crate::upstream::Registry;

/// A configuration that holds together: every name is known, every value is within its bounds.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerSettings,
    pub edge: EdgePolicy,
    pub admin: AdminSettings,
    pub state_dir: PathBuf,
    pub log: LogSettings,
    /// Upper bounds of duration histograms in seconds, ascending.
    pub duration_buckets: Vec<f64>,
    pub listeners: Vec<ListenerPlan>,
    pub services: BTreeMap<ServiceName, Arc<ServicePlan>>,
    /// In the order of the file.
    pub routes: Vec<RoutePlan>,
}

impl Config {
    /// The routes ready to serve: with the numbers that `registry` keeps for their names, and
    /// with the places of services in the order of names.
    pub fn routes(&self, registry: &Registry) -> Vec<Arc<Route>> {
        self.numbered(&self.route_numbers(registry, &[]))
    }

    /// Whether compiling and freeing it takes long enough to be felt by requests.
    pub fn is_large(&self) -> bool {
        self.routes.len() >= LARGE_ROUTES
    }

    /// The table of [`Config::routes`].
    pub fn route_table(&self, registry: &Registry) -> Routes {
        self.numbered_table(&self.route_numbers(registry, &[]))
    }

    /// The numbers of the routes whose names are known, in the order of the file.
    pub fn known_numbers(&self, known: &HashMap<RouteName, u32>) -> Vec<Option<u32>> {
        self.routes.iter().map(|plan| known.get(&plan.name).copied()).collect()
    }

    /// The numbers of all routes in the order of the file: those that are `known`, of the first ones, and
    /// what `registry` has for the others.
    pub fn route_numbers(&self, registry: &Registry, known: &[Option<u32>]) -> Vec<u32> {
        let known = known.iter().copied().chain(iter::repeat(None));
        let each = self.routes.iter().zip(known);
        each.map(|(plan, known)| known.unwrap_or_else(|| registry.route(&plan.name))).collect()
    }

    /// The table of the routes with these numbers, one for each in the order of the file.
    pub fn numbered_table(&self, numbers: &[u32]) -> Routes {
        Arc::new(RouteTable::new(self.numbered(numbers)))
    }

    fn numbered(&self, numbers: &[u32]) -> Vec<Arc<Route>> {
        let places: BTreeMap<_, _> = self.services.keys().zip(0..).collect();
        let route = |(plan, number): (&RoutePlan, &u32)| {
            let action = match &plan.target {
                Target::Forward { service, path } => Action::Forward {
                    // Every service that a route names is in the map: reading checked it.
                    index: places.get(service).copied().unwrap_or(usize::MAX),
                    service: service.clone(),
                    path: path.clone(),
                },
                Target::Redirect(redirect) => Action::Redirect(redirect.clone()),
            };
            Arc::new(Route {
                id: *number,
                name: plan.name.clone(),
                matches: plan.matches.clone(),
                action,
                request_fields: plan.request_fields.clone(),
                response_fields: plan.response_fields.clone(),
                rate: plan.rate.clone(),
            })
        };
        self.routes.iter().zip(numbers).map(route).collect()
    }
}

/// Reads a whole document. Nothing comes out if there is any error.
pub(super) fn compile(findings: &Findings, document: &Table, base: &Path) -> Option<Config> {
    let context = Context { findings, base };
    let start = Place { file: 0, start: 0, end: 0 };
    let root = Section::open(context, String::new(), start, Some(document), ROOT);
    let (server, edge) = server::read_server(&root);
    let admin = server::read_admin(&root);
    let admin_place = place_of_admin(document).unwrap_or(start);
    let listeners = listener::read_all(&root);
    let services = service::read_all(&root);
    let names: Vec<&str> = document
        .get("service")
        .and_then(|node| node.as_table())
        .map_or(Vec::new(), |table| table.entries.keys().map(String::as_str).collect());
    let routes = route::read_all(&root, &names);
    check_listeners(findings, &listeners, &admin, admin_place);
    check_route_names(findings, &routes);
    let config = Config {
        server,
        edge,
        admin,
        state_dir: server::read_state(&root),
        log: server::read_log(&root),
        duration_buckets: server::read_buckets(&root),
        listeners: listeners.iter().map(|read| read.plan.clone()).collect(),
        services: services.iter().map(|read| (read.plan.name.clone(), read.plan.clone())).collect(),
        routes: routes.iter().map(|read| read.plan.clone()).collect(),
    };
    if findings.has_errors() {
        return None;
    }
    warn_of_unused(findings, &config, &services);
    warn_of_hidden_routes(findings, &config, &routes);
    Some(config)
}

fn place_of_admin(document: &Table) -> Option<Place> {
    let admin = document.get("admin")?;
    let address = admin.as_table()?.get("address");
    Some(address.map_or(admin.place, |node| node.place))
}

fn check_listeners(
    findings: &Findings,
    listeners: &[ReadListener],
    admin: &AdminSettings,
    admin_place: Place,
) {
    if let Some(first_too_many) = listeners.get(LISTENERS_MAX) {
        let problem = Problem::new(format!("{} listeners are too many", listeners.len()));
        let problem = problem.help(format!("use at most {LISTENERS_MAX}"));
        findings.error(first_too_many.name, "listener", problem);
    }
    let mut names: BTreeMap<&str, Place> = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, Place> = BTreeMap::new();
    for ReadListener { plan, path, name, address } in listeners {
        if let Some(first) = names.insert(plan.name.as_str(), *name) {
            let problem = Problem::new(format!("there are two listeners `{}`", plan.name))
                .related(first, "the first one")
                .help("give each its own name");
            findings.error(*name, &join(path, "name"), problem);
        }
        // Port 0 is another port each time.
        if plan.address.port() == 0 {
            continue;
        }
        if let Some(first) = addresses.insert(plan.address, *address) {
            let problem = Problem::new(format!("two listeners have the address {}", plan.address))
                .related(first, "the first one")
                .help("give each its own address");
            findings.error(*address, &join(path, "address"), problem);
        }
        if overlap(plan.address, admin.address) {
            let problem = Problem::new(format!("the admin API listens on {}", admin.address))
                .related(admin_place, "the admin API")
                .help("give the listener or the admin API another port");
            findings.error(*address, &join(path, "address"), problem);
        }
    }
}

/// Whether a connection to one address could reach the other.
fn overlap(one: SocketAddr, two: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || two.ip().is_unspecified();
    one.port() == two.port() && (any || one.ip() == two.ip())
}

fn check_route_names(findings: &Findings, routes: &[ReadRoute]) {
    let mut names: BTreeMap<&RouteName, Place> = BTreeMap::new();
    for route in routes {
        if let Some(first) = names.insert(&route.plan.name, route.name) {
            let problem = Problem::new(format!("there are two routes `{}`", route.plan.name))
                .related(first, "the first one")
                .help("give each its own name");
            findings.error(route.name, &join(&route.path, "name"), problem);
        }
    }
}

fn warn_of_unused(findings: &Findings, config: &Config, services: &[ReadService]) {
    if config.listeners.is_empty() {
        let problem = Problem::new("there is no listener, so that no request can come in");
        findings.warn_whole(problem.help("add `[[listener]]` with an `address`"));
    }
    if config.routes.is_empty() {
        let problem = Problem::new("there is no route: every request is answered with 404");
        findings.warn_whole(problem.help("add `[[route]]` with a `service`"));
        return;
    }
    let forwarded = config.routes.iter().filter_map(|route| match &route.target {
        Target::Forward { service, .. } => Some(service),
        Target::Redirect(_) => None,
    });
    let used: BTreeSet<&ServiceName> = forwarded.collect();
    for service in services.iter().filter(|service| !used.contains(&service.plan.name)) {
        let name = &service.plan.name;
        let problem = Problem::new("no route leads to this service")
            .help(format!("add `[[route]]` with `service = \"{name}\"`, or take the service out"));
        findings.warn(service.place, &service.path, problem);
    }
}

fn warn_of_hidden_routes(findings: &Findings, config: &Config, routes: &[ReadRoute]) {
    let table = RouteTable::new(config.numbered(&vec![0; config.routes.len()]));
    for (hidden, by) in table.never_match() {
        let (Some(hidden), Some(by)) = (routes.get(hidden), routes.get(by)) else { continue };
        let name = &by.plan.name;
        let problem = Problem::new(format!("can never match: `{name}` takes all its requests"))
            .related(by.place, format!("`{name}`"))
            .help("make its match more specific, or take it out");
        findings.warn(hidden.place, &hidden.path, problem);
    }
}
