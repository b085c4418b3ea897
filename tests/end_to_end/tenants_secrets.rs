//! More than a thousand secrets, configured in every way there is; then everything that the process prints, logs,
//! answers and writes is searched for them, while all goes well and while nothing does.
//!
//! All of them hold the same word, so one search finds any of them: as it is, in base64, in hexadecimal, as numbers.

use crate::support::{Function, Server, Setup, client_builder, failing_start, guests, root, wait_until};
use crate::tenants_support::{
    Admin, Answer, Caller, Model, Origin, files_below, run, sha256_hex, state_of, try_tenant,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What every secret holds, and nothing else.
const MARK: &str = "zqcanary";
const FILE_TENANTS: usize = 32;
const STORE_TENANTS: usize = 8;
/// Upstream secrets of each tenant.
const UPSTREAMS: usize = 25;
const SECRETS_MIN: usize = 1_000;
/// Characters shown around what was found.
const AROUND: usize = 200;

/// Makes secrets that are all different, and counts them.
#[derive(Default)]
struct Mint(usize);

impl Mint {
    /// 40 visible characters.
    fn secret(&mut self) -> String {
        self.0 += 1;
        format!("sk-{MARK}{:0>5}-{}", self.0, &sha256_hex(&self.0.to_string())[..23])
    }

    /// An API key, and the lines of tenants.toml for it.
    fn key(&mut self, tenant: &str) -> (String, String) {
        self.0 += 1;
        let letters = sha256_hex(&format!("id {}", self.0));
        let id: String = letters.chars().filter(|c| !matches!(c, '0' | '1' | '8' | '9')).take(12).collect();
        let key = format!("wk_{id}_{MARK}{:0>35}", self.0);
        let hash = sha256_hex(&key);
        (key, format!("[[tenant.{tenant}.api_keys]]\nid = \"{id}\"\nhash = \"{hash}\"\n"))
    }
}

/// The forms in which a secret could lie about.
fn forms() -> Vec<String> {
    let mut forms = vec![MARK.to_owned(), MARK.to_uppercase()];
    // The middle of the word in base64, wherever a group of three begins.
    forms.extend(["enFjYW5hcn", "pxY2FuYXJ5", "6cWNhbmFye"].map(str::to_owned));
    forms.push(MARK.bytes().map(|byte| format!("{byte:02x}")).collect());
    let numbers: Vec<String> = MARK.bytes().map(|byte| byte.to_string()).collect();
    forms.extend([numbers.join(", "), numbers.join(",")]);
    forms
}

/// Fails if a secret is in `bytes`.
#[track_caller]
fn check(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for form in forms() {
        let first = form.chars().next().unwrap();
        let mut from = 0;
        // A search for one character is quick even in a build that is not optimised, and secrets are rare.
        while let Some(at) = text[from..].find(first).map(|at| at + from) {
            if text[at..].starts_with(&form) {
                let begin = text.floor_char_boundary(at.saturating_sub(AROUND));
                let end = text.ceil_char_boundary(at + AROUND);
                panic!("{what} holds a secret: {}", &text[begin..end]);
            }
            from = at + first.len_utf8();
        }
    }
}

#[track_caller]
fn check_answer(what: &str, answer: &Answer) {
    check(what, format!("{} {:?}\n{}", answer.status, answer.headers, answer.text).as_bytes());
}

/// Everything that is configured.
struct Configured {
    tenants_toml: String,
    environment: Vec<(String, String)>,
    /// An API key of each tenant of the file.
    keys: Vec<String>,
    admin_key: String,
    mint: Mint,
}

impl Configured {
    /// Writes the secrets of files into `folder`. The tenants' first key belongs to `model`, the second to `broken`.
    fn make(folder: &Path, model: &str, broken: &str) -> Self {
        let mut mint = Mint::default();
        let (admin_key, operator) = (mint.secret(), mint.secret());
        let environment =
            vec![("ADMIN_KEY".to_owned(), admin_key.clone()), ("OPENAI_API_KEY".to_owned(), operator)];
        let mut all = Self { tenants_toml: String::new(), environment, keys: Vec::new(), admin_key, mint };
        for number in 0..FILE_TENANTS {
            all.add_tenant(folder, &format!("t{number:02}"), model, broken);
        }
        all
    }

    fn add_tenant(&mut self, folder: &Path, tenant: &str, model: &str, broken: &str) {
        let variable = self.mint.secret();
        let mut text = format!(
            "[tenant.{tenant}]\nlog_file = true\nvariables = {{ model_api_key = \"{variable}\" }}\n\
             [[tenant.{tenant}.issuers]]\nissuer = \"https://id.example\"\naudience = \"waggle\"\nsecret = {}\n",
            self.source(folder, self.keys.len())
        );
        for number in 0..UPSTREAMS {
            let origin = match number {
                0 => model.to_owned(),
                1 => broken.to_owned(),
                other => format!("https://upstream-{other}.example"),
            };
            let source = self.source(folder, number + self.keys.len());
            let name = format!("[tenant.{tenant}.secrets.upstream-{number}]");
            writeln!(text, "{name}\norigin = \"{origin}\"\nsecret = {source}").unwrap();
        }
        let ((key, first), (_other, second)) = (self.mint.key(tenant), self.mint.key(tenant));
        self.keys.push(key);
        self.tenants_toml.push_str(&(text + &first + &second));
    }

    /// A secret by value, environment variable or file.
    fn source(&mut self, folder: &Path, way: usize) -> String {
        let secret = self.mint.secret();
        let name = format!("SECRET_{}", self.mint.0);
        match way % 3 {
            0 => format!("{{ value = \"{secret}\" }}"),
            1 => {
                self.environment.push((name.clone(), secret));
                format!("{{ environment = \"{name}\" }}")
            }
            _ => {
                fs::create_dir_all(folder.join("secrets")).unwrap();
                fs::write(folder.join("secrets").join(&name), secret + "\n").unwrap();
                format!("{{ file = \"secrets/{name}\" }}")
            }
        }
    }
}

/// The application with guests that panic, tell what they were sent, and call outside.
fn manifest(broken: &str) -> String {
    crate::support::build_functions();
    let text = fs::read_to_string(root().join("spin.toml")).unwrap();
    let text = text.replace("\"target/", &format!("\"{}/target/", root().to_str().unwrap()));
    let guest = |name: &str, more: &str| {
        let source = guests().join(format!("{}.wasm", name.replace('-', "_")));
        format!(
            "[[trigger.http]]\nroute = \"/{name}/...\"\ncomponent = \"{name}\"\n[component.{name}]\nsource = \"{}\"\n\
             {more}\n",
            source.to_str().unwrap()
        )
    };
    let outbound = guest("outbound", &format!("allowed_outbound_hosts = [\"{broken}\"]"));
    text + "\n" + &guest("panic", "") + &guest("headers-echo", "") + &outbound
}

/// A server with all of it.
struct Scene {
    server: Server,
    configured: Configured,
    broken: Origin,
    model: Model,
}

async fn start(format: &str) -> Scene {
    let (model, broken) = (Model::start().await, Origin::start());
    let setup = Setup::manifest(&manifest(&broken.url));
    let configured = Configured::make(setup.folder(), &model.0.url(), &broken.url);
    let path = setup.folder().join("tenants.toml");
    fs::write(&path, &configured.tenants_toml).unwrap();
    let setup = setup.runtime_config("[admin]\nkey_environment = \"ADMIN_KEY\"\n");
    let setup = setup.args(&["--tenants", path.to_str().unwrap(), "--log-format", format]);
    let setup = model.serve(setup).env("WAGGLE_LOG", "trace");
    let setup = configured.environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    Scene { server: setup.start(), configured, broken, model }
}

impl Scene {
    fn admin(&self) -> Admin {
        Admin::with(&self.server, &self.configured.admin_key)
    }

    /// Turns that succeed and turns that fail in every way a model can.
    async fn turns(&self) {
        for (number, key) in self.configured.keys.iter().enumerate() {
            let caller = Caller::with(&self.server, key);
            let answer = caller.turn("hi").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            check_answer("a turn", &answer);
            let sent = self.model.last_header("authorization").unwrap();
            assert!(sent.contains(MARK), "the secret of tenant {number} is in use: {sent}");
        }
        let caller = Caller::with(&self.server, &self.configured.keys[0]);
        for trouble in [
            "status=400",
            "status=401",
            "status=403",
            "status=404",
            "status=429",
            "status=500",
            "status=503",
            "fault=cut",
            "fault=bad-json",
            "fault=reset",
        ] {
            for stream in [false, true] {
                let input = format!("[sim: {trouble}] hi");
                let turn = json!({ "input": input, "stream": stream });
                check_answer(trouble, &caller.post("/v1/responses", &turn).await);
                let chat = json!({ "messages": [{ "role": "user", "content": input }], "stream": stream });
                let request = caller.request("POST", "/v1/chat/completions").json(&chat);
                // A stream that is cut ends with an error of the client's.
                let Ok(response) = request.send().await else { continue };
                check(trouble, format!("{:?}", response.headers()).as_bytes());
                check(trouble, &response.bytes().await.unwrap_or_default());
            }
        }
        for path in ["/v1/models", "/v1/models/sim", "/v1/conversations/x", "/nowhere", "/panic/?now"] {
            check_answer(path, &caller.get(path).await);
        }
    }

    /// A model that repeats the key it was sent, as some do that do not know it.
    async fn repeated_keys(&self) {
        let admin = self.admin();
        let secret = format!("sk-{MARK}-repeated-0123456789");
        let origin = json!({ "origin": self.broken.url, "secret": { "value": secret } });
        let settings =
            json!({ "variables": { "model_origin": self.broken.url }, "secrets": { "model": origin } });
        let caller = Caller::with(&self.server, &admin.create("repeated", settings).await);
        for status in [400, 401, 403, 404, 413, 422, 429, 500, 503] {
            let message = format!("Incorrect API key provided: {secret}.");
            self.broken.answer(status, &json!({ "error": { "message": message } }).to_string());
            for stream in [false, true] {
                let turn = json!({ "input": "hi", "stream": stream });
                check_answer("a repeated key", &caller.post("/v1/responses", &turn).await);
                let chat = json!({ "messages": [{ "role": "user", "content": "hi" }], "stream": stream });
                check_answer("a repeated key", &caller.post("/v1/chat/completions", &chat).await);
            }
        }
        let sent = self.broken.heads().pop().unwrap();
        assert!(sent.contains(&secret), "{sent}");
    }

    /// Calls outside that fail, from a function.
    async fn calls(&self) {
        let caller = Caller::with(&self.server, &self.configured.keys[1]);
        let fetch = async |url: &str| {
            let answer = Answer::of(caller.request("GET", "/outbound/").header("x-url", url)).await;
            check_answer(url, &answer);
            answer.text
        };
        for status in [200, 401, 500] {
            self.broken.answer(status, "{\"error\": {\"message\": \"no\"}}");
            let told = fetch(&self.broken.url).await;
            assert!(told.starts_with(&format!("status {status}")), "{told}");
        }
        let head = self.broken.heads().pop().unwrap();
        assert!(head.contains(MARK), "the secret is in use: {head}");
        self.broken.hang_up();
        assert!(fetch(&self.broken.url).await.starts_with("error"));
        fetch("http://127.0.0.1:1/").await;
        fetch("https://upstream-2.example/").await;
        let told = Answer::of(caller.request("GET", "/headers-echo/")).await;
        assert_eq!(told.status, 200);
        check_answer("what a function is sent", &told);
    }

    /// Credentials that are nearly right, over HTTP/1.1 and HTTP/2.
    async fn wrong_credentials(&self) {
        let key = &self.configured.keys[2];
        let cut = &key[..key.len() - 1];
        let tokens = [
            format!("Bearer {cut}"),
            format!("Bearer {cut}!"),
            format!("Bearer {key} {key}"),
            format!("Basic {key}"),
            key.clone(),
            format!("Bearer {}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", key, key),
            format!("Bearer sk-{MARK}-nobody"),
            format!("Bearer {key}"),
        ];
        let clients = [client_builder(), client_builder().http2_prior_knowledge()];
        for client in clients.map(|client| client.build().unwrap()) {
            for (number, token) in tokens.iter().enumerate() {
                let request = client.get(self.server.url("/hello")).header("authorization", token);
                let answer = Answer::of(request).await;
                let expected = if number == tokens.len() - 1 { 200 } else { 401 };
                assert_eq!(answer.status, expected, "{token}: {answer:?}");
                check_answer("a wrong credential", &answer);
            }
        }
    }

    /// The admin API, asked rightly and wrongly.
    async fn administration(&mut self) {
        let admin = self.admin();
        for number in 0..STORE_TENANTS {
            let settings = store_settings(&mut self.configured.mint, &self.model.0.url());
            let id = format!("stored-{number}");
            let body = json!({ "id": id, "settings": settings });
            check_answer("a new tenant", &admin.call("POST", "/tenants", Some(&body)).await);
            // The one answer that shows a key; what is secret of it must be nowhere else.
            let key = admin.add_key(&id, json!({ "name": "first" })).await;
            let turn = Caller::with(&self.server, &key).turn("hi").await;
            assert_eq!(turn.status, 200, "{turn:?}");
            assert!(self.model.last_header("authorization").unwrap().contains(MARK));
            self.check_output_lacks(&key[16..]);
            let shown = admin.call("GET", &format!("/tenants/{id}"), None).await;
            assert_eq!(shown.status, 200);
            check_answer("show", &shown);
            // Sent back as it was shown.
            let mut settings = shown.json()["settings"].take();
            settings["name"] = json!("Renamed");
            let path = format!("/tenants/{id}");
            let changed = admin.call("PUT", &path, Some(&settings)).await;
            assert_eq!(changed.status, 200, "{changed:?}");
            check_answer("update", &changed);
        }
        for path in ["/tenants", "/tenants/t00", "/tenants/t00/keys", "/tenants/t00/usage", "/tenants/none"] {
            check_answer(path, &admin.call("GET", path, None).await);
        }
        let secret = self.configured.mint.secret();
        for settings in wrong_settings(&secret) {
            for (method, path, body) in [
                ("POST", "/tenants", json!({ "id": "new", "settings": settings })),
                ("PUT", "/tenants/stored-0", settings),
            ] {
                let answer = admin.call(method, path, Some(&body)).await;
                assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
                check_answer("a refused change", &answer);
            }
        }
        let raw = admin.raw("PUT", "/tenants/stored-0", format!("{{\"secrets\": {{\"x\": \"{secret}\" "));
        check_answer("a body that is no JSON", &Answer::of(raw).await);
        for key in [&self.configured.admin_key[1..], &secret] {
            check_answer("a wrong admin key", &admin.with_key(key).call("GET", "/tenants", None).await);
        }
        for (method, path) in [
            ("POST", "/tenants/stored-1/suspend"),
            ("POST", "/tenants/stored-2/suspend"),
            ("DELETE", "/tenants/stored-2?erase=true"),
            ("DELETE", "/tenants/stored-3"),
        ] {
            check_answer(path, &admin.call(method, path, None).await);
        }
    }

    fn check_output_lacks(&self, part: &str) {
        assert!(!self.server.output().contains(part), "the output holds {part}");
    }

    /// The command line against the running server.
    fn command_line(&mut self) {
        let state = state_of(&self.server.setup);
        let key = self.configured.admin_key.clone();
        let secret = self.configured.mint.secret();
        let path = self.server.setup.folder().join("settings.toml");
        let with_key = |args: &[&str]| {
            let (_, out, error) = try_tenant(&state, &[args, &["--admin-key", &key]].concat());
            check(&format!("waggle tenant {args:?}"), format!("{out}{error}").as_bytes());
        };
        for args in [&["list"][..], &["show", "t00"], &["show", "stored-0"], &["show", "stored-0", "--json"]]
        {
            with_key(args);
        }
        for line in mistaken_lines(&secret) {
            fs::write(&path, format!("[secrets.x]\norigin = \"https://x.example\"\n{line}\n")).unwrap();
            with_key(&["set", "stored-0", path.to_str().unwrap()]);
        }
        let token = ["token", "--tenant", "t00", "--user", "a", "--issuer", "i", "--audience", "w"];
        for way in [["--secret-environment", "SECRET"], ["--private-key", path.to_str().unwrap()]] {
            let (_, out, error) = run(&[&token[..], &way].concat(), &[("SECRET", &secret[..20])]);
            check("waggle token", format!("{out}{error}").as_bytes());
        }
    }

    /// Edits of tenants.toml that cannot be in force.
    fn broken_edits(&mut self) {
        let path = self.server.setup.folder().join("tenants.toml");
        let secret = self.configured.mint.secret();
        for (number, edit) in mistaken_files(&secret).iter().enumerate() {
            fs::write(&path, edit).unwrap();
            wait_until("the edit to be refused", || {
                self.server.output().matches("tenants stay as they were").count() > number
            });
        }
    }

    /// All that was printed, logged and written.
    fn check_everything(&self) {
        let output = self.server.output();
        assert!(output.contains("TRACE"), "the log tells everything");
        check("the output", output.as_bytes());
        let state = state_of(&self.server.setup);
        let files = files_below(&state);
        assert!(files.iter().any(|file| file.extension().is_some_and(|extension| extension == "jsonl")));
        let mut bytes = 0;
        for file in &files {
            let content = fs::read(file).unwrap();
            bytes += content.len();
            check(file.to_str().unwrap(), &content);
        }
        // The key that seals the others is in its own file, and nowhere else.
        let sealing = fs::read_to_string(state.join("sealing-key")).unwrap();
        self.check_output_lacks(sealing.trim());
        eprintln!(
            "{} secrets, none in {} bytes of output and {bytes} bytes of {} files",
            self.configured.mint.0,
            output.len(),
            files.len()
        );
        assert!(self.configured.mint.0 >= SECRETS_MIN);
    }
}

/// The settings of a tenant of the store, with secrets of every kind that can be given there.
fn store_settings(mint: &mut Mint, model: &str) -> Value {
    let upstream = |origin: &str, value: String| json!({ "origin": origin, "secret": { "value": value } });
    let mut secrets = serde_json::Map::new();
    secrets.insert("model".to_owned(), upstream(model, mint.secret()));
    for number in 1..10 {
        secrets.insert(format!("x{number}"), upstream(&format!("https://x{number}.example"), mint.secret()));
    }
    json!({
        "variables": { "model_api_key": mint.secret() },
        "secrets": secrets,
        "issuers": [{ "issuer": "https://i.example", "audience": "w", "secret": { "value": mint.secret() } }],
    })
}

/// Settings that the admin API refuses, with a secret where the mistake is.
fn wrong_settings(secret: &str) -> Vec<Value> {
    let upstream = |place: Value| json!({ "secrets": { "x": place } });
    let origin = "https://x.example";
    vec![
        upstream(json!(secret)),
        upstream(json!({ "origin": origin, "secret": secret })),
        upstream(json!({ "origin": origin, "secret": { "valu": secret } })),
        upstream(json!({ "origin": origin, "secret": { "value": [secret] } })),
        upstream(json!({ "origin": origin, "secret": { "value": secret, "file": "x" } })),
        upstream(json!({ "origin": origin, "secret": { "value": format!("{secret}\u{0}") } })),
        upstream(
            json!({ "origin": origin, "secret": { "value": format!("{secret}{}", "x".repeat(70_000)) } }),
        ),
        upstream(json!({ "origin": "nonsense", "secret": { "value": secret } })),
        json!({ "issuers": [{ "issuer": "i", "audience": "w", "secret": { "value": &secret[..20] } }] }),
        json!({ "issuers": [{ "issuer": "i", "audience": "w", "jwks": secret }] }),
        json!({ "variables": { "model_api_key": [secret] } }),
        json!({ "variables": { "nobody_declares": secret } }),
        json!({ "api_keys": [secret] }),
        json!({ "colour": secret }),
    ]
}

/// Lines of an upstream secret with a mistake, and a secret where it is.
fn mistaken_lines(secret: &str) -> Vec<String> {
    vec![
        format!("secret = \"{secret}\""),
        format!("secret = {{ valu = \"{secret}\" }}"),
        format!("secret = {{ value = [\"{secret}\"] }}"),
        format!("secret = {{ value = \"{secret}\", colour = 1 }}"),
        format!("secret = {{ value = \"{secret}\" }}\npath_prefix = 7"),
        format!("secret = {{ value = \"{secret}\" }}\nheader = \"content length\""),
        format!("secret = {{ value = \"{secret} }}"),
        format!("secret = {secret}"),
        format!("secret {{ value = \"{secret}\" }}"),
    ]
}

/// Whole files with mistakes: those that can be told together in one, those that are not TOML in others.
fn mistaken_files(secret: &str) -> Vec<String> {
    let head = |number: usize| format!("[tenant.a{number}.secrets.x]\norigin = \"https://x.example\"\n");
    let (broken, understood): (Vec<String>, Vec<String>) = mistaken_lines(secret)
        .into_iter()
        .partition(|line| !line.contains(&format!("\"{secret}\"")) || line.starts_with("secret {"));
    let mut together = String::new();
    for (number, line) in understood.iter().enumerate() {
        together += &format!("{}{line}\n", head(number));
    }
    let short = &secret[..20];
    together += &format!(
        "[tenant.b]\nvariables = {{ nobody_declares = \"{secret}\" }}\n[tenant.\"{MARK} as an id\"]\n\
         [[tenant.c.issuers]]\nissuer = \"i\"\naudience = \"w\"\nsecret = {{ value = \"{short}\" }}\n\
         [[tenant.d.api_keys]]\nid = \"{short}\"\nhash = \"{secret}\"\n"
    )
    .replace(&format!("{MARK} as an id"), "Not An Id");
    let mut files = vec![together];
    files.extend(broken.iter().map(|line| format!("{}{line}\n", head(0))));
    files
}

async fn nothing_leaks(format: &str) {
    let mut scene = start(format).await;
    scene.turns().await;
    scene.repeated_keys().await;
    scene.calls().await;
    scene.wrong_credentials().await;
    scene.administration().await;
    scene.command_line();
    scene.broken_edits();
    scene.check_everything();
    // What the end writes counts as well.
    scene.server.signal("TERM");
    assert_eq!(scene.server.wait(), Some(0));
    scene.check_everything();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_secrets_none_is_found_in_a_readable_log_or_anywhere() {
    nothing_leaks("readable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_secrets_none_is_found_in_a_json_log_or_anywhere() {
    nothing_leaks("json").await;
}

#[test]
fn a_start_that_fails_tells_no_secret() {
    let secret = Mint::default().secret();
    for edit in mistaken_files(&secret) {
        let setup = Setup::functions(&[Function::hello()]);
        let path = setup.folder().join("tenants.toml");
        fs::write(&path, &edit).unwrap();
        let error = failing_start(&setup.args(&["--tenants", path.to_str().unwrap()]));
        assert!(error.contains("tenants.toml:"), "{error}");
        check(&edit.replace(&secret, "(the secret)"), error.as_bytes());
    }
    // Whatever is wrong with the store, its password is not told.
    for scheme in ["redis", "rediss"] {
        let url = format!("{scheme}://:{secret}@127.0.0.1:1");
        let setup = Setup::functions(&[Function::hello().with("key_value_stores = [\"cache\"]")]);
        let store = format!("[key_value_store.cache]\ntype = \"redis\"\nurl = \"{url}\"\n");
        let error = failing_start(&setup.runtime_config(&store));
        assert!(error.contains("127.0.0.1"), "{error}");
        check(scheme, error.as_bytes());
    }
    // Nor anything else of the runtime configuration where it has a mistake.
    let url = format!("url = \"redis://:{secret}@127.0.0.1:1\"");
    for edit in [
        format!("[key_value_store.default]\ntype = \"redis\"\n{url}\npassword = \"{secret}\"\n"),
        format!("[key_value_store.default]\ntype = \"redis\"\nurls = \"{secret}\"\n"),
        format!("[key_value_store.default]\ntype = \"{secret}\"\n"),
        format!("[key_value_store.default]\ntype = \"redis\"\nurl = {secret}\n"),
        format!("[key_value_store.default]\ntype = \"redis\"\n{}\n", &url[..url.len() - 1]),
        format!("[admin]\nkey = \"{secret}\"\n"),
    ] {
        let setup = Setup::functions(&[Function::hello()]).runtime_config(&edit);
        let error = failing_start(&setup);
        assert!(error.contains("runtime-config.toml:"), "{error}");
        check(&edit.replace(&secret, "(the secret)"), error.as_bytes());
    }
    let key = ("ADMIN_KEY", &secret[..20]);
    let setup = Setup::functions(&[Function::hello()]).env(key.0, key.1);
    let error = failing_start(&setup.runtime_config("[admin]\nkey_environment = \"ADMIN_KEY\"\n"));
    check("an admin key that is too short", error.as_bytes());
    assert!(error.contains("admin key"), "{error}");
}
