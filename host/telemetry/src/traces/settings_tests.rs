//! What is made of configurations and environments, of traces; what all signals have in common is tested here as well.

use super::*;

fn understood(toml: &str, environment: &[(&str, &str)]) -> Result<Option<(Settings, Sampling)>, String> {
    let config: TracesConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
    config.validate()?;
    let read = |name: &str| {
        environment.iter().find(|(present, _)| *present == name).map(|(_, value)| (*value).to_owned())
    };
    let process = Process::new("1.2.3", config.service_name.as_deref());
    resolve(&config, Path::new("/nowhere"), &process, &read).map_err(|error| error.to_string())
}

fn settings(toml: &str, environment: &[(&str, &str)]) -> Settings {
    understood(toml, environment).unwrap().expect("traces are on").0
}

const HERE: &str = "endpoint = 'http://127.0.0.1:4318'";

#[test]
fn without_an_endpoint_there_are_no_traces() {
    let check = |toml: &str, environment: &[(&str, &str)]| {
        assert!(understood(toml, environment).unwrap().is_none(), "{toml} {environment:?}");
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    check("", &[]);
    check("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
    check("endpoint = 'off'", &[endpoint]);
    check("", &[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]);
    check("", &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]);
}

#[test]
fn the_configuration_goes_before_the_environment_and_traces_before_all_signals() {
    let check = |toml: &str, environment: &[(&str, &str)], expected: &str| {
        assert_eq!(settings(toml, environment).endpoint.to_string(), expected);
    };
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/x/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:2/y");
    check("", &[all], "http://all:1/x/v1/traces");
    check("", &[all, traces], "http://traces:2/y");
    check(HERE, &[all, traces], "http://127.0.0.1:4318/v1/traces");
    let grpc = settings("protocol = 'grpc'", &[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
    assert_eq!(grpc.protocol, Protocol::Grpc);
    assert_eq!(settings("", &[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).protocol, Protocol::Grpc);
}

#[test]
fn the_standard_variables_are_read() {
    let settings = settings(
        HERE,
        &[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "17"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, other=c=d"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=edge,service.name=x"),
            ("OTEL_SERVICE_NAME", "bots"),
        ],
    );
    assert_eq!(settings.timeout, Duration::from_millis(2_500));
    assert_eq!(settings.queue_records_max, 17);
    assert_eq!(settings.headers["api-key"], "a b");
    assert_eq!(settings.headers["other"], "c=d");
    assert!(!format!("{:?}", settings.headers).contains("a b"), "it is not shown");
    let value = |name: &str| {
        let mut found = settings.resource.iter().filter(|(present, _)| present == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there once");
        value
    };
    assert_eq!(value("service.name"), Some("bots"));
    assert_eq!(value("service.version"), Some("1.2.3"));
    assert_eq!(value("deployment.environment.name"), Some("edge"));
}

#[test]
fn the_sampler_is_what_is_said_of_it() {
    let check = |toml: &str, environment: &[(&str, &str)], ratio, follows_caller| {
        let toml = format!("{HERE}\n{toml}");
        let (_, found) = understood(&toml, environment).unwrap().expect("traces are on");
        assert_eq!(found, Sampling { ratio, follows_caller }, "{toml}");
    };
    let sampler = |word| ("OTEL_TRACES_SAMPLER", word);
    check("", &[], 1.0, true);
    check("sample_ratio = 0.1", &[], 0.1, true);
    check("sample_ratio = 0.1\nfollow_caller = false", &[], 0.1, false);
    check("", &[sampler("always_off")], 0.0, false);
    check("", &[sampler("parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")], 0.5, true);
    check("", &[sampler("traceidratio")], 1.0, false);
    check("sample_ratio = 0.2", &[sampler("always_on")], 0.2, false);
}

#[test]
fn mistakes_are_told_with_their_place_and_without_secrets() {
    let check = |toml: &str, environment: &[(&str, &str)], part: &str| {
        let error = understood(toml, environment).err().unwrap_or_else(|| panic!("{toml} {environment:?}"));
        assert!(error.contains(part), "{part} in {error}");
        assert!(!error.contains("secret"), "{error}");
    };
    let headers = |text| ("OTEL_EXPORTER_OTLP_HEADERS", text);
    check("endpont = 'x'", &[], "unknown field `endpont`");
    check("endpoint = 'collector'", &[], "`endpoint` in [telemetry.traces]");
    check("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:secret@x")], "OTEL_EXPORTER_OTLP_ENDPOINT");
    check("protocol = 'http/json'", &[], "unknown variant `http/json`");
    check("", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")], "http/protobuf or grpc");
    check("sample_ratio = 1.5", &[], "`traces.sample_ratio` is 1.5; it must be from 0 to 1");
    check("headers_environment = 'A'\nheaders_file = 'b'", &[], "have one place");
    check("timeout_ms = 0", &[], "`traces.timeout_ms` is 0");
    check("queue_spans_max = 0", &[], "`traces.queue_spans_max` is 0");
    check(
        &format!("{HERE}\nheaders_environment = 'NOT_SET'"),
        &[],
        "NOT_SET, cannot be used: the variable is not set",
    );
    check(&format!("{HERE}\nheaders_file = 'missing'"), &[], "/nowhere/missing");
    check(HERE, &[headers("secret")], "pair 1 has no equals sign");
    check(HERE, &[headers("a=b,c=secret%2")], "pair 2 is not percent-encoded rightly");
    check(HERE, &[headers("a b=secret")], "\"a b\" is no name of a field");
    check(HERE, &[headers("a=%0asecret")], "\"a\" has a value that no field can have");
    check(HERE, &[("OTEL_TRACES_SAMPLER", "jaeger_remote")], "OTEL_TRACES_SAMPLER is \"jaeger_remote\"");
    check(HERE, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")], "a whole number");
    check(
        "endpoint = 'https://c.example'\ncertificate_file = 'missing.pem'",
        &[],
        "/nowhere/missing.pem cannot be used",
    );
}

#[test]
fn fields_are_read_from_a_file_by_lines_or_commas() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fields"), "authorization=Bearer%20x\nteam=edge,\n").unwrap();
    let config: TracesConfig = toml::from_str(&format!("{HERE}\nheaders_file = 'fields'")).unwrap();
    let (settings, _) =
        resolve(&config, folder.path(), &Process::new("1", None), &|_| None).unwrap().unwrap();
    assert_eq!(settings.headers["authorization"], "Bearer x");
    assert_eq!(settings.headers["team"], "edge");
}
