//! Key sets of issuers, fetched through the same egress as everything else.

use async_trait::async_trait;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use std::sync::Arc;
use waggle_egress::{Egress, SendOptions};
use waggle_tenancy::{FetchedJwks, JwksFetch};

/// Bytes of a key set; those of real issuers have a few thousand.
const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// Fetches by HTTP.
pub(crate) struct EgressJwks(pub(crate) Arc<Egress>);

#[async_trait]
impl JwksFetch for EgressJwks {
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String> {
        let request = Request::get(url)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| error.to_string())?;
        // The operator wrote the URL, so an address inside the network is meant.
        let options = SendOptions { allow_private: true, ..SendOptions::default() };
        let response = self.0.send(request, options).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("it answered with status {}", response.status()));
        }
        let max_age_s = response
            .headers()
            .get(header::CACHE_CONTROL)
            .and_then(|value| value.to_str().ok())
            .and_then(max_age);
        let body = Limited::new(response.into_body(), KEY_SET_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("its answer could not be read: {error}"))?;
        Ok(FetchedJwks { body: body.to_bytes().to_vec(), max_age_s })
    }
}

/// `max-age` of a `Cache-Control` field (RFC 9111, section 5.2.2.1).
fn max_age(value: &str) -> Option<u64> {
    let directives = value.split(',').filter_map(|directive| directive.trim().split_once('='));
    let mut ages = directives.filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"));
    ages.next()?.1.trim().trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_key_set_is_read_from_cache_control() {
        let check = |value: &str, expected: Option<u64>| assert_eq!(max_age(value), expected, "{value}");
        check("max-age=300", Some(300));
        check("public, Max-Age=\"60\", must-revalidate", Some(60));
        check("s-maxage=10", None);
        check("no-store", None);
        check("max-age=soon", None);
    }
}
