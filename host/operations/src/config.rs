//! The `[telemetry]` section of the runtime configuration: where metrics are read, and the slices of what else tells of
//! the host.

use serde::{Deserialize, Deserializer, de};
use std::net::{Ipv4Addr, SocketAddr};
use waggle_telemetry::access_log::AccessLogConfig;
use waggle_telemetry::logs::LogsConfig;
use waggle_telemetry::traces::TracesConfig;

/// Where the operations listener is when nothing is said: the port that OpenTelemetry registered for Prometheus.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9464));
/// How many tenants have series of their own when nothing is said.
pub const TENANTS_NAMED_DEFAULT: usize = 20;
/// The most tenants that can have series of their own.
const TENANTS_NAMED_MAX: usize = 1_000;
/// The least and most bytes of a tenant's id.
const TENANT_BYTES_MAX: usize = 64;

/// `[telemetry]`. Every field has a default, so an absent or empty section is valid.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// `[telemetry.metrics]`.
    pub metrics: MetricsConfig,
    /// `[telemetry.traces]`.
    pub traces: TracesConfig,
    /// `[telemetry.logs]`.
    pub logs: LogsConfig,
    /// `[telemetry.access_log]`.
    pub access_log: AccessLogConfig,
}

/// `[telemetry.metrics]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where the operations listener is: an address, or `"off"`. By default `127.0.0.1:9464`, or a free port of the loopback
    /// interface when that one is taken.
    pub listen: Listen,
    /// How many tenants have series of their own; all others share one. 1 to 1,000.
    pub tenants_named_max: usize,
    /// Tenants that have series of their own from the start on; at most `tenants_named_max`.
    pub tenants_named: Vec<String>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            tenants_named_max: TENANTS_NAMED_DEFAULT,
            tenants_named: Vec::new(),
        }
    }
}

/// Where the operations listener is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// At [`LISTEN_DEFAULT`] if it is free, else on any port of the loopback interface.
    #[default]
    Anywhere,
    /// Here; the host does not start if it is taken.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_unreadable| {
            de::Error::custom(format!("{text:?} is no address; write it as \"127.0.0.1:9464\", or \"off\""))
        })
    }
}

impl TelemetryConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        self.metrics.validate()?;
        self.traces.validate()?;
        self.logs.validate()?;
        self.access_log.validate()
    }
}

impl MetricsConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// As for [`TelemetryConfig::validate`].
    pub fn validate(&self) -> Result<(), String> {
        let most = self.tenants_named_max;
        if !(1..=TENANTS_NAMED_MAX).contains(&most) {
            return Err(format!(
                "`metrics.tenants_named_max` is {most}; it must be from 1 to {TENANTS_NAMED_MAX}"
            ));
        }
        let named = self.tenants_named.len();
        if named > most {
            return Err(format!(
                "`metrics.tenants_named` has {named} tenants; `metrics.tenants_named_max` allows {most}"
            ));
        }
        let fits = |tenant: &&String| (1..=TENANT_BYTES_MAX).contains(&tenant.len());
        match self.tenants_named.iter().find(|tenant| !fits(tenant)) {
            Some(tenant) => Err(format!(
                "`metrics.tenants_named` has {tenant:?}; the id of a tenant has 1 to {TENANT_BYTES_MAX} bytes"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TelemetryConfig, String> {
        let config: TelemetryConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map(|()| config)
    }

    #[test]
    fn an_empty_section_listens_on_loopback_and_names_twenty_tenants() {
        let config = parse("").unwrap();
        assert_eq!(config.metrics.listen, Listen::Anywhere);
        assert_eq!(config.metrics.tenants_named_max, 20);
        assert_eq!(LISTEN_DEFAULT.to_string(), "127.0.0.1:9464");
    }

    #[test]
    fn an_address_or_off_says_where_it_listens() {
        let check = |text: &str, expected| {
            assert_eq!(parse(&format!("metrics.listen = '{text}'")).unwrap().metrics.listen, expected);
        };
        check("0.0.0.0:9000", Listen::At("0.0.0.0:9000".parse().unwrap()));
        check("[::1]:0", Listen::At("[::1]:0".parse().unwrap()));
        check("off", Listen::Off);
    }

    #[test]
    fn mistakes_are_told() {
        let check = |text: &str, part: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("metrics.lisen = 'off'", "unknown field `lisen`");
        check("metric.listen = 'off'", "unknown field `metric`");
        check("metrics.listen = 'localhost'", "\"localhost\" is no address; write it as \"127.0.0.1:9464\"");
        check("metrics.tenants_named_max = 0", "`metrics.tenants_named_max` is 0; it must be from 1 to 1000");
        check("metrics.tenants_named_max = 1\nmetrics.tenants_named = ['a', 'b']", "has 2 tenants");
        check("metrics.tenants_named = ['']", "has 1 to 64 bytes");
        check("traces.sample_ratio = 2", "`traces.sample_ratio` is 2; it must be from 0 to 1");
        check("traces.endpont = 'x'", "unknown field `endpont`");
        check("logs.queue_records_max = 0", "`logs.queue_records_max` is 0; it must be from 1 to 1000000");
        check("logs.level = 'loud'", "unknown variant `loud`");
        check("access_log.files_max = 0", "`access_log.files_max` is 0; it must be from 1 to 1000");
    }
}
