//! A tool's grants, as the engine and the egress ask for them: where it may call, and with which of the tenant's credentials.
//! What is not granted is not there.

use super::metrics::{Denial, ToolMetrics};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use waggle_egress::{Credential, Credentials};
use waggle_engine::{OutboundDecision, OutboundPolicy};
use waggle_manifest::{HostPattern, OutboundHost, OutboundHosts};
use waggle_secret::Secret;
use waggle_tenancy::TenantEntry;

/// Where one tool may call: what it was granted, within its tenant's own list.
pub(crate) struct GrantedHosts {
    granted: OutboundHosts,
    /// The tenant's own list, where it has one.
    tenant: Option<OutboundHosts>,
    /// What may be inside a private network by name, by the operator's word.
    private: Arc<OutboundHosts>,
    metrics: Arc<ToolMetrics>,
}

impl GrantedHosts {
    /// `outbound` are origins. One that does not name its host, as no tool that was accepted has, grants nothing.
    pub(crate) fn new(
        outbound: &[String],
        entry: &TenantEntry,
        private: &Arc<OutboundHosts>,
        metrics: &Arc<ToolMetrics>,
    ) -> Self {
        let parse = |text: &String| OutboundHost::parse(text).ok();
        let names_host =
            |entry: &OutboundHost| matches!(entry.host, HostPattern::Name(_) | HostPattern::Address(_));
        let granted = OutboundHosts::new(outbound.iter().filter_map(parse).filter(names_host), []);
        let tenant = entry.tenant.settings.allowed_outbound_hosts.as_ref();
        let tenant = tenant.map(|hosts| OutboundHosts::new(hosts.iter().filter_map(parse), []));
        Self { granted, tenant, private: Arc::clone(private), metrics: Arc::clone(metrics) }
    }

    fn look_up(&self, scheme: &str, host: &str, port: u16) -> OutboundDecision {
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let in_tenants = |hosts: &OutboundHosts| hosts.allows(scheme, host, Some(port));
        if !is_http || !in_tenants(&self.granted) || !self.tenant.as_ref().is_none_or(in_tenants) {
            OutboundDecision::Denied
        } else if is_literal(host) || in_tenants(&self.private) {
            OutboundDecision::Private
        } else {
            // Whoever has the name may have it lead anywhere, tomorrow as well.
            OutboundDecision::Public
        }
    }
}

/// Whether a host says by itself which machine is meant.
fn is_literal(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

impl OutboundPolicy for GrantedHosts {
    fn decide(&self, scheme: &str, host: &str, port: u16) -> OutboundDecision {
        let decision = self.look_up(scheme, host, port);
        if decision == OutboundDecision::Denied {
            self.metrics.denied(Denial::Destination);
        }
        decision
    }

    fn allows_internal(&self, _host: &str) -> bool {
        false
    }

    fn allows_socket(&self, _address: SocketAddr) -> bool {
        false
    }
}

/// The tenant's credentials of these names. What cannot be sent was refused when the tenant came into force.
pub(crate) fn credentials(entry: &TenantEntry, granted: &[String]) -> Credentials {
    let names = entry.tenant.settings.secrets.keys();
    let named = names.zip(entry.upstream_secrets()).filter(|(name, _secret)| granted.contains(name));
    let made = named.filter_map(|(_name, (place, secret))| {
        let value = Secret::new(format!("{}{}", place.prefix, secret.expose()));
        Credential::new(&place.origin, &place.path_prefix, &place.header, &value).ok()
    });
    Credentials::new(made.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::EgressJwks;
    use waggle_egress::{Egress, EgressConfig};
    use waggle_tenancy::{Directory, DirectoryConfig, Limits, Origin, Tenant, TenantSettings, TokenIssuers};

    fn entry(hosts: Option<&[&str]>) -> Arc<TenantEntry> {
        let directory = directory();
        let settings = TenantSettings {
            allowed_outbound_hosts: hosts.map(|hosts| hosts.iter().map(ToString::to_string).collect()),
            ..TenantSettings::default()
        };
        let tenant = Tenant { id: "bank".parse().unwrap(), settings };
        directory.replace(Origin::File, [tenant]).unwrap();
        directory.entry(&"bank".parse().unwrap()).unwrap()
    }

    fn directory() -> Arc<Directory> {
        let egress = Egress::new(EgressConfig::default()).unwrap();
        Directory::new(DirectoryConfig {
            defaults: Limits::default(),
            issuers: TokenIssuers::new(Arc::new(EgressJwks(Arc::new(egress)))),
            sealing: None,
            base_dir: std::path::PathBuf::new(),
        })
    }

    fn granted(outbound: &[&str], tenant: Option<&[&str]>) -> GrantedHosts {
        let outbound: Vec<String> = outbound.iter().map(ToString::to_string).collect();
        let private = OutboundHost::parse("http://orders.shop.svc:8080").unwrap();
        let private = Arc::new(OutboundHosts::new([private], []));
        GrantedHosts::new(&outbound, &entry(tenant), &private, &Arc::default())
    }

    #[test]
    fn only_what_was_granted_and_the_tenant_may_call_is_called() {
        use OutboundDecision::{Denied, Private, Public};
        let all = [
            "https://api.example.com",
            "http://127.0.0.1:8080",
            "http://localhost:9000",
            "http://[::1]:7000",
            "http://orders.shop.svc:8080",
            "https://*",
            "https://*.example.org",
            "http://10.0.0.0/8:80",
            "http://self",
            "http://chat.spin.internal",
        ];
        let check = |tenant: Option<&[&str]>, scheme: &str, host: &str, port: u16, expected| {
            let found = granted(&all, tenant).decide(scheme, host, port);
            assert_eq!(found, expected, "{scheme}://{host}:{port} {tenant:?}");
        };
        check(None, "https", "api.example.com", 443, Public);
        check(None, "https", "api.example.com", 8443, Denied);
        check(None, "http", "api.example.com", 80, Denied);
        check(None, "http", "127.0.0.1", 8080, Private);
        check(None, "http", "127.0.0.1", 8081, Denied);
        check(None, "http", "localhost", 9000, Private);
        check(None, "http", "[::1]", 7000, Private);
        check(None, "http", "orders.shop.svc", 8080, Private);
        check(None, "https", "elsewhere.example.org", 443, Denied);
        check(None, "http", "10.0.0.1", 80, Denied);
        check(None, "http", "169.254.169.254", 80, Denied);
        let own: Option<&[&str]> = Some(&["https://api.example.com"]);
        check(own, "https", "api.example.com", 443, Public);
        check(own, "http", "127.0.0.1", 8080, Denied);
        let list = granted(&all, None);
        assert!(!list.allows_internal("chat.spin.internal") && !list.allows_internal("self"));
        assert!(!list.allows_socket("127.0.0.1:8080".parse().unwrap()));
    }

    #[test]
    fn without_grants_nothing_is_reached_and_each_attempt_is_counted() {
        let list = granted(&[], None);
        assert_eq!(list.decide("https", "api.example.com", 443), OutboundDecision::Denied);
        assert_eq!(list.metrics.denials(Denial::Destination), 1);
    }
}
