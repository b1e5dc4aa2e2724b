//! Names of endpoints: resolved, and again as their records' time ends.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Endpoint;
use crate::snapshot::Snapshot;

/// Bounds on how long an answer is used.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// After a name could not be resolved; its last addresses stay in use.
const AGAIN: Duration = Duration::from_secs(5);
/// What the system says about names.
const SYSTEM_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Keeps a task for every endpoint with a name.
#[derive(Debug, Default)]
pub struct Resolver {
    dns: Arc<Dns>,
    tasks: Mutex<HashMap<u32, Task>>,
}

#[derive(Debug)]
struct Task {
    handle: JoinHandle<()>,
    /// Whether it has looked once.
    looked: watch::Receiver<bool>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Resolver {
    /// Nothing is resolved yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves the names of a snapshot, and no longer those that it does not name.
    pub fn reconcile(&self, snapshot: &Snapshot) {
        let versions = snapshot.services.iter().flat_map(|service| &service.versions);
        let endpoints = versions.flat_map(|version| &version.endpoints).map(|slot| &slot.endpoint);
        let named: HashMap<u32, Arc<Endpoint>> = endpoints
            .filter(|endpoint| endpoint.identity.address.literal().is_none())
            .map(|endpoint| (endpoint.id, endpoint.clone()))
            .collect();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|id, _| named.contains_key(id));
        for (id, endpoint) in named {
            tasks.entry(id).or_insert_with(|| {
                let (tell, looked) = watch::channel(false);
                let (dns, host) = (self.dns.clone(), endpoint.identity.address.host.clone());
                let look_up = move || {
                    let (dns, host) = (dns.clone(), host.clone());
                    async move { dns.look_up(&host).await }
                };
                Task { handle: tokio::spawn(follow(endpoint, look_up, tell)), looked }
            });
        }
    }

    /// Waits until every name was looked up once, for at most `bound`.
    pub async fn first_round(&self, bound: Duration) {
        let all: Vec<_> = {
            let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.values().map(|task| task.looked.clone()).collect()
        };
        let wait = async {
            for mut looked in all {
                // A task that is gone has nothing to wait for.
                let _ = looked.wait_for(|looked| *looked).await;
            }
        };
        if tokio::time::timeout(bound, wait).await.is_err() {
            tracing::warn!("some names are not resolved yet");
        }
    }
}

/// Addresses, and how long they may be used.
type Found = (Vec<IpAddr>, Duration);

async fn follow<F: Future<Output = Result<Found, String>>>(
    endpoint: Arc<Endpoint>,
    look_up: impl Fn() -> F,
    tell: watch::Sender<bool>,
) {
    let mut warned = false;
    loop {
        let wait = match look_up().await {
            Ok((addresses, ttl)) => {
                warned = false;
                let port = endpoint.identity.address.port;
                let mut addresses: Vec<_> =
                    addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                addresses.sort();
                endpoint.set_addresses(addresses);
                ttl.clamp(SHORTEST, LONGEST)
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(%error, endpoint = endpoint.label, "cannot resolve the name");
                }
                AGAIN
            }
        };
        tell.send_replace(true);
        tokio::time::sleep(wait).await;
    }
}

/// The system's way to resolve names, read when first needed and again when its files change.
#[derive(Debug, Default)]
struct Dns {
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    resolver: TokioResolver,
    /// When the system's files were last changed.
    files: [Option<SystemTime>; 2],
}

impl Dns {
    async fn look_up(&self, host: &str) -> Result<Found, String> {
        if is_loopback(host) {
            return Ok((vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], LONGEST));
        }
        let found = self.resolver()?.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        Ok((addresses, found.valid_until().saturating_duration_since(crate::clock::now())))
    }

    fn resolver(&self) -> Result<TokioResolver, String> {
        let changed = |path| std::fs::metadata(Path::new(path)).and_then(|file| file.modified());
        let files = SYSTEM_FILES.map(|path| changed(path).ok());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.files == files) {
            return Ok(made.resolver.clone());
        }
        // Without a `resolv.conf` there is no server to ask, and still a `hosts`.
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            let nobody = ResolverConfig::from_parts(None, vec![], vec![]);
            TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
        });
        let resolver = builder.build().map_err(|error| error.to_string())?;
        *made = Some(Made { resolver: resolver.clone(), files });
        Ok(resolver)
    }
}

/// `localhost` and what is below it (RFC 6761 §6.3): asking anybody else could be answered falsely.
fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;
    use crate::plan::{Address, Protocol, TlsPlan};
    use crate::upstream::endpoint::Identity;

    fn endpoint(address: &str) -> Arc<Endpoint> {
        let identity = Identity {
            address: Address::parse(address).unwrap(),
            protocol: Protocol::Http1,
            tls: TlsPlan::default(),
            health_path: None,
            proxy_protocol: None,
        };
        Arc::new(Endpoint::new(0, identity, None))
    }

    #[tokio::test]
    async fn local_names_are_loopback_and_nobody_is_asked() {
        let dns = Dns::default();
        for name in ["localhost", "localhost.", "api.localhost", "a.b.localhost"] {
            let (addresses, _) = dns.look_up(name).await.unwrap();
            assert!(addresses.iter().all(IpAddr::is_loopback), "{name}: {addresses:?}");
        }
        assert!(dns.made.lock().unwrap().is_none());
        assert!(!is_loopback("notlocalhost") && !is_loopback("localhost.example"));
    }

    #[tokio::test]
    async fn the_systems_hosts_are_honoured_and_the_resolver_is_made_once() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut entries = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse::<Ipv4Addr>().ok()?;
            Some((address, words.next()?.to_owned()))
        });
        let Some((_, name)) = entries.find(|(_, name)| !is_loopback(name)) else { return };
        let dns = Dns::default();
        let (addresses, _) = dns.look_up(&name).await.unwrap();
        let listed = |found: &IpAddr| hosts.contains(&found.to_string());
        assert!(addresses.iter().all(listed), "{name}: {addresses:?}");
        dns.made.lock().unwrap().as_mut().unwrap().files[0] = None;
        dns.look_up(&name).await.unwrap();
        let files = dns.made.lock().unwrap().as_ref().unwrap().files;
        assert!(files[0].is_some(), "made anew, as the file seemed to have changed");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_used_for_their_time_and_outlive_failures() {
        let answer =
            |last: u8, ttl| Ok((vec![IpAddr::from([10, 0, 0, last])], Duration::from_millis(ttl)));
        let answers: Vec<Result<Found, String>> =
            vec![Err("no".into()), answer(1, 20), answer(2, 9_000_000), Err("no".into())];
        // What is asked at which second, and what is used then.
        let expect = [(0, ""), (5, "10.0.0.1:80"), (6, "10.0.0.2:80"), (306, "10.0.0.2:80")];
        let endpoint = endpoint("shop.internal:80");
        let (tell, looked) = watch::channel(false);
        let (asked, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let times = Arc::new(Mutex::new(Vec::new()));
        let look_up = {
            let (asked, times) = (asked.clone(), times.clone());
            move || {
                let place = asked.fetch_add(1, Ordering::SeqCst);
                times.lock().unwrap().push(start.elapsed().as_secs());
                std::future::ready(answers.get(place).cloned().unwrap_or(Err("no".into())))
            }
        };
        let task = tokio::spawn(follow(endpoint.clone(), look_up, tell));
        for (n, (second, address)) in expect.into_iter().enumerate() {
            while asked.load(Ordering::SeqCst) <= n {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(times.lock().unwrap()[n], second, "look-up {n}");
            let used: Vec<_> = endpoint.addresses().iter().map(ToString::to_string).collect();
            assert_eq!(used.join(" "), address, "look-up {n}");
            assert!(*looked.borrow(), "a failure was a look too");
        }
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_does_not_wait_for_a_name_that_nobody_answers_for() {
        let resolver = Resolver::new();
        let (tell, looked) = watch::channel(false);
        let never = std::future::pending::<Result<Found, String>>;
        let handle = tokio::spawn(follow(endpoint("lost.internal:80"), never, tell));
        resolver.tasks.lock().unwrap().insert(0, Task { handle, looked });
        let (start, bound) = (Instant::now(), Duration::from_secs(3));
        resolver.first_round(bound).await;
        assert_eq!(start.elapsed(), bound);
    }
}
