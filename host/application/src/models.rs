//! interim
use async_trait::async_trait;
use waggle_engine::{BodyError, ModelCallContext, ModelCalls, WasiBody};
pub(crate) struct NoModels;
#[async_trait]
impl ModelCalls for NoModels {
    fn takes(&self, _host: &str) -> bool {
        false
    }
    async fn call(
        &self,
        _r: http::Request<WasiBody>,
        _c: ModelCallContext,
    ) -> Result<http::Response<WasiBody>, BodyError> {
        Err(BodyError::HttpRequestDenied)
    }
}
