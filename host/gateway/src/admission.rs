//! Who gets in: the layers a request passes before anything is done for it, cheapest first.

use crate::config::GatewayConfig;
use crate::error::Refusal;
use crate::pressure::MemoryPressure;
use http::{HeaderMap, HeaderName, header};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waggle_engine::Engine;
use waggle_tenancy::{
    AddressMeter, Admitted, Caller, Door, Exceeded, TrustedProxies, TrustedProxyError, client_address,
};

const FORWARDED: HeaderName = header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The layers. Shared by all connections.
pub(crate) struct AdmissionControl {
    host: Arc<Semaphore>,
    memory: Arc<MemoryPressure>,
    trusted: TrustedProxies,
    addresses: AddressMeter,
    door: Arc<Door>,
}

impl AdmissionControl {
    /// The layers by `config`.
    ///
    /// # Errors
    /// When an entry of `trusted_proxies` is no address or network.
    pub(crate) fn new(
        config: &GatewayConfig,
        door: Arc<Door>,
        engine: &Engine,
    ) -> Result<Self, TrustedProxyError> {
        Ok(Self {
            host: Arc::new(Semaphore::new(config.concurrent_requests_max)),
            memory: MemoryPressure::watch(config.memory_bytes_max, engine),
            trusted: TrustedProxies::parse(&config.trusted_proxies)?,
            addresses: AddressMeter::new(config.client_requests_per_minute, None),
            door,
        })
    }

    /// The host's own bounds: requests at once, memory. Nothing has been spent on the request yet.
    pub(crate) fn host(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if self.memory.is_over() {
            return Err(Refusal::short_of_memory());
        }
        Arc::clone(&self.host).try_acquire_owned().map_err(|_full| Refusal::overloaded())
    }

    /// The client's address counts its requests, so that no address can keep the host busy with refusals.
    pub(crate) fn address(&self, peer: SocketAddr, headers: &HeaderMap) -> Result<IpAddr, Refusal> {
        let lines = |name: HeaderName| headers.get_all(name).into_iter().map(|value| value.as_bytes());
        let address = client_address(peer, lines(FORWARDED), lines(X_FORWARDED_FOR), &self.trusted);
        self.addresses.admit(address, Instant::now()).map_err(|exceeded| Refusal::over_limit(&exceeded))?;
        Ok(address)
    }

    /// Whose request it is. Where no tenant was ever configured, a client on this machine needs no credential; one that
    /// a proxy speaks for is not on this machine.
    pub(crate) async fn caller(&self, client: IpAddr, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let mut credentials = headers.get_all(header::AUTHORIZATION).into_iter();
        let credential = credentials.next();
        if credentials.next().is_some() {
            return Err(Refusal::bad_request("The request must have one Authorization header field."));
        }
        let is_forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        let from_loopback = client.to_canonical().is_loopback() && !is_forwarded;
        self.door
            .identify(credential.map(|value| value.as_bytes()), from_loopback)
            .await
            .map_err(|denied| Refusal::denied(&denied))
    }

    /// The tenant's limits, after a short wait where that helps.
    pub(crate) async fn tenant(&self, caller: &Caller, deadline: Instant) -> Result<Admitted, Exceeded> {
        caller.tenant.meter.admit(deadline).await
    }
}
