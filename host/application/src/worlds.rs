//! The world of each function, made per tenant from the plan.

use crate::log_sink::{FunctionLogs, Silence};
use crate::policy::AllowList;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use waggle_egress::Egress;
use waggle_engine::{
    CallContext, FunctionWorld, InternalCalls, InternalTarget, LogSink, StoreHandle, WasiBody, WorldSource,
};
use waggle_gateway::Gateway;
use waggle_kv::{Partition, Store};
use waggle_tenancy::TenantId;

/// What one function has, for whichever tenant.
pub(crate) struct FunctionPlan {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) mounts: Vec<(PathBuf, String)>,
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) outbound: Arc<AllowList>,
}

/// All functions of the application.
pub(crate) struct Worlds {
    pub(crate) functions: BTreeMap<String, FunctionPlan>,
    pub(crate) egress: Arc<Egress>,
    pub(crate) internal: Arc<ToGateway>,
    pub(crate) quiet: bool,
}

impl WorldSource for Worlds {
    fn world(&self, tenant: &TenantId, function: &str) -> Option<FunctionWorld> {
        let plan = self.functions.get(function)?;
        let mut stores = BTreeMap::new();
        for (label, store) in &plan.stores {
            let partition = Partition::new(tenant.as_str(), label).ok()?;
            stores.insert(label.clone(), StoreHandle { store: Arc::clone(store), partition });
        }
        let log: Arc<dyn LogSink> = if self.quiet {
            Arc::new(Silence)
        } else {
            Arc::new(FunctionLogs::new(tenant.as_str(), function))
        };
        Some(FunctionWorld {
            tenant: tenant.clone(),
            function: function.into(),
            environment: plan.environment.clone(),
            mounts: plan.mounts.clone(),
            stores,
            variables: plan.variables.clone(),
            outbound: Arc::clone(&plan.outbound) as Arc<_>,
            egress: Arc::clone(&self.egress),
            internal: Arc::clone(&self.internal) as Arc<_>,
            log,
        })
    }
}

/// The way from a function back to the gateway. The gateway owns the engine, which owns the worlds, so this end of
/// the circle holds it weakly.
#[derive(Default)]
pub(crate) struct ToGateway(OnceLock<Weak<Gateway>>);

impl ToGateway {
    pub(crate) fn connect(&self, gateway: &Arc<Gateway>) {
        let _ = self.0.set(Arc::downgrade(gateway));
    }
}

#[async_trait]
impl InternalCalls for ToGateway {
    async fn call(
        &self,
        tenant: &TenantId,
        target: InternalTarget,
        request: http::Request<WasiBody>,
        context: CallContext,
    ) -> http::Response<WasiBody> {
        match self.0.get().and_then(Weak::upgrade) {
            Some(gateway) => gateway.call(tenant, target, request, context).await,
            None => waggle_gateway::shutting_down(request.uri().path(), &context.request_id),
        }
    }
}
